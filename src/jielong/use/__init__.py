"""Using a model: one port to it."""
