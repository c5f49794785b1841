"""A household told in text: rooms, furniture and things, goals, whoever acts in it, in English and Chinese."""
