"""Whoever works towards a goal step by step, within hard limits."""
