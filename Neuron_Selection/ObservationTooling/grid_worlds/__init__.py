"""MiniGrid worlds: layouts, edits, environments in a chosen state, and ids of inputs."""
