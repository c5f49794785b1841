"""Code that is run: the program in an answer, followed by its tests, in a place that is handed in.

Nothing a model wrote runs in this process. What runs it is a function from a program to an outcome that says whether it
ended without an error, such as the `run` of a sandbox.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Protocol

from jielong.runs import digest

_FENCE = re.compile(r"```(?:python|py|Python)?[^\S\n]*\n(.*?)(?:\n```|\Z)", re.DOTALL)


class Execution(Protocol):
    """How a program ended."""

    @property
    def output(self) -> str: ...
    @property
    def is_fine(self) -> bool: ...


RunPython = Callable[[str], Awaitable[Execution]]


def program(text: str) -> str:
    """The code of an answer: what stands in its fences, the last one alone where it has several, or else all of it."""
    found = _FENCE.findall(text)
    return str(found[-1]) if found else text.strip()


async def passes(text: str, tests: str, run_python: RunPython) -> tuple[bool, str]:
    """Whether the answer's code passes the tests, and what was printed.

    The program ends with a line that says that it came so far, in a word that the answer itself could not know: one that
    leaves before its tests has not passed them.
    """
    end = digest(text + tests)
    outcome = await run_python(f"{program(text)}\n\n{tests}\nprint({end!r})\n")
    printed, _, last = outcome.output.rstrip().rpartition("\n")
    has_ended = last == end
    return outcome.is_fine and has_ended, (printed if has_ended else outcome.output)[-2000:]
