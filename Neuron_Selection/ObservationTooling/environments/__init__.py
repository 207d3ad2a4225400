"""Environments: from the flags that name one to episodes in lockstep, observed as the agent's network gets them."""
