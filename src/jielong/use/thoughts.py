"""Tell the thoughts of a model from its answer.

Models that reason write their thoughts between <think> and </think> before the answer; some templates have written the
first mark already, so that only the second one comes. Thoughts are shown where a person wants them; they are not the
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
_CLOSED = re.compile(r"(?:^|\n)\s*</think>|</think>[ \t]*\n")


def parted(text: str) -> tuple[str, str]:
    """(thoughts, answer) of a whole text; thoughts that were never ended leave no answer."""
    thoughts, rest = [], text
    while (begun := rest.lstrip()) and (opening := next((o for o in _MARKS if begun.startswith(o)), "")):
        thought, _, rest = begun.removeprefix(opening).partition(_MARKS[opening])
        thoughts.append(thought.removesuffix("<|end|><|start|>assistant").strip())
        rest = rest.lstrip()
    if thoughts:
        return "\n".join(filter(None, thoughts)), rest.removesuffix("<|return|>")
    closed = _CLOSED.search(text)  # the first mark stood in the prompt
    return (text[: closed.start()].strip(), text[closed.end() :].lstrip()) if closed else ("", text)


class Parting:
    """Tells the pieces of an answer while it is written: thoughts to `think`, the rest to `say`.

    Where the opening mark stood in the prompt, thoughts are told as text: nothing tells them apart before their end.
    """

    def __init__(self, say: Callable[[str], None] | None, think: Callable[[str], None] | None = None) -> None:
        self._say, self._think = say, think
        self._held = ""
        self._place, self._closing = "start", ""

    def push(self, piece: str) -> None:
        self._held += piece
        while self._moved():
            pass

    def _moved(self) -> bool:
        """Take one step through what is held; whether there may be another."""
        if self._place == "start":
            begun = self._held.lstrip()
            opening = next((o for o in _MARKS if begun.startswith(o)), "")
            if opening:
                self._place, self._closing, self._held = "thoughts", _MARKS[opening], begun.removeprefix(opening)
                return True
            if any(o.startswith(begun) for o in _MARKS):
                return False
            self._place = "answer"
        if self._place == "thoughts":
            thoughts, closing, said = self._held.partition(self._closing)
            if closing:
                self._tell(self._think, thoughts)
                self._place, self._held = "start", said.lstrip()
                return bool(self._held)
            num_safe = len(thoughts) - overlap(thoughts, self._closing)
            self._tell(self._think, thoughts[:num_safe])
            self._held = thoughts[num_safe:]
            return False
        self._tell(self._say, self._held)
        self._held = ""
        return False

    def finish(self) -> None:
        """Tell what was held back."""
        self._tell(self._think if self._place == "thoughts" else self._say, self._held)
        self._held = ""

    @staticmethod
    def _tell(whom: Callable[[str], None] | None, text: str) -> None:
        if whom and text:
            whom(text)
