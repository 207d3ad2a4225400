"""``NumpyNetwork``: MLPs in numpy, float64, without torch; interventions and gradients by exact shortcuts."""
