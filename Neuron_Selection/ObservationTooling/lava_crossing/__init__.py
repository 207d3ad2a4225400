"""The shipped example: pairs of lava-crossing states, with four kinds of edits, and ids from which they are rebuilt."""
