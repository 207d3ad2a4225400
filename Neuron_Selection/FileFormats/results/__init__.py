"""What patching found: results by experiment and by input, sweeps, tables, summaries, minimal sets."""
