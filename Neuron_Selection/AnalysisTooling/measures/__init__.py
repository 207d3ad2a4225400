"""Functions of arrays: decisions, metrics, differences, curves, and statistics over clusters of inputs."""
