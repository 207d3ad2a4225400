"""``TorchNetwork``: the real network of Stable-Baselines3 under forward hooks, which define every result."""
