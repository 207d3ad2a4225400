"""The smallest sets of neurons that explain decisions: goals, search, proofs, and what is written of them."""
