"""The answer inside a text, and whether two answers say the same: one comparer for voting, scoring and exact match.

A long answer ends with its result; results are compared and not words. `finding` finds the part of a text that gives
its answer, `numbers`, `units` and `moments` read its value, `formulas` compares formulas, and `same` decides.
"""

from __future__ import annotations

from jielong.use.answers.choices import says_yes
from jielong.use.answers.finding import final, is_answered
from jielong.use.answers.numbers import last_number
from jielong.use.answers.same import agree, chosen, groups, is_same
from jielong.use.answers.spelling import normal

__all__ = ["agree", "chosen", "final", "groups", "is_answered", "is_same", "last_number", "normal", "says_yes"]
