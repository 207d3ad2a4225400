"""Reading and writing of bytes, JSON, npz, csv and zip members, shared by all file kinds."""
