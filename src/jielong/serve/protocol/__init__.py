"""OpenAI's protocol: chat, completions, embeddings and models, as its clients expect them.

As extensions a request may ask for the draw of every token, and an answer reports its strategy's steps. Both use the
field "jielong", which other clients ignore.
"""
