"""Gradients, averages, candidate weights: one script a step."""
