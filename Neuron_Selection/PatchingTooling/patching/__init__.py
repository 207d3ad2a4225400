"""One patching run: planned, its sources turned into values, checked by itself, told input by input."""
