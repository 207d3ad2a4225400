"""Where pairs of inputs come from: environments, their encodings, pair generation, drawing."""
