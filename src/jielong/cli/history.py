"""The history of terminal chats, kept in the page's store: begun here, they can be opened there, token by token."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jielong.errors import ConfigError, JielongError
from jielong.opening.ports import default_store, served_name
from jielong.records import KEPT_CANDIDATES, Message

if TYPE_CHECKING:
    from jielong.serve.store import Store, Talk
    from jielong.use.port import Answer, Options


def is_kept() -> bool:
    """Return whether the libraries of the store are installed."""
    return importlib.util.find_spec("sqlalchemy") is not None and importlib.util.find_spec("alembic") is not None


class History:
    """One talk in the store: made with its first exchange, or the terminal's last one, to be continued.

    A store that fails costs a sentence, and the talk goes on without it.
    """

    def __init__(self, model: str, system: str, *, goes_on: bool = False, is_off: bool = False) -> None:
        """Begin; with `is_off` nothing is kept."""
        self._model, self._system = served_name(model), system
        self._is_off = is_off or not is_kept()
        self._store: Store | None = None
        self._talk: Talk | None = None
        if goes_on:
            if not is_kept():
                raise ConfigError("talks are kept by the server's store; pip install 'jielong[serve]'")
            self._talk = self._open_store().newest_talk("terminal")
            if self._talk is None:
                raise ConfigError("no talk of the terminal has been kept yet; begin one with: jielong chat")

    @property
    def candidates(self) -> int:
        """Return how many likeliest ids are recorded with each token."""
        return 0 if self._is_off else KEPT_CANDIDATES

    def messages(self) -> tuple[Message, ...]:
        """Return the continued talk, along its last branch."""
        if self._talk is None or not self._talk.leaf:
            return ()
        turns = self._open_store().path(self._talk.leaf)
        opening = (Message("system", self._talk.system),) if self._talk.system else ()
        return (*opening, *(Message(turn.role, turn.content) for turn in turns if turn.content))

    def begin_anew(self) -> None:
        """Begin another talk with the next exchange."""
        self._talk = None

    def keep(self, question: str, answer: Answer, options: Options, strategy: str) -> None:
        """Store a question and its answer in the talk. After a failure nothing more is stored, and a note says so."""
        if self._is_off:
            return
        try:
            self._store_exchange(question, answer, options, strategy)
        except JielongError as error:
            self._is_off = True
            print(f"(this talk is not kept: {error})", file=sys.stderr)

    def close(self) -> None:
        if self._store is not None:
            self._store.close()

    def _store_exchange(self, question: str, answer: Answer, options: Options, strategy: str) -> None:
        """Add an exchange to the store, and make the talk with the first."""
        from jielong.serve.chats import title_of
        from jielong.serve.stored_answers import sampling_json, trace_of, usage_json

        store = self._open_store()
        if self._talk is None:
            self._talk = store.add_talk(
                title_of(question), model=self._model, strategy=strategy, system=self._system, origin="terminal"
            )
        sampling = sampling_json(options.sampling)
        _, turn = store.add_question_and_answer(
            self._talk.id,
            self._talk.leaf,
            question,
            answer.text,
            status="done",
            stop=answer.stop,
            model=self._model,
            strategy=strategy,
            seed=options.seed,
            sampling=sampling,
            thoughts=answer.thoughts,
            usage=usage_json(answer.usage),
            trace=trace_of(answer, options),
        )
        self._talk = store.talk(turn.talk)

    def _open_store(self) -> Store:
        """Open the store once."""
        if self._store is None:
            from jielong.serve.store import open_store

            self._store = open_store(default_store())
        return self._store


def said_before(messages: Sequence[Message], width: int) -> list[str]:
    """Return the end of the talk so far, in lines."""
    lines = []
    for message in messages[-4:]:
        if message.role in ("user", "assistant"):
            who = "you" if message.role == "user" else "model"
            text = " ".join(message.text.split())
            room = width - len(who) - 3
            lines.append(f"{who}> {text if len(text) <= room else text[: room - 1] + '…'}")
    return lines
