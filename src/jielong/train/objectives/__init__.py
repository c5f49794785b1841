"""Loss functions, one module each: next tokens, preferences, the clipped policy gradient and the critic's error.

An objective gets the modules by role ("policy", "critic", "reward") and one micro-batch. It returns sums and weights,
never a mean, so that the loop can divide over the whole step and all ranks. Weights depend on the batch alone. Column t
of every stream speaks about predicting `targets[:, t]`.
"""
