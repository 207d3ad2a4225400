"""What is changed in an agent for whole episodes, and what the changed agent decides."""
