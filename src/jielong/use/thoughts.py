"""Splitting a model's thoughts from its answer.

Models that reason write their thoughts between <think> and </think> before the answer; some templates have written the
first mark already, so that only the second one comes. Thoughts are shown if a person wants them; they are not the
answer, and no later turn is told of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from jielong.tokens.stream import overlap

_MARKS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "[THINK]": "[/THINK]",
    "<|channel|>analysis<|message|>": "<|channel|>final<|message|>",
}
"""Opening and closing marks: most models, some, Mistral, gpt-oss."""
_LONGEST = max(map(len, _MARKS))
_CLOSED = re.compile(r"(?:\A|(?<=\S))(\s*+)</think>(?:[ \t]*(\n))?")
_BLANKS = re.compile(r"\s*")


def split_thoughts(text: str) -> tuple[str, str]:
    """Split a whole text into (thoughts, answer); thoughts that were never ended leave no answer."""
    thoughts, at = [], _past_blanks(text, 0)
    while opening := next((o for o in _MARKS if text.startswith(o, at)), ""):
        start, closing = at + len(opening), _MARKS[opening]
        end = text.find(closing, start)
        thought = text[start : end if end >= 0 else len(text)]
        thoughts.append(thought.removesuffix("<|end|><|start|>assistant").strip())
        at = _past_blanks(text, end + len(closing) if end >= 0 else len(text))
    if thoughts:
        return "\n".join(filter(None, thoughts)), text[at:].removesuffix("<|return|>")
    for closed in _CLOSED.finditer(text):  # the first mark stood in the prompt; alone on its line, or at the end of one
        if "\n" in closed[1] or not closed.start() or closed[2]:
            return text[: closed.start()].strip(), text[closed.end() :].lstrip()
    return "", text


def _past_blanks(text: str, at: int) -> int:
    blanks = _BLANKS.match(text, at)
    return blanks.end() if blanks else at


class ThoughtSplitter:
    """Splits an answer while it is written: thoughts go to `think`, the rest to `say`.

    If the opening mark stood in the prompt, thoughts are passed on as text: nothing tells them apart before their end.
    """

    def __init__(self, say: Callable[[str], None] | None, think: Callable[[str], None] | None = None) -> None:
        self._say, self._think = say, think
        self._held = ""
        self._blanks = list[str]()
        self._place, self._closing = "start", ""

    def push(self, piece: str) -> None:
        """Take a piece, and pass on what is certain."""
        if self._place == "start" and not self._held and (not piece or piece.isspace()):
            self._blanks.append(piece)
            return
        self._held, self._blanks = "".join((*self._blanks, self._held, piece)), []
        at = 0
        while at >= 0:
            at = self._moved(at)

    def _moved(self, at: int) -> int:
        """Take one step through the held text from `at` on; return where the next one begins, or -1."""
        if self._place == "start":
            begun = _past_blanks(self._held, at)
            opening = next((o for o in _MARKS if self._held.startswith(o, begun)), "")
            if opening:
                self._place, self._closing = "thoughts", _MARKS[opening]
                return begun + len(opening)
            if len(self._held) - begun < _LONGEST and any(o.startswith(self._held[begun:]) for o in _MARKS):
                self._held = self._held[at:]
                return -1
            self._place = "answer"
        if self._place == "thoughts":
            end = self._held.find(self._closing, at)
            if end >= 0:
                self._tell(self._think, self._held[at:end])
                self._place, at = "start", _past_blanks(self._held, end + len(self._closing))
                if at < len(self._held):
                    return at
                self._held = ""
                return -1
            thoughts = self._held[at:]
            num_safe = len(thoughts) - overlap(thoughts, self._closing)
            self._tell(self._think, thoughts[:num_safe])
            self._held = thoughts[num_safe:]
            return -1
        self._tell(self._say, self._held[at:])
        self._held = ""
        return -1

    def finish(self) -> None:
        """Pass on the text that was held back."""
        held = "".join((*self._blanks, self._held))
        self._tell(self._think if self._place == "thoughts" else self._say, held)
        self._held = ""

    @staticmethod
    def _tell(whom: Callable[[str], None] | None, text: str) -> None:
        if whom and text:
            whom(text)
