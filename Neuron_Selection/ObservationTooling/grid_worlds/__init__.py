"""MiniGrid worlds as data: layouts, their edits, environments in a chosen state, and the ids of inputs."""
