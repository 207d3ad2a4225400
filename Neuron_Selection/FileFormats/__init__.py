"""What is on disk: one module a file kind. numpy, no torch."""
