"""Tools for models: their protocol, the loop that runs the calls, and the tools themselves."""
