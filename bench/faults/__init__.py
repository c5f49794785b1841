"""Faults on purpose: kills, damaged files, odd input, hostile templates and pages, sandboxes, terminals.

Each part (`__main__` lists them) has `rows(seed, short=..., folder=...)`, which tries the attacks of one kind and gives a row
for each promise. `folder` is an empty one to work in; `short` is what CI runs.
"""
