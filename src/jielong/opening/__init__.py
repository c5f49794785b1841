"""Names on a command line become models, ports, tools, libraries, strategies and tasks; what asks a person is handed in."""
