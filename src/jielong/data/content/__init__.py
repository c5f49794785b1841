"""The main content of an HTML page, found by a small trained forest that judges each block of its text.

`page` cuts a page into blocks, `measures` describes each block by numbers, `forest` says how likely it is content, and
`choosing` takes the blocks with which the expected F1 is highest. That expectation is the confidence.
"""
