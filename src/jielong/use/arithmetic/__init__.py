"""Arithmetic as people write it: tokens, a grammar, and values of which every shown digit is right."""
