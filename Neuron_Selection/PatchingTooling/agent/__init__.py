"""What an agent is, from its zip alone: architecture, head, layers, trusted classes; the Network interface."""
