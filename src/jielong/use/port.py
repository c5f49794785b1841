"""One port to a language model: a conversation goes in, an answer comes out, whoever is behind it.

Evaluation, strategies and tools speak to this port and never to an engine. Here is the port to the engine in this
process: the recipe or the command line builds the engine and hands it in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from jielong.records import Conversation, Message, Request, Sample, Sampling
from jielong.runs import derive_seed
from jielong.tokens.chat import parse, render_prompt
from jielong.tokens.tokenizer import Tokenizer


class Generates(Protocol):
    """What the port needs of an engine."""

    @property
    def length(self) -> int: ...
    def generate(self, requests: Sequence[Request]) -> list[Sample]: ...
    def score_many(self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> Sequence[Sequence[float]]: ...


@dataclass(frozen=True)
class Usage:
    """Tokens of the prompt and the answer, and how many of the prompt's were known from earlier requests and not read."""

    prompt_tokens: int
    completion_tokens: int
    reused_tokens: int = 0


@dataclass(frozen=True)
class Answer:
    """One answer, the ids it was written in and what it cost."""

    message: Message
    sample: Sample
    usage: Usage

    @property
    def text(self) -> str:
        return self.message.text


class LocalPort:
    """The engine in this process with its tokenizer."""

    def __init__(self, engine: Generates, tokenizer: Tokenizer) -> None:
        self.engine, self.tokenizer = engine, tokenizer

    def ask_many(self, conversations: Sequence[Conversation], sampling: Sampling, *, seed: int = 0) -> list[Answer]:
        """Answers in order. Request i draws with a seed of its own, so the batch it is in does not matter."""
        prompts = [render_prompt(c.messages, self.tokenizer) for c in conversations]
        return self._run(prompts, sampling, seed)

    def complete_many(self, texts: Sequence[str], sampling: Sampling, *, seed: int = 0) -> list[Answer]:
        """Plain continuations of bare text, as a base model gives them."""
        prompts = [(*self.tokenizer.opening, *self.tokenizer.encode(t)) for t in texts]
        return self._run(prompts, sampling, seed)

    def score_many(self, texts: Sequence[str]) -> list[tuple[float, int]]:
        """For each text: the summed natural log-probability of its tokens, the first one left out, and their bytes.

        A text longer than the model's positions is read in windows; each begins with the last token of the one before.
        """
        width = self.engine.length - 1
        windows: list[tuple[int, list[int], list[int]]] = []
        for number, ids in enumerate(self.tokenizer.encode_batch(texts)):
            starts = range(0, max(0, len(ids) - 1), width)
            windows += [(number, ids[s : s + 1], ids[s + 1 : s + 1 + width]) for s in starts]
        totals = [(0.0, 0)] * len(texts)
        scored = self.engine.score_many([(first, rest) for _, first, rest in windows])
        for (number, _, rest), logprobs in zip(windows, scored, strict=True):
            total, num_bytes = totals[number]
            totals[number] = (total + sum(logprobs), num_bytes + int(self.tokenizer.byte_lengths[rest].sum()))
        return totals

    def _run(self, prompts: Sequence[tuple[int, ...]], sampling: Sampling, seed: int) -> list[Answer]:
        stops = (*sampling.stop_ids, *self.tokenizer.stop_ids)
        ended = Sampling(**{**sampling.__dict__, "stop_ids": tuple(dict.fromkeys(stops))})
        requests = [Request(p, ended, derive_seed(seed, "ask", i)) for i, p in enumerate(prompts)]
        samples = self.engine.generate(requests)
        return [
            Answer(parse(s.ids, self.tokenizer), s, Usage(len(s.prompt_ids), len(s.ids), s.reused)) for s in samples
        ]
