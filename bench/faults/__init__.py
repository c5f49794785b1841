"""Faults on purpose: kills, damaged files, odd input, hostile templates and pages, sandboxes, terminals.

Each module but `__main__` is a part: its `rows(seed, short=..., folder=...)` tries the attacks of one kind and gives a row for
each promise. `folder` is an empty one to work in; `short` is what CI runs.
"""
