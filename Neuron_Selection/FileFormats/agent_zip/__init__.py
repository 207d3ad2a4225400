"""An agent's folder and its zip read as data: pickles, tensors, spaces. Nothing in it runs."""
