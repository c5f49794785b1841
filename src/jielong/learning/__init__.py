"""The loop that learns: judgements are sorted, an adapter is trained on them, compared, and promoted, refused or undone.

`judged` sorts what people think of answers, and `advice` says whether it is enough and by which method it is learned. An
`attempt` is a folder that outlives any process: a `child` trains in it and compares what came out (`gate`), a person is asked
blind (`asking`), and `deciding` says when that is enough. `standing` keeps which model a base is answered by now.
"""
