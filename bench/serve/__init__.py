"""`jielong serve` measured: its speed beside the engine alone and beside llama.cpp's server, many clients, and faults.

Each part starts the server as users start it, a process of its own, and asks it over HTTP.
"""
