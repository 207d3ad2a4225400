"""Files about weights: their gradients, the candidates, edits, and what changed weights did."""
