"""Measurements against other libraries, on the same machine with the same shapes: `python -m bench.run`."""
