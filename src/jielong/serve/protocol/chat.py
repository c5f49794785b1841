"""/v1/chat/completions: an answer to a conversation, whole or streamed, by a model or by a strategy over one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

from jielong.records import Draw, Event
from jielong.serve.answering import answer
from jielong.serve.protocol.checked import CheckedRequest
from jielong.serve.protocol.shapes import (
    Reply,
    calls_json,
    finish_of,
    happening_json,
    message_json,
    usage_json,
)
from jielong.serve.streams import Mailbox, event, json_text, stream_while
from jielong.serve.tokens import draw_json
from jielong.use.ledger import Happening
from jielong.use.port import Answer, Options, Usage
from jielong.use.strategy import Outcome
from jielong.use.tools.reading import with_calls
from jielong.use.tools.spoken import Spoken
from jielong.use.tools.tool import by_name

Piece = tuple[int, str, Any]
"""The choice it belongs to, the kind ("text", "thought", "token", "happening", "end"), and what it is."""

SHOWN = ("begins", "ends", "note")
"""Happenings of a strategy that a client is told; the text of its calls is its own affair."""


async def complete_reply(asked: CheckedRequest, model: str) -> dict[str, Any]:
    """Return the reply to a client that waits for all choices."""
    outcomes = await asyncio.gather(*(_write_choice(asked, options) for options in asked.choices))
    choices = []
    for index, outcome in enumerate(outcomes):
        said = outcome.answer
        choice: dict[str, Any] = {
            "index": index,
            "message": message_json(said.message, said.thoughts),
            "finish_reason": finish_of(said.stop),
            "logprobs": json.loads(_logprobs(asked, said.draws)) if asked.has_logprobs else None,
        }
        if asked.has_draws:
            choice["jielong"] = {"seed": asked.choices[index].seed, "draws": _draws(asked, said)}
        choices.append(choice)
    more = {} if asked.is_direct else {"jielong": {"calls": [_calls_of(outcome) for outcome in outcomes]}}
    return Reply(model, "chatcmpl", "chat.completion").whole(choices, _total_usage(outcomes), **more)


async def stream(asked: CheckedRequest, model: str, *, has_usage: bool) -> AsyncIterator[bytes]:
    """Yield the reply as server-sent events; closing it ends the answer under way."""
    reply = Reply(model, "chatcmpl", "chat.completion.chunk")
    outcomes: list[Outcome] = []

    async def work(mailbox: Mailbox[Piece]) -> None:
        """Write all choices at the same time."""
        found = await asyncio.gather(
            *(_write_choice(asked, options, mailbox, index) for index, options in enumerate(asked.choices))
        )
        outcomes.extend(found)

    for index in range(len(asked.choices)):
        yield event(reply.piece(_delta(index, {"role": "assistant", "content": ""})))
    told = _EventWriter(asked, reply)
    tokens: dict[int, list[Event]] = {index: [] for index in range(len(asked.choices))}
    async for lot in stream_while(work):
        for index, delta, happened in _join_texts(lot, tokens):
            if happened is not None:
                yield event(reply.piece(_delta(index, {}), jielong={"happening": happening_json(happened)}))
            elif delta is not None:
                yield told.event(index, delta, tokens[index])
    for index, outcome in enumerate(outcomes):
        said = outcome.answer
        if said.message.tool_calls:
            calls = [call | {"index": i} for i, call in enumerate(calls_json(said.message))]
            yield event(reply.piece(_delta(index, {"tool_calls": calls})))
        more = {} if asked.is_direct else {"jielong": {"calls": _calls_of(outcome)}}
        yield told.event(index, {}, tokens[index], finish_of(said.stop), **more)
    if has_usage:
        yield event(reply.piece(None, usage=usage_json(_total_usage(outcomes))))
    yield event("[DONE]")


async def _write_choice(
    asked: CheckedRequest, options: Options, mailbox: Mailbox[Piece] | None = None, index: int = 0
) -> Outcome:
    """Write one choice, and put its pieces into the mailbox, if any, without the text of tool calls."""
    tools = by_name(asked.tools)
    spoken: Spoken | None = None
    told, on_happening = list[str](), None
    if mailbox is not None:
        box = mailbox

        def say(text: str) -> None:
            told.append(text)
            box.put((index, "text", text))

        def happen(happening: Happening) -> None:
            if happening.kind in SHOWN:
                box.put((index, "happening", happening))

        spoken = Spoken(tools, say) if tools else None
        wants_tokens = options.candidates > 0 and asked.is_direct
        options = replace(
            options,
            on_text=None if asked.is_call_forced else spoken.push if spoken else say,
            on_thought=lambda text: box.put((index, "thought", text)),
            on_event=(lambda token: box.put((index, "token", token))) if wants_tokens else None,
        )
        on_happening = None if asked.is_direct else happen
    outcome = await answer(asked.model, asked.strategy, asked.conversation, options, on_happening)
    if spoken is not None:
        spoken.finish()
    if mailbox is not None and not asked.is_direct:
        mailbox.put((index, "text", _unsent_text("".join(told), outcome.answer.text)))
    if getattr(options.allowed, "error", ""):  # the parser gave up, and only stop ids were left: no valid JSON
        outcome = replace(outcome, answer=replace(outcome.answer, stop="length"))
    if tools:
        said = outcome.answer
        message = with_calls(said.message, tools)
        stop = "tool_calls" if message.tool_calls else said.stop
        outcome = replace(outcome, answer=replace(said, message=message, stop=stop))
    return outcome


def _unsent_text(told: str, text: str) -> str:
    """Return the part of an answer that was not streamed, since a strategy may choose its answer at the end."""
    if text.startswith(told):
        return text[len(told) :]
    return f"\n\n{text}"


def _join_texts(
    lot: list[Piece], tokens: dict[int, list[Event]]
) -> list[tuple[int, dict[str, str] | None, Happening | None]]:
    """Join neighbouring texts of one choice in a batch of pieces; its tokens go into `tokens`."""
    found: list[tuple[int, dict[str, str] | None, Happening | None]] = []
    for index, kind, what in lot:
        if kind == "token":
            tokens[index].append(what)
        elif kind == "happening":
            found.append((index, None, what))
        else:
            name = "content" if kind == "text" else "reasoning_content"
            if found and found[-1][0] == index and found[-1][1] is not None and name in found[-1][1]:
                found[-1][1][name] += what
            else:
                found.append((index, {name: what}, None))
    return found


def _delta(index: int, delta: dict[str, Any]) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}


class _EventWriter:
    """A formatter of one reply's pieces as events. There is one for each token, so their common part is built once."""

    def __init__(self, asked: CheckedRequest, reply: Reply) -> None:
        self._asked = asked
        self._head = (
            f'data: {json.dumps(reply.head, ensure_ascii=False, separators=(",", ":"))[:-1]},"choices":[{{"index":'
        )

    def event(self, index: int, delta: dict[str, str], tokens: list[Event], finish: str = "", **more: Any) -> bytes:
        """Format a piece with the tokens since the last piece, and clear the list of tokens."""
        asked = self._asked
        taken = [token.draw for token in tokens if token.draw is not None]
        said = ",".join(f'"{name}":{json_text(text)}' for name, text in delta.items())
        logprobs = _logprobs(asked, taken) if asked.has_logprobs and taken else "null"
        end = f'"{finish}"' if finish else "null"
        text = f'{self._head}{index},"delta":{{{said}}},"logprobs":{logprobs},"finish_reason":{end}'
        if asked.has_draws and taken:
            draws = [{"id": t.id} | _draw(asked, t.draw) for t in tokens if t.draw is not None]
            text += f',"jielong":{json.dumps({"draws": draws}, ensure_ascii=False)}'
        tokens.clear()
        text += "}]" + "".join(f',"{name}":{json.dumps(what, ensure_ascii=False)}' for name, what in more.items())
        return f"{text}}}\n\n".encode("utf-8", "replace")


def _logprobs(asked: CheckedRequest, draws: Sequence[Draw | None]) -> str:
    """Format the log-probabilities of a piece's tokens, or of a whole answer's, as JSON."""
    told = asked.model.logprobs
    assert told is not None
    content = ",".join(told.of(draw, asked.num_top, asked.which) for draw in draws if draw is not None)
    return f'{{"content":[{content}],"refusal":null}}'


def _draws(asked: CheckedRequest, said: Answer) -> list[dict[str, Any]]:
    pairs = zip(said.ids, said.draws, strict=True) if said.draws else ()
    return [{"id": id} | _draw(asked, draw) for id, draw in pairs if draw is not None]


def _draw(asked: CheckedRequest, draw: Any) -> dict[str, Any]:
    return draw_json(asked.model.tokenizer, draw)


def _calls_of(outcome: Outcome) -> dict[str, Any]:
    """Return the number of calls of a strategy and their cost."""
    return {
        "num_calls": outcome.usage.calls,
        "prompt_tokens": outcome.usage.prompt_tokens,
        "completion_tokens": outcome.usage.completion_tokens,
        "seconds": round(outcome.seconds, 3),
        "is_stopped": outcome.is_stopped,
    }


def _total_usage(outcomes: list[Outcome]) -> Usage:
    """Add up the usage of all choices as OpenAI counts: a prompt once."""
    total = Usage()
    for outcome in outcomes:
        total = total + outcome.usage
    first = outcomes[0].usage if outcomes else Usage()
    return replace(total, prompt_tokens=first.prompt_tokens, reused_tokens=first.reused_tokens)
