"""Retrieval from a user's documents: a library on disk, and its passages."""
