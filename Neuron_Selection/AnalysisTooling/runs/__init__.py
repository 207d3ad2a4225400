"""Patched runs, the one thing that is analysed, out of a sweep or out of results organised by input."""
