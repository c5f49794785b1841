"""The assistant with a face: a server with OpenAI's protocol, a page to chat, look into and compare, and what it keeps.

Models stand behind ports (`models`), whose engines run on threads of their own. `protocol` speaks OpenAI's words, `chats`
the page's; both ask through `answering`. What is said is kept in `store`, and `access` decides who may ask.
"""
