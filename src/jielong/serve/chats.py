"""The page's operations on conversations: asking, answering again, branching at a token, continuing, editing.

Turns are a tree. Each new answer is a sibling of the present ones, so nothing is lost, and any two can be compared. An
operation is stored before it is acknowledged.
"""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from jielong.errors import ConfigError, did_you_mean
from jielong.records import Conversation, Draw, Message, Sampling
from jielong.serve.answering import ServerResources, fresh_seed, open_strategy
from jielong.serve.event_log import StreamEvent
from jielong.serve.markdown import render
from jielong.serve.models import Models
from jielong.serve.refused import Refused
from jielong.serve.store import Store, Talk, Trace, Turn
from jielong.serve.stored_answers import sampling_json
from jielong.serve.writing import Plan, Result, Writing, at_work
from jielong.use.retrieval.queries import without_sources
from jielong.use.tools.tool import Arguments, Tool

DEFAULTS: dict[str, Any] = {
    "temperature": 0.8,
    "top_k": 0,
    "top_p": 0.95,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "max_tokens": 1024,
    "seed": None,
}
TITLE_CHARS = 60
_SOURCES = re.compile(r"\n+(?:\[\d{1,2}\] [^\n]*(?:\n|\Z))+\Z")
"""The list of sources below an answer from documents."""
MOST_TEXT_CHARS = 1 << 20


class Chats:
    """The page's operations on conversations. Set `resources` before the first answer; tools ask `approve`."""

    def __init__(self, store: Store, models: Models) -> None:
        self.store, self.models = store, models
        self.resources: ServerResources | None = None
        self._writing: dict[str, Writing] = {}

    async def close(self) -> None:
        """Stop every answer, and store the text so far."""
        await asyncio.gather(*(writing.stop() for writing in list(self._writing.values())))

    async def approve(self, tool: Tool, arguments: Arguments) -> bool:
        """Ask the person in whose answer the tool is called."""
        writing = at_work.get()
        return await writing.approve(tool, arguments) if writing is not None else False

    def decide(self, approval: str, *, is_allowed: bool) -> None:
        """Pass on a person's decision about a tool call. Raises Refused if the call no longer waits."""
        for writing in self._writing.values():
            asked = writing.approvals.get(approval)
            if asked is not None and not asked.done():
                asked.set_result(is_allowed)
                return
        raise Refused(404, "nobody asks for that approval any more; it may have timed out", code="not_found")

    # --- conversations

    async def begin(self, fields: Mapping[str, Any]) -> Talk:
        """Begin a conversation, by default with the first model."""
        first = next(iter(self.models), None)
        named = {"model": first.name} if first is not None and not fields.get("model") else {}
        return await asyncio.to_thread(partial(self.store.add_talk, **{**self._check_fields(fields), **named}))

    async def change(self, id: str, fields: Mapping[str, Any]) -> Talk:
        return await asyncio.to_thread(partial(self.store.change_talk, id, **self._check_fields(fields)))

    def _check_fields(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Check model, strategy and sampling, and return the fields that are set."""
        found = {name: value for name, value in fields.items() if value is not None}
        if found.get("model"):
            self.models.get(found["model"])
        if found.get("strategy") and self.resources is not None:
            model = self.models.get(found.get("model") or self.models.default.name)
            open_strategy(found["strategy"], model, self.resources, is_person_there=True)
        if "sampling" in found:
            _sampling(found["sampling"])
        return found

    async def delete(self, id: str) -> None:
        """Delete a conversation with everything in it; stop unfinished answers first."""
        turns = await asyncio.to_thread(self.store.turns, id)
        await asyncio.gather(*(self._writing[t.id].stop() for t in turns if t.id in self._writing))
        await asyncio.to_thread(self.store.delete_talk, id)

    async def conversation_json(self, id: str) -> dict[str, Any]:
        """Return a conversation with its whole tree of turns as JSON."""
        talk = await asyncio.to_thread(self.store.talk, id)
        turns = await asyncio.to_thread(self.store.turns, id)
        return {"conversation": talk_json(talk), "turns": await asyncio.to_thread(self._turns_json, turns)}

    def _turns_json(self, turns: Sequence[Turn]) -> list[dict[str, Any]]:
        return [turn_json(turn, self._text_of(turn)) for turn in turns]

    def _text_of(self, turn: Turn) -> str:
        writing = self._writing.get(turn.id)
        return writing.text if writing is not None else turn.content

    # --- answers

    async def ask(self, talk_id: str, parent: str, text: str) -> dict[str, Any]:
        """Add a question below `parent`, and begin its answer."""
        if not text.strip():
            raise Refused(400, "there is nothing to answer: the text is empty", param="text")
        talk = await asyncio.to_thread(self.store.talk, talk_id)
        if not talk.title:
            talk = await asyncio.to_thread(partial(self.store.change_talk, talk_id, title=title_of(text)))
        before = await self._path(parent)
        plan = self._plan(talk, [*before, Turn("", "", "", "user", text, 0.0)], {})
        question, answer = await asyncio.to_thread(
            partial(self.store.add_question_and_answer, talk_id, parent, text, **_answer_fields(plan))
        )
        self._start(answer, plan)
        return {"question": turn_json(question, text), "answer": turn_json(answer, ""), "conversation": talk_json(talk)}

    async def answer_again(self, question_id: str, fields: Mapping[str, Any]) -> Turn:
        """Begin another answer to a question."""
        question = await asyncio.to_thread(self.store.turn, question_id)
        if question.role != "user":
            raise Refused(400, f"turn {question_id} is an answer; another answer is asked for at its question")
        talk = await asyncio.to_thread(self.store.talk, question.talk)
        return await self._answer(question, self._plan(talk, await self._path(question_id), fields))

    async def branch(self, answer_id: str, n: int, id: int) -> Turn:
        """Begin an answer that copies another before token `n`, has `id` as token `n`, and is generated from there."""
        answer, trace = await self._answer_and_trace(answer_id)
        if not 0 <= n < len(trace.ids):
            raise Refused(400, f"n is {n}; this answer has tokens 0 to {len(trace.ids) - 1}", param="n")
        draw = trace.draws[n]
        candidate = next((c for c in draw.likeliest if c.id == id), None) if draw is not None else None
        if draw is None or (candidate is None and draw.taken.id != id):
            raise Refused(400, f"token {id} is not among those that are kept for place {n}", param="id")
        taken = replace(draw, taken=candidate or draw.taken, uniform=None)
        chosen = {"of": answer_id, "n": n, "id": id}
        return await self._continue_from(answer, trace, n, chosen, ((id, taken),))

    async def continue_answer(self, answer_id: str) -> Turn:
        """Continue an answer that was cut or stopped."""
        answer, trace = await self._answer_and_trace(answer_id)
        async with self.models.using(answer.model) as model:
            stops = set(model.tokenizer.stop_ids)
        kept = next((n for n, id in enumerate(trace.ids) if id in stops), len(trace.ids))
        return await self._continue_from(answer, trace, kept, {"of": answer_id, "n": kept, "id": None}, ())

    async def _continue_from(
        self, answer: Turn, trace: Trace, n: int, chosen: Mapping[str, Any], more: Sequence[tuple[int, Draw]]
    ) -> Turn:
        """Begin an answer with the first `n` tokens of another, and the given tokens `more`."""
        question = await asyncio.to_thread(self.store.turn, answer.parent)
        sampling, _ = _sampling(answer.sampling)
        plan = Plan(
            answer.model,
            "",
            Conversation(()),
            sampling,
            fresh_seed(),
            trace.prompt_ids,
            (*trace.ids[:n], *(id for id, _ in more)),
            (*trace.draws[:n], *(draw for _, draw in more)),
            (*trace.logprobs[:n], *(0.0 for _ in more)),
            (*trace.by_model[:n], *(False for _ in more)),
        )
        return await self._answer(question, plan, chosen=chosen)

    async def edit(self, answer_id: str, text: str) -> Turn:
        """Add a person's version of an answer, beside the model's."""
        answer = await asyncio.to_thread(self.store.turn, answer_id)
        if answer.role != "assistant":
            raise Refused(400, f"turn {answer_id} is a question; say it anew below the turn before it")
        add = partial(self.store.add_turn, answer.talk, answer.parent, "assistant", text, is_edited=True)
        return await asyncio.to_thread(partial(add, model=answer.model, chosen={"of": answer_id, "n": 0, "id": None}))

    async def stop(self, answer_id: str) -> Turn:
        """Stop an answer and return it with the text so far."""
        writing = self._writing.get(answer_id)
        if writing is not None:
            await writing.stop()
        return await asyncio.to_thread(self.store.turn, answer_id)

    async def follow(self, answer_id: str, after: int = -1) -> AsyncIterator[StreamEvent]:
        """Yield the events of an answer after number `after`; for a finished answer, `done` alone."""
        turn = await asyncio.to_thread(self.store.turn, answer_id)
        writing = self._writing.get(answer_id)
        if writing is None:
            yield 0, "done", await asyncio.to_thread(turn_json, turn, turn.content)
            return
        async for told in writing.log.follow(after):
            yield told

    async def _answer(self, question: Turn, plan: Plan, **more: Any) -> Turn:
        """Add an empty answer to the store and start writing it."""
        fields = {**_answer_fields(plan), **more}
        add = partial(self.store.add_turn, question.talk, question.id, "assistant", "", **fields)
        answer = await asyncio.to_thread(add)
        self._start(answer, plan)
        return answer

    def _start(self, answer: Turn, plan: Plan) -> None:
        """Start writing an answer in the background."""
        assert self.resources is not None

        async def save(text: str) -> None:
            await asyncio.to_thread(partial(self.store.change_turn, answer.id, content=text))

        async def keep(result: Result) -> dict[str, Any]:
            """Store the finished answer and return it for the page."""
            try:
                turn = await asyncio.to_thread(partial(self._store_result, answer.id, result))
                return await asyncio.to_thread(turn_json, turn, turn.content)
            finally:
                self._writing.pop(answer.id, None)

        self._writing[answer.id] = Writing(plan, self.models, self.resources, save, keep)
        self._writing[answer.id].start()

    def _store_result(self, id: str, result: Result) -> Turn:
        """Store the result of an answer."""
        return self.store.change_turn(
            id,
            trace=result.trace,
            content=result.text,
            thoughts=result.thoughts,
            status=result.status,
            stop=result.stop,
            error=result.error,
            digest=result.digest,
            usage=result.usage,
            trail=result.trail,
        )

    # --- what is asked

    async def _path(self, turn_id: str) -> list[Turn]:
        return await asyncio.to_thread(self.store.path, turn_id) if turn_id else []

    async def _answer_and_trace(self, answer_id: str) -> tuple[Turn, Trace]:
        """Return an answer and its trace. Raises Refused if it cannot be branched."""
        turn = await asyncio.to_thread(self.store.turn, answer_id)
        trace = await asyncio.to_thread(self.store.trace, answer_id)
        if trace is None or not trace.prompt_ids:
            raise Refused(409, "this answer has no tokens that were kept, so it cannot be led another way")
        if not self.models.offers(turn.model):
            raise Refused(409, f"the model {turn.model!r} of this answer is not served now; start the server with it")
        return turn, trace

    def _plan(self, talk: Talk, path: Sequence[Turn], fields: Mapping[str, Any]) -> Plan:
        """Build the plan of an answer (model, strategy, conversation, sampling, seed) from the conversation's
        settings, which the request's fields override.
        """
        name = fields.get("model") or talk.model or self.models.default.name
        self.models.get(name)
        strategy = fields.get("strategy")
        sampling, seed = _sampling({**talk.sampling, **(fields.get("sampling") or {})})
        system = [Message("system", talk.system)] if talk.system else []
        messages = [Message(turn.role, _said(turn)) for turn in path if turn.content or turn.role == "user"]
        chosen = talk.strategy if strategy is None else strategy
        return Plan(name, chosen, Conversation((*system, *messages)), sampling, fresh_seed() if seed is None else seed)


def _said(turn: Turn) -> str:
    """Return a turn's text for a model's prompt: without the sources below an answer."""
    return without_sources(turn.content) if turn.role == "assistant" else turn.content


def _answer_fields(plan: Plan) -> dict[str, Any]:
    """Return the store's fields for a new answer."""
    return {
        "status": "writing",
        "model": plan.model,
        "strategy": plan.strategy,
        "seed": plan.seed,
        "sampling": sampling_json(plan.sampling),
    }


def _sampling(given: Mapping[str, Any]) -> tuple[Sampling, int | None]:
    """Return the page's sampling options and seed, with defaults. Raises ConfigError for unknown ones."""
    for name, value in given.items():
        if name not in DEFAULTS:
            raise ConfigError(f"unknown sampling option {name!r}; {did_you_mean(name, DEFAULTS)}")
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise ConfigError(f"sampling option {name} is {value!r:.80}; expected a number")
    values = {**DEFAULTS, **{name: value for name, value in given.items() if value is not None}}
    seed = values.pop("seed")
    if seed is not None and not (isinstance(seed, int) and 0 <= seed < 2**53):
        raise ConfigError(f"sampling option seed is {seed!r}; expected a whole number from 0 to {2**53 - 1}")
    for name in ("top_k", "max_tokens"):
        if values[name] != int(values[name]):
            raise ConfigError(f"sampling option {name} is {values[name]!r}; expected a whole number")
        values[name] = int(values[name])
    return Sampling(**values), seed


def title_of(text: str) -> str:
    """Return the beginning of a question, as a conversation's title."""
    line = " ".join(text.split())
    if len(line) <= TITLE_CHARS:
        return line
    cut = line[:TITLE_CHARS]
    return (cut.rpartition(" ")[0] if " " in cut[TITLE_CHARS // 2 :] else cut) + "…"


def talk_json(talk: Talk) -> dict[str, Any]:
    """Return a conversation for the page."""
    names = ("id", "title", "created", "updated", "model", "strategy", "system", "leaf", "origin")
    return {name: getattr(talk, name) for name in names} | {"sampling": {**DEFAULTS, **talk.sampling}}


@functools.lru_cache(maxsize=2048)
def _rendered(text: str, numbers: tuple[int, ...]) -> str:
    return render(text, numbers)


def turn_json(turn: Turn, text: str) -> dict[str, Any]:
    """Return a turn for the page, with its text rendered."""
    names = (
        "id",
        "parent",
        "role",
        "created",
        "status",
        "stop",
        "error",
        "model",
        "strategy",
        "seed",
        "thoughts",
        "is_edited",
    )
    found = {name: getattr(turn, name) for name in names}
    passages = [p for item in turn.trail if item.get("kind") == "passages" for p in item.get("passages", ())]
    numbers = sorted({p["n"] for p in passages})
    # the page has the sources as passages that open
    shown = _SOURCES.sub("", text) if numbers else text
    html = _rendered(shown, tuple(numbers)) if turn.role == "assistant" and text else ""
    return found | {
        "conversation": turn.talk,
        "text": text,
        "html": html,
        "sampling": dict(turn.sampling),
        "trail": [dict(item) for item in turn.trail],
        "usage": dict(turn.usage) if turn.usage is not None else None,
        "has_tokens": turn.has_trace,
        "chosen": dict(turn.chosen) if turn.chosen is not None else None,
    }
