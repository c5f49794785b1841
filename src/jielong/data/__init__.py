"""From pages to documents, from documents to shards of tokens, from tokens to batches."""
