"""What an agent is, from its zip alone: architecture, layers, and the classes the user lets in. No torch."""
