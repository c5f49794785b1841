"""The command line, its live display and the chat in the terminal."""
