"""Worlds with a known gold reward, in which reinforcement can be pushed until it has learned too much."""
