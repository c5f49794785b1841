"""The HTTP routes of the server, a module for each part."""
