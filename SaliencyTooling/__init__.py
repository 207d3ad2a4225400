"""Which weights feed the important neurons."""
