"""Data preparation: from pages to documents, from documents to shards of tokens, and from tokens to batches."""
