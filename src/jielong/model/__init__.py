"""The decoder, its cache, its sizes and its files."""
