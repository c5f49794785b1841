"""Learning from judgements: they are sorted, an adapter is trained on them, compared, and promoted, refused or undone.

`judged` sorts people's judgements, and `advice` says whether they are enough and by which method they are learned. An
`attempt` is a folder that outlives any process: a `child` trains in it and compares the result (`gate`), a person is
asked blind (`asking`), and `deciding` says when that is enough. `standing` keeps which model a base is answered by now.
"""
