"""Weights changed alone and together, what becomes of the decisions, and controls that chance would give."""
