"""Files with results of patching: by experiment and by input, sweeps, tables, summaries, minimal sets."""
