"""A server for chat with local models: a page for people, and OpenAI's protocol for programs.

It listens on 127.0.0.1 unless it is told otherwise, and trusts neither who asks nor what a model writes. `access` decides who
may ask, `limits` how much at once, `markdown` how an answer is shown, and `grammar` holds an answer to a JSON schema. Whatever
is not granted is a `Refused`, one sentence in the shape of OpenAI's errors.
"""
