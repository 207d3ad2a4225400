"""Generation of pairs of inputs: environments, encodings, pairs, drawings."""
