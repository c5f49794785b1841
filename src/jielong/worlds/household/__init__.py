"""A household as a text game: rooms, furniture and things, goals, and policies that reach them, in English and Chinese."""
