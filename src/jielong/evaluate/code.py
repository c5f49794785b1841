"""Code tasks: the program in an answer and its tests run in two separate processes, which are handed in.

Nothing a model wrote runs in this process, and none of it in that of the tests. They call the program's functions
across a pipe, only plain data comes back, and the verdict is the tests' own (`use.tools.inside`). So a program cannot
reach the tests, pass by an object that equals everything, or say that it has passed.

Limits: a program sees the arguments of each call as it comes, so it may know inputs that it has met and compute
nothing. Tests that ask the program whether it is right get its own opinion: objects of the program are compared by the
program. And tests can be too weak: a loop over the program's output may run no time, and a NaN is above no bound.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Protocol

_FENCE = re.compile(r"```(?:python|py|Python)?[^\S\n]*\n(.*?)(?:\n```|\Z)", re.DOTALL)


class Execution(Protocol):
    """The protocol of a finished test run; `refused` names a value that could not cross the pipe, so that the tests
    could not run.
    """

    @property
    def output(self) -> str: ...
    @property
    def is_fine(self) -> bool: ...
    @property
    def refused(self) -> str: ...


Examine = Callable[[str, str], Awaitable[Execution]]
"""Runs tests on a program, such as the `examine` of a sandbox."""


def program(text: str) -> str:
    """Extract the code of an answer: the content of its fences, of several the last alone, or else all of the text."""
    found = _FENCE.findall(text)
    return str(found[-1]) if found else text.strip()
