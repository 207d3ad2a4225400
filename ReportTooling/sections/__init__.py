"""The sections of the page about an agent, one module each: from the results to blocks of the page."""
