"""Whether a model learns from judgements: `python -m bench.learn [PART ...] --model DIR`.

A scripted judge with a hidden preference works as a person does, through HTTP alone: asks, judges pairs blind, writes the
better answer where both are bad, presses the button, and decides between the model before and after without knowing which is which.
"""
