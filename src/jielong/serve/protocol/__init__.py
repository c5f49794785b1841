"""OpenAI's protocol: chat, completions, embeddings and models, as its clients expect them.

Beyond it a request may ask for the draw of every token, and an answer says what its strategy did: both stand under
"jielong", which other clients pass over.
"""
