"""Weights are changed, one by one and together, and what becomes of the decisions is told."""
