"""The search for the best instruction before a question.

`search` tries instructions on training questions and judges the best one on questions that it has not seen; a method
proposes what to try next. There are three, at equal numbers of scorings: the model's own proposals (`Opro`), a policy
that is rewarded (`Reinforce`), and words drawn by chance (`Chance`), the control of both.
"""
