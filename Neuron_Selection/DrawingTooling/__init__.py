"""Pictures of numbers: the only room that imports matplotlib."""
