"""From names on a command line to models, ports, tools, libraries, strategies and tasks; questions to a person go
through functions that are handed in.
"""
