"""The errors that a user can cause or meet, as one small tree.

Every error here is one sentence for a person: what was wrong, the value, what would be right. The command line prints
that sentence and leaves with exit code 2. Anything else that escapes is a bug of ours: a traceback and exit code 1.

    JielongError
    ├── ConfigError      a field, recipe, preset or option that does not exist or cannot have this value
    │   └── TooLongError a prompt that does not fit into the model; who can say less may try again
    ├── DataError        input text, chats, preferences or shards that cannot be read or used
    │   └── LimitError   input beyond a limit of size, time or memory; tallies count it by its reason
    ├── NotFoundError    a conversation, turn or trace that is asked for by its id and is not there
    ├── CheckpointError  a checkpoint that is missing, damaged or of another shape or version
    ├── DivergedError    training that left the numbers behind, after the retries were used up
    └── ResourceError    not enough disk, memory, or a device or server that is not there
        └── RefusedError a server that is there and refuses; whether all or this request alone
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

LONGEST = 4000
"""Letters of a message: more than a person reads, and than any sentence of ours needs."""


class JielongError(Exception):
    """An error whose message is written for the user; a value in it that fills pages is cut."""

    def __str__(self) -> str:
        text = super().__str__()
        return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"


class ConfigError(JielongError):
    """A field, recipe, preset or option that does not exist or cannot have this value."""


class TooLongError(ConfigError):
    """A prompt that does not fit into the model's positions."""


class DataError(JielongError):
    """Input that cannot be read or used."""


class LimitError(DataError):
    """Input beyond a limit; `reason` says in a few words which, as tallies count it: "too large", "took too long"."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class NotFoundError(JielongError):
    """Nothing is kept under the id that was asked for."""


class CheckpointError(JielongError):
    """A checkpoint that is missing, damaged or of another shape or version."""


class DivergedError(JielongError):
    """Training that diverged and could not be brought back by the stated rule."""


class ResourceError(JielongError):
    """Not enough disk or memory, or a device that is not there."""


class RefusedError(ResourceError):
    """An error that a server answered with; `said` is its text, `status` that of HTTP."""

    def __init__(self, message: str, said: str, status: int = 0) -> None:
        super().__init__(message)
        self.said, self.status = said, status

    @property
    def is_about_request(self) -> bool:
        """Whether the server refuses this one request, rather than failing at all of them."""
        return self.status in (400, 413, 422)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the end of an error sentence: the closest known name, or the list of all when none is close."""
    names = [str(k) for k in known]
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known: {', '.join(sorted(names))}" if names else "there are none"


def did_you_mean_one_of(near: Sequence[str]) -> str:
    """Return the end of an error sentence that suggests names, the likeliest first, or "" if there are none."""
    if not near:
        return ""
    *before, last = map(repr, near)
    return f"did you mean {', '.join(before)}{' or ' if before else ''}{last}?"
