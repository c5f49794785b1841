"""Searches over recipes: trials of one training stage, each in a run of its own."""
