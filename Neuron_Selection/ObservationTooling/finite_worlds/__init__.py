"""Finite worlds: environments with known transitions, as tables of all their states."""
