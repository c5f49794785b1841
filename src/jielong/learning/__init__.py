"""Learning from judgements: sort them, train an adapter, compare it, and promote, refuse or undo it.

`judged` sorts people's judgements, and `advice` says whether they are enough and by which method they are learned. An
`attempt` is a folder that outlives any process: a `child` trains in it and compares the result (`gate`), a person is
asked blind (`asking`), and `deciding` says when that is enough. `standing` records which model is promoted for a base.
"""
