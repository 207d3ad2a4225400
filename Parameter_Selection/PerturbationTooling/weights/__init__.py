"""Which weights are changed, what they become, and the one writer of parameters."""
