"""Recording of an agent's own episodes: the states that it visits, and what it does there."""
