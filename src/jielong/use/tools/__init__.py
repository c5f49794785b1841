"""Tools that a model may call: what one is, the loop that runs the calls, and the tools themselves."""
