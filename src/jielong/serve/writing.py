"""Writing an answer for the page in the background: streamed to all followers, and stored when it is over.

A reader that disconnects does not stop it, but a person can; the text so far is stored then.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from jielong.errors import JielongError, NotFoundError, TooLongError
from jielong.records import KEPT_CANDIDATES, Conversation, Draw, Event, Message, Sampling
from jielong.serve.answering import ServerResources, answer, open_strategy
from jielong.serve.event_log import Log
from jielong.serve.markdown import render
from jielong.serve.models import Model, Models
from jielong.serve.store import Trace
from jielong.serve.stored_answers import trace_of, usage_json
from jielong.serve.trail import Trail
from jielong.tokens.visible import visible
from jielong.use.fitting import without_oldest
from jielong.use.ledger import Happening
from jielong.use.port import Answer, LocalPort, Options, Usage
from jielong.use.strategy import Outcome
from jielong.use.tools.rendering import format_call
from jielong.use.tools.tool import Arguments, Tool

APPROVAL_S = 300.0
"""A person who is asked whether a tool may change something has so long to answer; then it is a no."""
_TICK_S = 0.08
_SAVE_S = 5.0
_RENDER_SHARE = 5
"""Rendering takes at most one part in so many of the time."""

at_work: ContextVar[Writing | None] = ContextVar("at_work", default=None)
"""The answer whose tools are being called."""


@dataclass(frozen=True)
class Plan:
    """The plan of an answer: the conversation, the model, the strategy and the sampling.

    With `prompt_ids`, the answer continues exactly these and `opening_ids`, whose draws are `opening_draws`.
    """

    model: str
    strategy: str
    conversation: Conversation
    sampling: Sampling
    seed: int
    prompt_ids: tuple[int, ...] = ()
    opening_ids: tuple[int, ...] = ()
    opening_draws: tuple[Draw | None, ...] = ()
    opening_logprobs: tuple[float, ...] = ()
    opening_by_model: tuple[bool, ...] = ()


@dataclass
class Result:
    """The result of an answer, as it is stored."""

    status: str
    text: str
    thoughts: str = ""
    stop: str = ""
    error: str = ""
    digest: str = ""
    usage: dict[str, Any] | None = None
    trail: tuple[dict[str, Any], ...] = ()
    trace: Trace | None = None


Keep = Callable[[Result], Awaitable[dict[str, Any]]]
"""Keeps a result; the turn as the page is told it."""


@dataclass
class Writing:
    """An answer under way. `log` holds the events for followers."""

    plan: Plan
    models: Models
    resources: ServerResources
    save: Callable[[str], Awaitable[None]]
    keep: Keep
    log: Log = field(default_factory=Log)
    approvals: dict[str, asyncio.Future[bool]] = field(default_factory=dict)
    text: str = ""
    thoughts: str = ""
    _events: list[Event] = field(default_factory=list)
    _num_told: int = 0
    _task: asyncio.Task[None] | None = None
    _model: Model | None = None
    _started_s: float = 0.0
    _is_keeping: bool = False
    _trail: Trail = field(init=False)

    def __post_init__(self) -> None:
        self._trail = Trail(self._tell_trail, is_direct=not self.plan.strategy)

    def start(self) -> None:
        """Start writing in the background."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop writing, and wait until the text so far has been stored."""
        if self._task is not None:
            if not self._is_keeping:
                self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def approve(self, tool: Tool, arguments: Arguments) -> bool:
        """Ask the person who reads this answer whether a tool may change something."""
        id = secrets.token_hex(8)
        line = format_call({"name": tool.name, "arguments": arguments})
        asked: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.approvals[id] = asked
        head = {"kind": "tool", "id": id, "name": tool.name, "line": line, "changes": True}
        index = self._trail.add({**head, "state": "asks", "result": ""})
        try:
            is_allowed = await asyncio.wait_for(asked, APPROVAL_S)
        except TimeoutError:
            is_allowed = False
        finally:
            del self.approvals[id]
        if is_allowed:
            self._trail.change(index, state="runs")
        return is_allowed

    # --- the work

    async def _run(self) -> None:
        """Write the answer, store it, and log its end."""
        self._started_s = time.monotonic()
        at_work.set(self)
        ticking = asyncio.create_task(self._publish_periodically())
        try:
            result = await self._result()
        finally:
            ticking.cancel()
            await asyncio.gather(ticking, return_exceptions=True)
        self._tell_tokens()
        self._is_keeping = True
        try:
            self.log.tell("done", await self.keep(result))
        except NotFoundError:
            pass  # its conversation was deleted just after it began: there is nothing to keep, and nobody to tell
        finally:
            self.log.end()

    async def _result(self) -> Result:
        """Write the answer and return its result, also if it was stopped or failed."""
        try:
            outcome = await self._run_strategy()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None:
                task.uncancel()
            return self._unfinished_result("stopped")
        except JielongError as error:
            return replace(self._unfinished_result("failed"), error=str(error))
        except Exception as error:  # a bug of ours must not leave the page waiting
            return replace(
                self._unfinished_result("failed"), error=f"an error inside the server ({type(error).__name__}: {error})"
            )
        said = outcome.answer
        missing = said.missing if said.stop in ("refusal", "content_filter") else ""
        usage = self._usage(outcome.usage, said)
        return Result(
            "done",
            said.text,
            said.thoughts,
            said.stop,
            missing,
            self._digest,
            usage,
            tuple(self._trail.items),
            self._trace(said),
        )

    async def _run_strategy(self) -> Outcome:
        """Run the strategy, shortening a conversation that is too long."""
        plan = self.plan
        if self.models.get(plan.model).port is None:
            self.log.tell("loading", {"model": plan.model})
        async with self.models.using(plan.model) as model:
            self._model = model
            self._started_s = time.monotonic()
            options = Options(
                plan.sampling,
                plan.seed,
                on_text=self._say,
                on_thought=self._think,
                on_event=self._events.append,
                candidates=KEPT_CANDIDATES if model.is_local else 0,
                opening_ids=plan.opening_ids,
            )
            if plan.prompt_ids:
                assert isinstance(model.port, LocalPort)
                said = await model.port.go_on(plan.prompt_ids, options)
                return Outcome(said, (), said.usage, time.monotonic() - self._started_s)
            strategy = open_strategy(plan.strategy, model, self.resources, is_person_there=True)
            talk = self._shorten_to_fit(model, plan.conversation, plan.sampling.max_tokens)
            while True:
                try:
                    return await answer(model, strategy, talk, options, self._happen)
                except TooLongError:
                    shorter = without_oldest(talk.messages)
                    if shorter is None or self.text:
                        raise
                    self._drop(len(talk.messages) - len(shorter))
                    talk = Conversation(shorter)

    def _shorten_to_fit(self, model: Model, talk: Conversation, max_tokens: int) -> Conversation:
        """Drop the oldest exchanges until the conversation leaves room for an answer."""
        port = model.port
        if not isinstance(port, LocalPort):
            return talk
        room = port.engine.length - min(max_tokens, port.engine.length // 4)
        num_before = len(talk.messages)
        while len(port.prompt_ids(talk)) > room:
            shorter = without_oldest(talk.messages)
            if shorter is None:
                break
            talk = Conversation(shorter)
        if len(talk.messages) < num_before:
            self._drop(num_before - len(talk.messages))
        return talk

    def _drop(self, num_turns: int) -> None:
        self._trail.add({"kind": "dropped", "num_turns": num_turns})

    # --- told while it is written

    def _say(self, text: str) -> None:
        self.text += text

    def _think(self, text: str) -> None:
        self.thoughts += text

    def _happen(self, happening: Happening) -> None:
        if happening.kind != "text":
            self._trail.happen(happening)

    def _tell_trail(self, index: int, item: dict[str, Any]) -> None:
        self.log.tell("trail", {"index": index, "item": item})

    async def _publish_periodically(self) -> None:
        """Send new text and tokens to the readers some ten times a second, and store the text now and then, until cancelled."""
        shown_text = shown_thoughts = saved = ""
        next_save_s, next_render_s = time.monotonic() + _SAVE_S, 0.0
        while True:
            await asyncio.sleep(_TICK_S)
            self._tell_tokens()
            now_s = time.monotonic()
            if self.thoughts != shown_thoughts:
                shown_thoughts = self.thoughts
                self.log.tell("thoughts", {"text": shown_thoughts})
            if self.text != shown_text and now_s >= next_render_s:
                shown_text = self.text
                html = await self._rendered(shown_text)
                self.log.tell("html", {"html": html, "text": shown_text})
                done_s = time.monotonic()
                next_render_s = done_s + _RENDER_SHARE * (done_s - now_s)
                self.log.tell("usage", self._usage(Usage(completion_tokens=len(self._events)), None))
            if now_s > next_save_s and self.text != saved:
                saved = self.text
                with contextlib.suppress(JielongError):
                    await self.save(saved)
                next_save_s = time.monotonic() + _SAVE_S

    async def _rendered(self, text: str) -> str:
        numbers = [passage["n"] for passage in self._trail.passages]
        return await asyncio.to_thread(partial(render, text, numbers, is_unfinished=True))

    def _tell_tokens(self) -> None:
        """Send the new tokens with their probabilities."""
        events = self._events[self._num_told :]
        if not events or self._model is None or not self._model.is_local:
            return
        opening, before = zip(self.plan.opening_ids, self.plan.opening_draws, strict=True), len(self.plan.opening_ids)
        new = [(before + event.n, event.id, event.draw) for event in events]
        if not self._num_told:
            new = [*((n, id, draw) for n, (id, draw) in enumerate(opening)), *new]
        self._num_told += len(events)
        tokenizer = self._model.tokenizer
        tokens = []
        for n, id, draw in new:
            told: dict[str, Any] = {"n": n, "id": id, "text": visible(tokenizer, id)}
            if draw is not None:
                told |= {"p": draw.taken.tempered, "entropy": draw.entropy}
            tokens.append(told)
        self.log.tell("tokens", {"tokens": tokens})

    # --- kept

    @property
    def _digest(self) -> str:
        return self._model.digest if self._model is not None else ""

    def _unfinished_result(self, status: str) -> Result:
        """Return the result of an unfinished answer, with its text so far."""
        opening, events, prompt = self.plan.opening_ids, self._events, self.plan.prompt_ids
        model = self._model
        if not prompt and model is not None and isinstance(model.port, LocalPort) and not self.plan.strategy:
            with contextlib.suppress(JielongError):
                prompt = model.port.prompt_ids(self.plan.conversation)
        said = Answer(
            Message("assistant", self.text),
            prompt_ids=prompt,
            ids=(*opening, *(event.id for event in events)),
            logprobs=(*(0.0 for _ in opening), *(event.logprob for event in events)),
            draws=(*(None for _ in opening), *(event.draw for event in events)),
        )
        trace = self._trace(said) if prompt else None
        usage = self._usage(Usage(len(prompt), len(events), 0, 1), None)
        trail = tuple(self._trail.items)
        return Result(status, self.text, self.thoughts, status, "", self._digest, usage, trail, trace)

    def _trace(self, said: Answer) -> Trace | None:
        """Return the trace of an answer, with the known draws of its opening tokens."""
        plan, num_kept = self.plan, len(self.plan.opening_ids)
        weights = self._model.weights if self._model is not None else ""
        trace = trace_of(said, Options(plan.sampling, plan.seed), weights)
        if trace is None:
            return None
        return replace(
            trace,
            draws=(*plan.opening_draws, *trace.draws[num_kept:]),
            logprobs=(*plan.opening_logprobs, *trace.logprobs[num_kept:]),
            by_model=(*plan.opening_by_model, *trace.by_model[num_kept:]),
        )

    def _usage(self, usage: Usage, said: Answer | None) -> dict[str, Any]:
        """Return the cost of an answer."""
        seconds = time.monotonic() - self._started_s
        context = self._model.context if self._model is not None else 0
        if said is not None and said.prompt_ids:
            usage = replace(usage, prompt_tokens=len(said.prompt_ids))
        return usage_json(usage, num_written=len(self._events), context=context, seconds=seconds)
