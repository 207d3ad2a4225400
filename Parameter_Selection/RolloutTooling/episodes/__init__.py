"""Episodes of an agent and of its changed versions on the same seeds."""
