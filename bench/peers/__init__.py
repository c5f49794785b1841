"""What takes part in a measurement: one small script each, run by the Python of its own environment."""
