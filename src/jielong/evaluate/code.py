"""Code tasks: the program in an answer and its tests run in two separate processes, which the caller provides.

No model's code runs in this process or in the tests' process. The tests call the program's functions across a pipe,
only plain data comes back, and the tests decide the verdict (`use.tools.inside`). So a program cannot reach the tests,
pass with an object that equals everything, or report its own success.

Limits: a program sees each call's arguments, so it may look up known inputs and compute nothing. The program itself
compares its objects, so tests of their equality get its own opinion. And tests can be too weak: a loop over empty
output checks nothing, and a NaN exceeds no bound.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Protocol

_FENCE = re.compile(r"```(?:python|py|Python)?[^\S\n]*\n(.*?)(?:\n```|\Z)", re.DOTALL)


class Execution(Protocol):
    """The protocol of a finished test run; `refused` names a value that could not cross the pipe, in which case the
    tests could not run.
    """

    @property
    def output(self) -> str: ...
    @property
    def is_fine(self) -> bool: ...
    @property
    def refused(self) -> str: ...


Examine = Callable[[str, str], Awaitable[Execution]]
"""Runs tests on a program, such as the `examine` of a sandbox."""


def extract_code(text: str) -> str:
    """Extract the code of an answer: the content of its last fenced block, or the whole text without one."""
    found = _FENCE.findall(text)
    return str(found[-1]) if found else text.strip()
