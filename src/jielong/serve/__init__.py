"""A server for one person's models: its page, its protocol, and the store of what was said.

The store (`serve/store`) keeps conversations, the tree of their turns, and how every token of an answer was drawn. What a
server needs beyond the ground comes with the extra `serve`; importing this package alone loads none of it.
"""
