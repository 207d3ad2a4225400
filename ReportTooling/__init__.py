"""Reports: one page about an agent, one table and one page over many."""
