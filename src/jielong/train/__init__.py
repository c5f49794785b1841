"""One loop that trains everything; objectives, sources, optimizers and ranks for it."""
