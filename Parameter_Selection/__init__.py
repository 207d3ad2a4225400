"""Does changing the candidate weights matter."""
