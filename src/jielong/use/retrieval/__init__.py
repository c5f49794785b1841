"""Finding what one's own documents say: a library on disk, and the passages that it gives."""
