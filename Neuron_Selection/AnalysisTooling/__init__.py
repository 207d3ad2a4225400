"""Analysis of patched runs: metrics, statistics and ranking."""
