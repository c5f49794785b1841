"""How a contestant talks to the one who measures: a line of JSON in, a line of JSON out.

A contestant opens its job (a JSON file, the first argument), says what it is, and answers questions until the input
ends. It stays open between two questions, so that contestants take turns without loading or compiling twice. Whatever
libraries print goes to the standard error stream. Standard library only: this runs in every peer's environment.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
"""What seconds are: those of the wall, or those in which a processor worked for this process, in all its threads."""

Answers = Mapping[str, Callable[..., dict[str, Any]]]
"""What can be asked, by the question's "do"; its other fields are the arguments."""


class Line:
    """The contestant's end of the line."""

    def __init__(self) -> None:
        self.job: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
        self.clock = CLOCKS[self.job["clock"]]
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)

    def say(self, **answer: Any) -> None:
        self._out.write(json.dumps(answer) + "\n")
        self._out.flush()

    def timed(self, work: Callable[[], Any]) -> tuple[float, Any]:
        """Seconds and result."""
        start = self.clock()
        result = work()
        return self.clock() - start, result

    def hear(self) -> dict[str, Any]:
        """The next question; the process ends where there is none."""
        question = sys.stdin.readline()
        if not question:
            raise SystemExit(0)
        heard: dict[str, Any] = json.loads(question)
        return heard

    def serve(self, answers: Answers) -> NoReturn:
        """Answer until the input ends."""
        while True:
            question = self.hear()
            self.say(**answers[question.pop("do")](**question))


class Steps:
    """Lets a training loop that calls back after each step go only as far as it is asked to.

    The question {"do": "steps", "count": n} is answered with its seconds and the loss of each step; others are answered
    while the loop stands still.
    """

    def __init__(self, line: Line, answers: Answers) -> None:
        self.line, self.answers = line, answers
        self.losses: list[float] = []
        self.left = 0
        self.began_s = 0.0

    def wait(self) -> None:
        """Stand still until steps are asked for."""
        while True:
            question = self.line.hear()
            if question["do"] == "steps":
                self.left, self.losses, self.began_s = question["count"], [], self.line.clock()
                return
            self.line.say(**self.answers[question.pop("do")](**question))

    def after(self, loss: float) -> None:
        """One step is done."""
        self.losses.append(loss)
        self.left -= 1
        if self.left == 0:
            self.line.say(seconds=self.line.clock() - self.began_s, losses=self.losses)
            self.wait()
