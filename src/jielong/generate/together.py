"""A comparison of several models on one question: their answers, and their scores of the last model's answer.

A base model gets the bare question, as text to continue; other models get it in their chat template. All answers are
greedy. Models are opened one after another, so the memory of one is enough.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from jielong.generate.engine import Engine
from jielong.records import Event, Message, Request, Sampling
from jielong.tokens.chat import render_prompt
from jielong.tokens.stream import TextStream
from jielong.tokens.tokenizer import Tokenizer
from jielong.tokens.visible import visible


@dataclass(frozen=True)
class ModelToAsk:
    """A model to ask: its name, a function that opens it, and whether it is a base model."""

    name: str
    open: Callable[[], tuple[Engine, Tokenizer]]
    is_bare: bool = False


@dataclass(frozen=True)
class Step:
    """A token of an answer with its probability, and the likeliest tokens at its position, best first."""

    token: str
    probability: float
    likeliest: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class AnswerScores:
    """A model's scores of the last model's answer, token by token: log-probabilities in nats, and Kullback-Leibler
    divergences in nats between its distributions and the last model's.
    """

    logprobs: tuple[float, ...]
    divergences: tuple[float, ...]


@dataclass(frozen=True)
class ModelAnswer:
    """One model's answer; `reading` is its scores of the last model's answer, None if the tokenizers differ."""

    name: str
    is_bare: bool
    text: str
    steps: tuple[Step, ...]
    reading: AnswerScores | None


def ask_all(asked: Sequence[ModelToAsk], question: str, *, max_tokens: int, num_likeliest: int) -> list[ModelAnswer]:
    """Ask each model; return answers in order, each with the model's scores of the last answer."""
    found: list[ModelAnswer] = []
    last: Tokenizer | None = None
    ids: tuple[int, ...] = ()
    of_last: Tensor | None = None
    for one in reversed(asked):
        engine, tokenizer = one.open()
        is_bare = one.is_bare or not (tokenizer.is_own or tokenizer.template)
        prompt = question_ids(question, tokenizer, is_bare=is_bare)
        text, events = _write_greedily(engine, tokenizer, prompt, max_tokens, num_likeliest)
        if last is None:
            last, ids = tokenizer, tuple(event.id for event in events)
        reading = None
        if tokenizer == last and ids:
            own = engine.distributions(prompt, ids)
            of_last = own if of_last is None else of_last
            logprobs = own.gather(1, torch.tensor(ids)[:, None]).squeeze(1)
            reading = AnswerScores(tuple(logprobs.tolist()), tuple(divergences(of_last, own)))
        found.append(ModelAnswer(one.name, is_bare, text, tuple(_steps_of(events, tokenizer)), reading))
    return found[::-1]


def divergences(of: Tensor, others: Tensor) -> list[float]:
    """Return the Kullback-Leibler divergence KL(of || others) in nats of each row, from log-probabilities (N, V).

    Some models pad their vocabulary, so only ids that both have are compared.
    """
    width = min(of.shape[1], others.shape[1])
    p, q = (torch.log_softmax(one[:, :width].double(), -1) for one in (of, others))
    found: list[float] = (p.exp() * (p - q)).sum(-1).clamp(min=0.0).tolist()
    return found


def question_ids(question: str, tokenizer: Tokenizer, *, is_bare: bool) -> tuple[int, ...]:
    """Return the prompt ids of a question: bare text for a base model, or in the chat template."""
    if is_bare:
        return (*tokenizer.opening, *tokenizer.encode(question))
    return render_prompt([Message("user", question)], tokenizer)


def _write_greedily(
    engine: Engine, tokenizer: Tokenizer, prompt: tuple[int, ...], max_tokens: int, num_likeliest: int
) -> tuple[str, list[Event]]:
    """Write the greedy answer to a prompt; return it and the event of each token."""
    sampling = Sampling(max_tokens=max_tokens, temperature=0.0, stop_ids=tokenizer.stop_ids)
    events = list(engine.stream(Request(prompt, sampling), num_alternatives=num_likeliest))
    text = TextStream(tokenizer)
    return "".join([*(text.push(event.id) for event in events), text.finish()]), events


def _steps_of(events: Sequence[Event], tokenizer: Tokenizer) -> Iterable[Step]:
    """Yield each written token as text, with its probability and its likeliest alternatives."""
    for event in events:
        likeliest = tuple((visible(tokenizer, id), math.exp(logprob)) for id, logprob in event.alternatives)
        yield Step(visible(tokenizer, event.id), math.exp(event.logprob), likeliest)
