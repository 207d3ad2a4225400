"""Files about weights: gradients, candidates, edits, and results of perturbations."""
