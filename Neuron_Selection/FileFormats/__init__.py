"""Readers and writers of all files: one module per file kind. Uses numpy, not torch."""
