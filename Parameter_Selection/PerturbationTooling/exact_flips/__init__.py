"""The exact smallest change of a weight that changes the greedy action of a ReLU network."""
