"""Patched runs to analyse, from a sweep or from results organised by input."""
