"""Many changes: definitions, sweeps over all of them, in both directions."""
