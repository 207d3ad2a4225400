"""The door to the disk, and what every file kind is made of: JSON, npz, csv, zip members, checked arrays."""
