"""Every experiment on every pair: planned, run a block of inputs at a time, told input by input."""
