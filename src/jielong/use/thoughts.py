"""What a model thinks before it answers, told apart from what it says.

Models that reason write their thoughts between <think> and </think> before the answer; some templates have written the
first mark already, so that only the second one comes. Thoughts are shown where a person wants them; they are not the
answer, and no later turn is told of them.
"""

from __future__ import annotations

from collections.abc import Callable

from jielong.tokens.stream import overlap

_OPENING, _CLOSING = "<think>", "</think>"


def parted(text: str) -> tuple[str, str]:
    """(thoughts, answer) of a whole text; thoughts that were never ended leave no answer."""
    begun = text.lstrip()
    is_opened = begun.startswith(_OPENING)
    inner = begun.removeprefix(_OPENING) if is_opened else text
    thoughts, closing, said = inner.partition(_CLOSING)
    if closing:
        return thoughts.strip(), said.lstrip()
    return (inner.strip(), "") if is_opened else ("", text)


class Parting:
    """Tells the pieces of an answer while it is written: thoughts to `think`, the rest to `say`.

    Thoughts whose first mark stood in the prompt cannot be known for such before their end, and are told as said.
    """

    def __init__(self, say: Callable[[str], None] | None, think: Callable[[str], None] | None = None) -> None:
        self._say, self._think = say, think
        self._held = ""
        self._place = "start"

    def push(self, piece: str) -> None:
        self._held += piece
        if self._place == "start":
            begun = self._held.lstrip()
            if begun.startswith(_OPENING):
                self._place, self._held = "thoughts", begun.removeprefix(_OPENING)
            elif not _OPENING.startswith(begun):
                self._place = "answer"
        if self._place == "thoughts":
            thoughts, closing, said = self._held.partition(_CLOSING)
            if closing:
                self._tell(self._think, thoughts)
                self._place, self._held = "between", said
            else:
                num_safe = len(thoughts) - overlap(thoughts, _CLOSING)
                self._tell(self._think, thoughts[:num_safe])
                self._held = thoughts[num_safe:]
        if self._place == "between":
            self._held = self._held.lstrip()
            self._place = "answer" if self._held else "between"
        if self._place == "answer":
            self._tell(self._say, self._held)
            self._held = ""

    def finish(self) -> None:
        """Tell what was held back."""
        self._tell(self._think if self._place == "thoughts" else self._say, self._held)
        self._held = ""

    @staticmethod
    def _tell(whom: Callable[[str], None] | None, text: str) -> None:
        if whom and text:
            whom(text)
