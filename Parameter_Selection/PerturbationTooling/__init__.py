"""Weights changed one by one and together, and the effect on the decisions."""
