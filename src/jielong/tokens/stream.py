"""Streaming decoding: ids to text as they come, never half a character, never a piece of a stop string.

A token may end inside a UTF-8 character and a stop string may span tokens, so some text is held back until the next
token decides. Once a stop string is seen, the text ends before it.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence

from jielong.tokens.tokenizer import Tokenizer


class TextStream:
    """The text of one answer, decoded id by id. Bytes that are not UTF-8 become U+FFFD.

    Special ids are silent, but for those around calls and thoughts: without them both would pass for text.
    """

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str] = ()) -> None:
        self.tokenizer = tokenizer
        self.stop = tuple(s for s in stop if s)
        self.stopped_by = ""
        """The stop string that ended the text, "" while there was none."""
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""

    def push(self, id: int) -> str:
        """Add an id and return the text that is certain now; "" after a stop string."""
        is_silent = id not in self.tokenizer.marks_of_answers
        return self._pass_on(self._decoder.decode(self.tokenizer.decode_bytes([id], skip_special=is_silent)))

    def finish(self) -> str:
        """Return the text that was held back, when no more ids come."""
        if self.stopped_by:
            return ""
        text = self._pass_on(self._decoder.decode(b"", final=True))
        held, self._held = self._held, ""
        return text + held

    def _pass_on(self, text: str) -> str:
        """Return the part of new text that cannot belong to a stop string, and hold back the rest."""
        if self.stopped_by:
            return ""
        text = self._held + text
        found = [(text.find(stop), -len(stop), stop) for stop in self.stop if stop in text]
        if found:
            # the earliest; of two that begin together, the longer
            start, _, self.stopped_by = min(found)
            self._held = ""
            return text[:start]
        held = max((overlap(text, stop) for stop in self.stop), default=0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]


CALL_OPENING, CALL_CLOSING = "<tool_call>", "</tool_call>"
"""Marks around a call that a model writes as text."""


def enclosed(text: str, opening: str, closing: str) -> Iterator[tuple[int, int]]:
    """Yield the start of each `opening` that is closed, and the end of its `closing`, from left to right in linear
    time.
    """
    end = 0
    while (start := text.find(opening, end)) >= 0 and (close := text.find(closing, start + len(opening))) >= 0:
        end = close + len(closing)
        yield start, end


def overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of `text` with which `stop` begins."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0


def cut_at_stop(text: str, stop: Sequence[str]) -> str:
    """Return a whole text up to the first stop string in it."""
    return text[: min((text.find(s) for s in stop if s and s in text), default=len(text))]
