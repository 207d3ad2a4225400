"""Pairs of inputs on which an agent decides differently: nearest visited states, minimal sets of features, selection."""
