"""Pairs of inputs that an agent decides differently: nearest states, minimal sets of features, edited worlds."""
