"""Whole episodes of changed agents: whether behaviour changes."""
