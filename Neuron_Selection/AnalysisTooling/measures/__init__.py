"""Arrays in, numbers out: decisions, metrics, differences, curves, and statistics over clusters of inputs."""
