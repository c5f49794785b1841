"""A comparison of several models on one question for the page: their answers, and their scores of the last model's
answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

import torch

from jielong.errors import JielongError
from jielong.generate.together import divergences
from jielong.records import Conversation, Message, Sampling
from jielong.serve.beside import compute_in_thread
from jielong.serve.models import Models
from jielong.serve.tokens import candidate_json
from jielong.tokens.chat import parse, parse_text
from jielong.tokens.visible import visible
from jielong.use.port import Answer, LocalPort, Options

CANDIDATES = 8
MOST_MODELS = 6

StreamEvent = tuple[str, dict[str, Any]]
"""The name of an event, and its data."""


async def compare(
    models: Models, names: Sequence[str], prompt: str, system: str, max_tokens: int
) -> AsyncIterator[StreamEvent]:
    """Yield the models' greedy answers in turn, the last model's first, since the others score it."""
    last_ids: tuple[int, ...] = ()
    last_rows: torch.Tensor | None = None
    last_tokenizer = None
    for name in reversed(names):
        try:
            async with models.using(name) as model:
                port = model.port
                if not isinstance(port, LocalPort):
                    talk = Conversation(_messages(prompt, system))
                    assert port is not None
                    said = await port.ask(talk, Options(Sampling(max_tokens=max_tokens, temperature=0.0)))
                    head = {"model": name, "is_base": False, "text": said.text, "tokens": [], "reading": None}
                    yield "answer", head
                    continue
                ids = _prompt_ids(port, prompt, system, is_base=model.is_base)
                room = max(1, min(max_tokens, port.engine.length - len(ids) - 1))
                options = Options(Sampling(max_tokens=room, temperature=0.0), candidates=CANDIDATES)
                said = await port.go_on(ids, options, parse_text if model.is_base else parse)
                tokenizer, reading = port.tokenizer, None
                if last_tokenizer is None:
                    last_tokenizer, last_ids = tokenizer, said.ids
                if tokenizer == last_tokenizer and last_ids:
                    along = last_ids[: port.engine.length - len(ids)]
                    rows: torch.Tensor = await port.writer.call(partial(_distributions, ids, along))
                    last_rows = rows if last_rows is None else last_rows
                    reading = await compute_in_thread(partial(_reading, last_rows[: len(rows)], rows, along))
                yield "answer", _answer_json(name, said, port, reading, is_base=model.is_base)
        except JielongError as error:
            yield "error", {"model": name, "message": str(error)}
    yield "done", {}


def _distributions(ids: tuple[int, ...], along: tuple[int, ...], engine: Any) -> torch.Tensor:
    found: torch.Tensor = engine.distributions(ids, along)
    return found


def _messages(prompt: str, system: str) -> tuple[Message, ...]:
    return (*((Message("system", system),) if system else ()), Message("user", prompt))


def _prompt_ids(port: LocalPort, prompt: str, system: str, *, is_base: bool) -> tuple[int, ...]:
    """Return the prompt ids: the bare question for a base model, the chat template for others."""
    if is_base:
        return (*port.tokenizer.opening, *port.tokenizer.encode(prompt))
    return port.prompt_ids(Conversation(_messages(prompt, system)))


def _reading(of: torch.Tensor, own: torch.Tensor, ids: Sequence[int]) -> dict[str, Any]:
    logprobs = own.gather(1, torch.tensor(ids)[:, None]).squeeze(1).tolist()
    return {"logprobs": logprobs, "divergences": divergences(of, own)}


def _answer_json(
    name: str, said: Answer, port: LocalPort, reading: dict[str, Any] | None, *, is_base: bool
) -> dict[str, Any]:
    """Return one model's answer for the page, token by token."""
    tokenizer = port.tokenizer
    tokens = []
    for id, draw in zip(said.ids, said.draws, strict=True):
        likeliest = [candidate_json(tokenizer, c) for c in draw.likeliest] if draw else []
        told = [{"id": c["id"], "text": c["text"], "p": c["model"]} for c in likeliest]
        p = draw.taken.model if draw else None
        tokens.append({"id": id, "text": visible(tokenizer, id), "p": p, "likeliest": told})
    return {"model": name, "is_base": is_base, "text": said.text, "tokens": tokens, "reading": reading}
