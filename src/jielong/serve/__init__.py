"""The server: OpenAI's protocol, a page to chat, inspect and compare, and the store of conversations.

Models stand behind ports (`models`), whose engines run on threads of their own. `protocol` implements OpenAI's, `chats`
the page's operations; both ask through `answering`. Conversations are kept in `store`, and `access` decides who may
ask.
"""
