"""Open models, ports, tools, libraries, strategies and tasks by their names on a command line; questions to a person go
through functions that are handed in.
"""
