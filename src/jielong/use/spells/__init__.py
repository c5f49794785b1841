"""The search for the words before a question with which a model answers best.

`search` tries instructions on training questions and judges the best one on questions that it has not seen; what to try
next is a method's business. There are three, at equal numbers of scorings: the model's own proposals (`Opro`), a policy
that is rewarded (`Reinforce`), and words drawn by chance (`Chance`), the control of both.
"""
