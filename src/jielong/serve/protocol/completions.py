"""/v1/completions: the continuation of bare text, or its log-probabilities (`echo`)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jielong.records import Event
from jielong.serve.models import Model
from jielong.serve.protocol.requests import CompletionRequest
from jielong.serve.protocol.shapes import Reply, finish_of, usage_json
from jielong.serve.streams import Mailbox, event, stream_while
from jielong.serve.tokens import draw_json, log_of
from jielong.tokens.chat import parse_text
from jielong.use.port import Answer, LocalPort, Options, Usage

Prompt = tuple[tuple[int, ...], Options]
Piece = tuple[int, str | Event]


async def complete_reply(model: Model, request: CompletionRequest, prompts: Sequence[Prompt]) -> dict[str, Any]:
    """Return the reply to a client that waits for all choices."""
    found = await asyncio.gather(*(_complete(model, request, *prompt) for prompt in prompts))
    choices = []
    for index, ((ids, _), (said, read)) in enumerate(zip(prompts, found, strict=True)):
        choices.append(_choice_json(model, request, index, ids, said, read))
    usage = sum((said.usage for said, _ in found), Usage())
    return Reply(model.name, "cmpl", "text_completion").whole(choices, usage)


async def stream(
    model: Model, request: CompletionRequest, prompts: Sequence[Prompt], *, has_usage: bool
) -> AsyncIterator[bytes]:
    """Yield the reply as server-sent events."""
    reply, answers = Reply(model.name, "cmpl", "text_completion"), list[Answer]()

    async def one(mailbox: Mailbox[Piece], index: int, ids: tuple[int, ...], options: Options) -> Answer:
        heard = (lambda token: mailbox.put((index, token))) if options.candidates else None
        told = replace(options, on_text=lambda text: mailbox.put((index, text)), on_event=heard)
        return await _port(model).go_on(ids, told, parse_text)

    async def work(mailbox: Mailbox[Piece]) -> None:
        answers.extend(await asyncio.gather(*(one(mailbox, i, *prompt) for i, prompt in enumerate(prompts))))

    if request.echo:
        for index, (ids, _) in enumerate(prompts):
            yield event(reply.piece(_piece(index, _text(model, ids))))
    tokens: dict[int, list[Event]] = {}
    async for lot in stream_while(work):
        texts: dict[int, str] = {}
        for index, what in lot:
            if isinstance(what, str):
                texts[index] = texts.get(index, "") + what
            else:
                tokens.setdefault(index, []).append(what)
        for index, text in texts.items():
            yield event(reply.piece(_piece(index, text, _token_fields(model, request, tokens.pop(index, [])))))
    for index, said in enumerate(answers):
        last = _piece(index, "", _token_fields(model, request, tokens.pop(index, [])))
        yield event(reply.piece(last | {"finish_reason": finish_of(said.stop)}))
    if has_usage:
        yield event(reply.piece(None, usage=usage_json(sum((said.usage for said in answers), Usage()))))
    yield event("[DONE]")


@dataclass(frozen=True)
class _Scored:
    """Log-probabilities of a prompt's tokens after the first, and the likeliest tokens at each position."""

    logprobs: tuple[float, ...]
    likeliest: tuple[tuple[tuple[int, float], ...], ...]


async def _complete(
    model: Model, request: CompletionRequest, ids: tuple[int, ...], options: Options
) -> tuple[Answer, _Scored | None]:
    """Return the continuation, and the scored prompt if it is echoed with log-probabilities."""
    port = _port(model)
    read = None
    if request.echo and request.logprobs is not None:
        read = await _score_prompt(port, ids, request.logprobs)
    if request.max_tokens == 0:
        return Answer(parse_text((), port.tokenizer), Usage(len(ids), 0, 0, 1), "length", ids), read
    return await port.go_on(ids, options, parse_text), read


async def _score_prompt(port: LocalPort, ids: tuple[int, ...], num_top: int) -> _Scored:
    """Score a prompt's tokens, with the likeliest alternatives."""
    if len(ids) < 2:
        return _Scored((), ())
    rows = await port.writer.call(lambda engine: engine.distributions(ids[:1], ids[1:]))
    logprobs = tuple(float(row[id]) for row, id in zip(rows, ids[1:], strict=True))
    if not num_top:
        return _Scored(logprobs, ())
    values, places = rows.topk(min(num_top, rows.shape[1]), -1)
    pairs = zip(places.tolist(), values.tolist(), strict=True)
    return _Scored(logprobs, tuple(tuple(zip(*pair, strict=True)) for pair in pairs))


def _choice_json(
    model: Model, request: CompletionRequest, index: int, ids: tuple[int, ...], said: Answer, read: _Scored | None
) -> dict[str, Any]:
    """Build one choice of the reply."""
    text = (_text(model, ids) if request.echo else "") + said.text
    choice: dict[str, Any] = {"index": index, "text": text, "logprobs": None, "finish_reason": finish_of(said.stop)}
    if request.logprobs is not None:
        before = _read_logprobs(model, ids, read) if read is not None else []
        after = [_entry(model, request, id, draw) for id, draw in zip(said.ids, said.draws, strict=True) if draw]
        choice["logprobs"] = _columns([*before, *after])
    if request.jielong and request.jielong.draws:
        draws = [draw_json(model.tokenizer, draw) for draw in said.draws if draw]
        choice["jielong"] = {"draws": draws}
    return choice


def _token_fields(model: Model, request: CompletionRequest, tokens: Sequence[Event]) -> dict[str, Any]:
    """Return the fields of a piece that describe its tokens."""
    found: dict[str, Any] = {}
    if request.logprobs is not None and tokens:
        found["logprobs"] = _columns([_entry(model, request, token.id, token.draw) for token in tokens])
    if request.jielong and request.jielong.draws:
        found["jielong"] = {"draws": [draw_json(model.tokenizer, t.draw) for t in tokens if t.draw]}
    return found


def _piece(index: int, text: str, more: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": None, **(more or {})}


Entry = tuple[str, float | None, dict[str, float] | None]
"""A token's text, its log-probability, and the likeliest in its place; None where nothing stood before it."""


def _entry(model: Model, request: CompletionRequest, id: int, draw: Any) -> Entry:
    """Return a written token's text, log-probability and alternatives."""
    is_raw = not request.jielong or request.jielong.logprobs == "raw"
    top = {
        _text(model, [c.id]): log_of(c.model if is_raw else c.tempered) for c in draw.likeliest[: request.logprobs or 0]
    }
    return _text(model, [id]), log_of(draw.taken.model if is_raw else draw.taken.tempered), top or None


def _read_logprobs(model: Model, ids: Sequence[int], read: _Scored) -> list[Entry]:
    """Return the prompt tokens' texts, log-probabilities and alternatives."""
    found: list[Entry] = [(_text(model, ids[:1]), None, None)]
    for n, (id, logprob) in enumerate(zip(ids[1:], read.logprobs, strict=True)):
        top = {_text(model, [other]): value for other, value in read.likeliest[n]} if read.likeliest else None
        found.append((_text(model, [id]), logprob, top))
    return found


def _columns(entries: Sequence[Entry]) -> dict[str, Any]:
    """Return log-probabilities in the form of this old endpoint: a list for each field."""
    offsets, at = [], 0
    for text, _, _ in entries:
        offsets.append(at)
        at += len(text)
    return {
        "tokens": [text for text, _, _ in entries],
        "token_logprobs": [logprob for _, logprob, _ in entries],
        "top_logprobs": [top for _, _, top in entries],
        "text_offset": offsets,
    }


def _text(model: Model, ids: Sequence[int]) -> str:
    return model.tokenizer.decode_bytes(ids).decode("utf-8", "replace")


def _port(model: Model) -> LocalPort:
    assert isinstance(model.port, LocalPort)
    return model.port
