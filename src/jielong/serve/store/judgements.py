"""Judgements in the store: added, looked up, taken back, and converted to the nouns that training reads.

A stored judgement refers to turns. As a noun, which is a `records.Judgement`, it holds the texts and tokens too, so its
readers need no store. A judgement that is added as a noun gets a hidden conversation of its own.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, delete, func, insert, or_, select, update

from jielong.errors import DataError, NotFoundError
from jielong.records import (
    AnswerSource,
    Demonstration,
    Judgement,
    Message,
    Preference,
    Ranking,
    Rating,
    Vote,
)
from jielong.serve.store.blobs import unpack
from jielong.serve.store.database import Database
from jielong.serve.store.nouns import Judged, Talk, Turn
from jielong.serve.store.tables import (
    JUDGEMENTS,
    TALKS,
    TRACES,
    TURN_ROWS,
    TURNS,
    clean,
    judged_of,
    row_of,
    talk_of,
    turn_of,
)

_MANY = 500
"""Ids of one statement."""
_SEALED = (TALKS.c.origin == "judging", TALKS.c.model == "")
"""A conversation that was drawn to be judged blind names no model before its first judgement, and one ever after."""


class Judgements:
    """All judgements of a store; safe to share between threads. Raises NotFoundError for an unknown id."""

    def __init__(self, database: Database, new_id: Any) -> None:
        self._database, self._new_id = database, new_id

    def add(
        self,
        kind: str,
        answers: Sequence[str],
        value: Mapping[str, Any],
        *,
        by: str = "",
        purpose: str = "",
        created: float | None = None,
    ) -> Judged:
        """Add a judgement of answers to one question. A voter's newer rating of an answer replaces the one before it.

        Raises DataError for answers to different questions, or for a turn that is no answer.
        """
        when = time.time() if created is None else created
        with self._database.write() as connection:
            parents = {_read_answer(connection, id).parent for id in answers}
            if len(parents) != 1 or "" in parents:
                raise DataError(
                    "the answers that are judged together belong to different questions; expected one question"
                )
            judged = Judged(self._new_id(), kind, parents.pop(), tuple(answers), value, by, when, purpose)
            if kind == "rating":
                same = (JUDGEMENTS.c.kind == kind, JUDGEMENTS.c.by == clean(by), JUDGEMENTS.c.purpose == clean(purpose))
                chosen = select(JUDGEMENTS).where(JUDGEMENTS.c.question == judged.question, *same)
                before = [judged_of(row) for row in connection.execute(chosen).mappings()]
                gone = [one.id for one in before if one.answers == judged.answers]
                connection.execute(delete(JUDGEMENTS).where(JUDGEMENTS.c.id.in_(gone)))
            connection.execute(insert(JUDGEMENTS), row_of(judged))
            _unseal(connection, judged)
        return judged

    def get(self, id: str) -> Judged:
        """Return a judgement. Raises NotFoundError if there is none."""
        with self._database.read() as connection:
            row = connection.execute(select(JUDGEMENTS).where(JUDGEMENTS.c.id == clean(id))).mappings().first()
        if row is None:
            raise NotFoundError(f"there is no judgement {id!r:.40}; it may have been taken back")
        return judged_of(row)

    def of_talk(self, talk: str) -> list[Judged]:
        """Return the judgements of a conversation's answers, the oldest first."""
        chosen = select(JUDGEMENTS).join(TURNS, TURNS.c.id == JUDGEMENTS.c.question).where(TURNS.c.talk == clean(talk))
        with self._database.read() as connection:
            rows = connection.execute(chosen.order_by(JUDGEMENTS.c.created, JUDGEMENTS.c.id)).mappings()
            return [judged_of(row) for row in rows]

    def all(self, *, kind: str = "", by: str | None = None, purpose: str | None = "") -> list[Judged]:
        """Return all judgements, the oldest first; `purpose` None includes those that decided a comparison."""
        chosen = select(JUDGEMENTS).order_by(JUDGEMENTS.c.created, JUDGEMENTS.c.id)
        for column, value in (
            (JUDGEMENTS.c.kind, kind or None),
            (JUDGEMENTS.c.by, by),
            (JUDGEMENTS.c.purpose, purpose),
        ):
            if value is not None:
                chosen = chosen.where(column == clean(value))
        with self._database.read() as connection:
            return [judged_of(row) for row in connection.execute(chosen).mappings()]

    def count(self) -> dict[str, int]:
        """Count the judgements of each kind that are available for learning."""
        chosen = select(JUDGEMENTS.c.kind, func.count()).where(JUDGEMENTS.c.purpose == "").group_by(JUDGEMENTS.c.kind)
        with self._database.read() as connection:
            return {row[0]: row[1] for row in connection.execute(chosen)}

    def num_by_prompt(self) -> dict[str, int]:
        """Return the number of judgements by the text of the first question of their conversations."""
        chosen = select(TURNS.c.content, func.count()).join(JUDGEMENTS, JUDGEMENTS.c.question == TURNS.c.id)
        chosen = chosen.where(TURNS.c.parent.is_(None), JUDGEMENTS.c.purpose == "").group_by(TURNS.c.content)
        with self._database.read() as connection:
            return {row[0]: row[1] for row in connection.execute(chosen)}

    def is_sealed(self, id: str) -> bool:
        """Whether this conversation, or this turn's conversation, awaits a blind judgement."""
        of_turn = select(TURNS.c.talk).where(TURNS.c.id == clean(id))
        chosen = select(TALKS.c.id).where(or_(TALKS.c.id == clean(id), TALKS.c.id.in_(of_turn)), *_SEALED)
        with self._database.read() as connection:
            return connection.execute(chosen).first() is not None

    def delete_sealed(self, before: float) -> int:
        """Delete conversations from before this time that still await a blind judgement; return their number."""
        with self._database.write() as connection:
            chosen = select(TALKS.c.id).where(*_SEALED, TALKS.c.created < before)
            gone = [id for (id,) in connection.execute(chosen)]
            for some in _in_batches(gone):
                connection.execute(delete(TURNS).where(TURNS.c.talk.in_(some)))
                connection.execute(delete(TALKS).where(TALKS.c.id.in_(some)))
        return len(gone)

    def delete(self, ids: Collection[str]) -> int:
        """Delete judgements, and hidden conversations used by these alone; return the number of judgements."""
        gone = 0
        with self._database.write() as connection:
            for some in _in_batches(ids):
                gone += connection.execute(delete(JUDGEMENTS).where(JUDGEMENTS.c.id.in_(some))).rowcount
            judged = select(TURNS.c.talk).join(JUDGEMENTS, JUDGEMENTS.c.question == TURNS.c.id)
            empty = select(TALKS.c.id).where(TALKS.c.origin == "feedback", TALKS.c.id.not_in(judged))
            for some in _in_batches([id for (id,) in connection.execute(empty)]):
                connection.execute(delete(TURNS).where(TURNS.c.talk.in_(some)))
                connection.execute(delete(TALKS).where(TALKS.c.id.in_(some)))
        self._database.forget()
        return gone

    # --- as nouns, with all texts

    def nouns(self, chosen: Sequence[Judged] | None = None, *, with_ids: bool = True) -> list[Judgement]:
        """Return judgements as `records.Judgement`s for training, by default all of them.

        A pair of two bad answers becomes two ratings of 0. Answers that were edited by a person have no tokens.
        """
        chosen = self.all() if chosen is None else chosen
        with self._database.read() as connection:
            talks, turns = _conversations_of(connection, {one.question for one in chosen})
            wanted = {id for one in chosen for id in one.answers} if with_ids else set()
            tokens = _tokens(connection, wanted)
        told = _NounReader(talks, turns, tokens)
        return [noun for one in chosen for noun in told.nouns(one)]

    def refuses(self, noun: Judgement) -> str:
        """Return why `add_nouns` would refuse a judgement, or "" if it accepts it."""
        try:
            _NounRows(noun, self._new_id)
        except DataError as error:
            return str(error)
        return ""

    def add_nouns(self, nouns: Iterable[Judgement]) -> int:
        """Add judgements from a file, each with a hidden conversation of its own; return how many there are."""
        talks, turns, judged = [], [], []
        for noun in nouns:
            made = _NounRows(noun, self._new_id)
            talks.append(row_of(made.talk))
            turns += [{**row_of(turn), "place": place} for place, turn in enumerate(made.turns)]
            judged.append(row_of(made.judged))
        with self._database.write() as connection:
            for table, rows in ((TALKS, talks), (TURNS, turns), (JUDGEMENTS, judged)):
                if rows:
                    connection.execute(insert(table), rows)
        return len(judged)


class _NounReader:
    """A reader that converts stored judgements to nouns, with their texts and tokens."""

    def __init__(
        self,
        talks: Mapping[str, Talk],
        turns: Mapping[str, Turn],
        tokens: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]],
    ) -> None:
        self._talks, self._turns, self._tokens = talks, turns, tokens

    def nouns(self, one: Judged) -> list[Judgement]:
        """Return the nouns of one judgement."""
        prompt = self._prompt(one.question)
        sides = [(Message("assistant", self._turns[id].content),) for id in one.answers]
        vote = Vote(
            one.id, one.created, bool(one.value.get("is_blind")), -1, tuple(map(self._source_of_answer, one.answers))
        )
        if one.kind == "rating":
            return [Rating(prompt, sides[0], one.value["score"], one.by, one.value.get("reason", ""), vote)]
        if one.kind == "ranking":
            return [Ranking(prompt, tuple(sides), tuple(one.value["places"]), one.by, vote)]
        if one.kind == "demonstration":
            worse = self._turns.get(one.value.get("rejected", ""))
            rejected = (Message("assistant", worse.content),) if worse is not None else ()
            return [Demonstration(prompt, sides[0], rejected, one.by, vote)]
        left, right = sides
        outcome = one.value["outcome"]
        if outcome == "bad":
            votes = [Vote(one.id, one.created, vote.is_blind, -1, (source,)) for source in vote.answers]
            return [Rating(prompt, side, 0.0, one.by, vote=v) for side, v in zip(sides, votes, strict=True)]
        if outcome == "right":
            turned = Vote(one.id, one.created, vote.is_blind, 0, vote.answers[::-1])
            return [Preference(prompt, right, left, by=one.by, vote=turned)]
        shown = Vote(one.id, one.created, vote.is_blind, 1, vote.answers)
        return [Preference(prompt, left, right, label=1.0 if outcome == "left" else 0.5, by=one.by, vote=shown)]

    def _prompt(self, question: str) -> tuple[Message, ...]:
        """Return the messages up to a question."""
        path: list[Turn] = []
        at = question
        while at:
            path.append(self._turns[at])
            at = path[-1].parent
        system = self._talks[path[0].talk].system
        opening = (Message("system", system),) if system else ()
        return (*opening, *(Message(turn.role, turn.content) for turn in reversed(path)))

    def _source_of_answer(self, id: str) -> AnswerSource:
        """Return the source of an answer: its model and, unless a person edited it, its exact token ids."""
        turn = self._turns[id]
        prompt_ids, ids = ((), ()) if turn.is_edited else self._tokens.get(id, ((), ()))
        return AnswerSource(id, turn.model, turn.digest, prompt_ids, ids)


class _NounRows:
    """The rows for a noun: a hidden conversation with the prompt and the answers, and the judgement."""

    def __init__(self, noun: Judgement, new_id: Any) -> None:
        self._noun, self._new_id = noun, new_id
        now = noun.vote.at or time.time()
        spoken = [m for m in noun.prompt if m.role != "system"]
        system = "\n\n".join(m.text for m in noun.prompt if m.role == "system")
        odd = next((m.role for m in spoken if m.role not in ("user", "assistant") or m.tool_calls), None)
        if odd is not None or not spoken or spoken[-1].role != "user":
            raise DataError(
                f"a judgement's prompt {f'has a turn of {odd}' if odd else 'does not end with a question'}; "
                "expected questions and answers, the last one a question"
            )
        self.talk = Talk(new_id(), spoken[-1].text[:60], now, now, system=system, origin="feedback")
        self.turns: list[Turn] = []
        parent = ""
        for message in spoken:
            parent = self._turn(parent, message.role, message.text, now).id
        self.question = parent
        self.judged = self._judged(now)
        self.talk = Talk(**{**vars(self.talk), "leaf": self.judged.answers[0]})

    def _turn(self, parent: str, role: str, text: str, now: float, source: AnswerSource | None = None) -> Turn:
        """Add a turn to the hidden conversation."""
        model, digest = (source.model, source.digest) if source is not None else ("", "")
        turn = Turn(self._new_id(), self.talk.id, parent, role, text, now, model=model, digest=digest)
        self.turns.append(turn)
        return turn

    def _judged(self, now: float) -> Judged:
        """Build the judgement of the noun's answers."""
        noun, vote = self._noun, self._noun.vote
        sources = itertools.chain(vote.answers, itertools.repeat(AnswerSource()))

        def answer(messages: Sequence[Message]) -> str:
            """Add an answer and return its id."""
            if any(m.role != "assistant" or m.tool_calls for m in messages):
                raise DataError("a judged answer holds calls or turns of others; expected text of the assistant alone")
            text = "\n\n".join(m.text for m in messages if m.role == "assistant")
            return self._turn(self.question, "assistant", text, now, next(sources)).id

        value: dict[str, Any]
        if isinstance(noun, Preference):
            kind, ids = "preference", [answer(noun.chosen), answer(noun.rejected)]
            outcome = "tie" if noun.label == 0.5 else "left" if noun.label > 0.5 else "right"
            if vote.shown_first == 0:
                ids, outcome = ids[::-1], {"left": "right", "right": "left"}.get(outcome, outcome)
            value = {"outcome": outcome, "is_blind": vote.is_blind}
        elif isinstance(noun, Rating):
            kind, ids = "rating", [answer(noun.answer)]
            value = {"score": noun.score, "reason": noun.reason}
        elif isinstance(noun, Ranking):
            kind, ids = "ranking", [answer(one) for one in noun.answers]
            value = {"places": list(noun.places)}
        else:
            kind, ids = "demonstration", [answer(noun.answer)]
            value = {"rejected": answer(noun.rejected) if noun.rejected else ""}
        return Judged(self._new_id(), kind, self.question, tuple(ids), value, noun.by, now)


def _read_answer(connection: Connection, id: str) -> Turn:
    """Return an answer; raise if the turn is missing or a question."""
    row = connection.execute(TURN_ROWS.where(TURNS.c.id == clean(id))).mappings().first()
    if row is None:
        raise NotFoundError(f"there is no answer {id!r:.40}; it may have been deleted with its conversation")
    turn = turn_of(row)
    if turn.role != "assistant":
        raise DataError(f"turn {id!r:.40} is a question; expected an answer")
    return turn


def _unseal(connection: Connection, judged: Judged) -> None:
    talk, model = connection.execute(select(TURNS.c.talk, TURNS.c.model).where(TURNS.c.id == judged.answers[0])).one()
    connection.execute(update(TALKS).where(TALKS.c.id == talk, *_SEALED).values(model=model))


def _conversations_of(connection: Connection, questions: Collection[str]) -> tuple[dict[str, Talk], dict[str, Turn]]:
    """Return the conversations of these questions, and all their turns, each by id."""
    names: set[str] = set()
    for some in _in_batches(questions):
        names |= {talk for (talk,) in connection.execute(select(TURNS.c.talk).where(TURNS.c.id.in_(some)))}
    talks: dict[str, Talk] = {}
    turns: dict[str, Turn] = {}
    for some in _in_batches(names):
        talks |= {
            row["id"]: talk_of(row) for row in connection.execute(select(TALKS).where(TALKS.c.id.in_(some))).mappings()
        }
        rows = connection.execute(TURN_ROWS.where(TURNS.c.talk.in_(some))).mappings()
        turns |= {row["id"]: turn_of(row) for row in rows}
    return talks, turns


def _tokens(connection: Connection, ids: Collection[str]) -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
    """Return the token ids of prompt and answer of each turn that has them."""
    found = {}
    for some in _in_batches(ids):
        for row in connection.execute(select(TRACES).where(TRACES.c.turn.in_(some))):
            trace = unpack(row.blob)
            found[row.turn] = (trace.prompt_ids, trace.ids)
    return found


def _in_batches(ids: Collection[str]) -> Iterable[list[str]]:
    """Yield the ids, sorted, in lists that one statement can take."""
    rest = iter(sorted(ids))
    while some := list(itertools.islice(rest, _MANY)):
        yield some
