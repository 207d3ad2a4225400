"""The real network of Stable-Baselines3, and forward hooks on it: the definition of what is true."""
