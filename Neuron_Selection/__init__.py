"""Which neurons and weights cause the decisions of a trained DQN agent."""

__version__ = "0.1.0"
