"""Which neurons and weights cause the decisions of a trained agent."""

__version__ = "0.2.0"
