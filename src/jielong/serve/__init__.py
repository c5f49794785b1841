"""The server: OpenAI's protocol, a page to chat, inspect and compare, and the store of conversations.

Models are reached through ports (`models`), whose engines run on threads of their own. `protocol` implements OpenAI's
API, `chats` the page's operations; both get answers through `answering`. `store` keeps conversations, and `access`
checks every request.
"""
