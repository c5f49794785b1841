"""Whether engine and trainer say the same: the whole next-token distribution of every token written, on the same prefix.

The engine writes answers in each of its ways, and hands over the distribution that each token was drawn from. The
trainer then reads prompt and answer in padded micro-batches, as in a rollout. The distance of the two is the total
variation: half the sum of the absolute differences of all probabilities.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench.alignment.setting import Setting
from bench.rows import Row
from jielong.data.batches import PAD_ID, Batch
from jielong.generate import native
from jielong.generate.engine import Engine, EngineConfig
from jielong.model.hf import load_language_model
from jielong.model.presets import num_parameters
from jielong.model.transformer import LanguageModel
from jielong.records import Message, Request, Sample, Sampling
from jielong.tokens.chat import render_prompt
from jielong.tokens.tokenizer import Tokenizer
from jielong.train.objectives.logprobs import trained_logprobs, trained_positions
from jielong.train.samples import batch_of_samples, by_length, take_rows

SEEDS = 1
SAMPLES = 200
BOUND = 1e-5
"""The largest total variation at any token, where both compute in float32."""

LARGE = 50e6
"""Parameters from which on a model is measured on shorter talks, as each way reads them twice."""

LENGTH = 320
"""Positions of a slot: a cache of the model's whole length would take 23 GB of SmolLM2, in pages of 2 MB."""

TEMPERATURES = (0.3, 0.7, 1.0, 1.3)
MICRO_ROWS = 32


@dataclass(frozen=True)
class Way:
    """How the engine computes, and in what the trainer's products are made."""

    name: str
    dtype: str = "float32"
    weights: str = ""
    is_native: bool = True
    trainer: torch.dtype = torch.float32

    @property
    def is_exact(self) -> bool:
        """Whether both sides compute in float32."""
        return self.dtype == "float32" and self.trainer == torch.float32


WAYS = (
    Way("C++, float32"),
    Way("torch, float32", is_native=False),
    Way("C++, bf16, trainer in bf16", "bfloat16", trainer=torch.bfloat16),
    Way("torch, bf16, trainer in bf16", "bfloat16", is_native=False, trainer=torch.bfloat16),
    Way("C++, bf16, trainer in float32", "bfloat16"),
    Way("C++, int8, trainer in float32", "bfloat16", "int8"),
    Way("torch, int8, trainer in float32", "bfloat16", "int8", is_native=False),
)


@dataclass(frozen=True)
class Company:
    """The rest of the engine's work meanwhile: a rollout writes many rows at once; a server reads long prompts in chunks,
    reuses what slots have read, writes drafts along, and gives up requests.
    """

    name: str
    slots: int
    reuse: int
    prefill_tokens: int = 1024
    lookup: int = 16
    gives_up: bool = False


COMPANIES = (
    Company("as a rollout", slots=64, reuse=0),
    Company("as a server", slots=4, reuse=16, prefill_tokens=24, gives_up=True),
)


@dataclass(frozen=True)
class Written:
    """A sample, the temperature it was drawn at, and the log-probabilities (T, V) that the engine drew its tokens from."""

    sample: Sample
    temperature: float
    logprobs: Tensor


@dataclass(frozen=True)
class Gap:
    """The distance of engine and trainer over all tokens: total variation, and the drawn token's log-probability."""

    tokens: int
    largest_at: Mapping[float, float]
    """The largest total variation at each temperature."""
    mean: float
    drawn_largest: float
    drawn_mean: float
    yardstick: float
    """How far these distributions of the trainer are from the log-probabilities that it trains with."""

    @property
    def largest(self) -> float:
        return max(self.largest_at.values())


@contextmanager
def without_library(is_without: bool = True) -> Iterator[None]:
    """Let engines that are made inside compute in torch, as where no C++ was built."""
    library = native.library
    if is_without:
        native.library = lambda: None  # type: ignore[assignment]
    try:
        yield
    finally:
        native.library = library


def engine_for(model: LanguageModel, way: Way, company: Company, suppressed: Sequence[int] = ()) -> Engine:
    """Return an engine that computes in this way, in this company."""
    config = EngineConfig(
        slots=company.slots,
        length=min(model.config.max_position_embeddings, LENGTH),
        dtype=way.dtype,
        weights=way.weights,
        prefill_tokens=company.prefill_tokens,
        reuse=company.reuse,
        lookup=company.lookup,
    )
    with without_library(not way.is_native):
        return Engine(model, config, suppressed)


def write(engine: Engine, requests: Sequence[Request], *, gives_up: bool = False) -> list[Written]:
    """Let the engine answer all requests, which differ in their seeds, and keep each token's whole distribution.

    With `gives_up` every fourth prompt is submitted twice, and the first is cancelled while the second still waits for
    what it reads.
    """
    seen: dict[int, list[Tensor]] = {request.seed: [] for request in requests}
    assert len(seen) == len(requests), "two requests have one seed"

    def watch(request: Request, place: int, logprobs: Tensor) -> None:
        found = seen.get(request.seed)
        if found is not None:
            assert place == len(found)
            found.append(logprobs)

    engine.watch = watch
    samples = _serve(engine, requests) if gives_up else engine.generate(requests)
    engine.watch = None
    return [
        Written(sample, request.sampling.temperature, torch.stack(seen[request.seed]))
        for request, sample in zip(requests, samples, strict=True)
    ]


def _serve(engine: Engine, requests: Sequence[Request]) -> list[Sample]:
    """Answer requests a few at a time, each followed token by token."""
    found: dict[int, Sample] = {}
    ids: list[int] = []
    for start in range(0, len(requests), engine.config.slots):
        part = requests[start : start + engine.config.slots]
        given_up = None
        for place, request in enumerate(part):
            if place == 0 and len(part) > 1:
                given_up = engine.submit(dataclasses.replace(request, seed=-1 - start))
            ids.append(engine.submit(request))
        is_first = True
        while engine.num_live or engine.num_waiting:
            found |= {event.request: event.sample for event in engine.step() if event.sample is not None}
            if is_first and given_up is not None:
                engine.cancel(given_up)
            is_first = False
    return [found[id] for id in ids]


Reads = Callable[[LanguageModel, Batch], Tensor]
"""From a model and a batch to hidden states (B, T, C)."""


def read_as_trained(model: LanguageModel, batch: Batch) -> Tensor:
    """Read a batch as `trained_logprobs` does."""
    hidden: Tensor = model(batch.inputs, batch.positions, batch.segments)
    return hidden


@torch.no_grad()
def compare(model: LanguageModel, written: Sequence[Written], read: Reads = read_as_trained) -> Gap:
    """Let the trainer read all samples, and measure how far its distributions are from those of the engine."""
    variations: dict[float, list[Tensor]] = {one.temperature: [] for one in written}
    drawn, yardstick = [], 0.0
    for temperature, found in variations.items():
        some = [one for one in written if one.temperature == temperature]
        whole = batch_of_samples([one.sample for one in some], PAD_ID)
        for places in by_length(whole, torch.arange(len(some)), MICRO_ROWS):
            batch = take_rows(whole, places)
            trained = trained_positions(batch)
            logits = model.logits(read(model, batch)[trained]).float()
            trainers = torch.log_softmax(logits / temperature, -1)
            targets = batch.targets[trained]
            said = trainers.gather(1, targets[:, None])[:, 0]
            if read is read_as_trained:
                own = trained_logprobs(model, batch, temperature)
                yardstick = max(yardstick, float((own - said).abs().max()))
            engines = torch.cat([some[place].logprobs for place in places.tolist()])
            for first in range(0, len(targets), 64):  # 64 rows of a large vocabulary at a time
                part = slice(first, first + 64)
                difference = engines[part].double().exp() - trainers[part].double().exp()
                found.append(0.5 * difference.abs().sum(-1))
            drawn.append((engines.gather(1, targets[:, None])[:, 0] - said).abs())
    variation = {temperature: torch.cat(found) for temperature, found in variations.items()}
    apart = torch.cat(drawn).double()
    return Gap(
        len(apart),
        {temperature: float(found.max()) for temperature, found in sorted(variation.items())},
        float(torch.cat(list(variation.values())).mean()),
        float(apart.max()),
        float(apart.mean()),
        yardstick,
    )


# The models ----------------------------------------------------------------------------------------------------------

QUESTIONS = (
    "What is the capital of Sweden?",
    "Name three rivers, and say which of them is the longest and where it ends.",
    "Write the numbers from one to twelve, with commas between them.",
    "Say hello.",
    "Repeat after me: the rain falls on the plain, the rain falls on the plain, the rain falls",
    "Who wrote a book about a whale? Answer in one word.",
    "Explain to a child why the sky is blue, and why it is red when the sun goes down.",
    "List five animals.",
)
TURN = "Thank you. Now say the same again in other words, and make it a little shorter than before."


def prompts_for(tokenizer: Tokenizer, count: int, *, are_short: bool = False) -> list[tuple[int, ...]]:
    """Return ragged prompts of chats: single questions, and second turns, which begin like others."""
    found = []
    for number in range(count):
        question = QUESTIONS[number % len(QUESTIONS)]
        messages = [Message("user", question)]
        if number % 3 == 1 and not are_short:
            messages += [Message("assistant", QUESTIONS[(number + 3) % len(QUESTIONS)]), Message("user", TURN)]
        if number % 3 == 2 and not are_short:
            messages[0] = Message("user", f"{question} {TURN} {question}")
        found.append(render_prompt(messages, tokenizer))
    return found


def requests_of(prompts: Sequence[tuple[int, ...]], max_tokens: int, stop_ids: Sequence[int] = ()) -> list[Request]:
    """Return a request for each prompt, at different temperatures and lengths, each with a seed of its own."""
    random = np.random.default_rng(0)
    return [
        Request(
            prompt,
            Sampling(
                max_tokens=int(random.integers(max_tokens // 2, max_tokens + 1)),
                temperature=TEMPERATURES[(number + number // len(TEMPERATURES)) % len(TEMPERATURES)],
                stop_ids=tuple(stop_ids),
            ),
            seed=number,
        )
        for number, prompt in enumerate(prompts)
    ]


def models(setting: Setting) -> Mapping[str, Path]:
    """Return the models that are here: the quickstart's fine-tuned one, and one of others."""
    found = {}
    if setting.run is not None:
        steps = sorted((setting.run / "sft" / "steps").iterdir())
        found["quickstart's SFT model"] = steps[-1] / "model"
    if setting.model is not None:
        found[setting.model.name] = setting.model
    return found


@dataclass(frozen=True)
class Measured:
    """A way in a company, and over how many samples it is measured."""

    company: Company
    way: Way
    samples: int = SAMPLES


def measured(is_large: bool) -> list[Measured]:
    """Return what is measured: everything on a small model; on a large one exact ways in full, and others on a part."""
    if not is_large:
        return [Measured(company, way) for company in COMPANIES for way in WAYS]
    rollout, server = COMPANIES
    ways = [way for way in WAYS if way.is_native or way.is_exact]
    in_rollouts = [Measured(rollout, way, SAMPLES if way.is_exact else SAMPLES // 4) for way in ways]
    return [*in_rollouts, Measured(server, WAYS[0], SAMPLES // 4)]


def rows(setting: Setting) -> Iterator[Row]:
    """Rows for each model, each company and each way."""
    for name, folder in models(setting).items():
        model, tokenizer = load_language_model(folder).eval(), Tokenizer.load(folder)
        suppressed = tokenizer.suppressed_ids(model.config.vocab_size)
        is_large = num_parameters(model.config) > LARGE
        for one in measured(is_large):
            prompts = prompts_for(tokenizer, one.samples, are_short=is_large)
            requests = requests_of(prompts, 8 if is_large else 32, tokenizer.stop_ids)
            engine = engine_for(model, one.way, one.company, suppressed)
            written = write(engine, requests, gives_up=one.company.gives_up)
            model.model.compute_dtype = one.way.trainer
            gap = compare(model, written)
            model.model.compute_dtype = torch.float32
            told = f"{name}, {one.company.name}, {one.way.name}"
            print(told, gap, flush=True)
            yield from _rows_of(told, one, gap)
            if one.company.gives_up:
                counts = engine.counts
                is_all = min(counts.reused, counts.accepted) > 0
                shortcuts = f"{counts.reused} tokens reused, {counts.accepted} of {counts.drafted} drafts accepted"
                yield Row(f"{told}: shortcuts taken", "reuse and drafts", shortcuts, is_all)


def _rows_of(told: str, one: Measured, gap: Gap) -> Iterator[Row]:
    """Rows of one measurement: the largest distance at each temperature, and what a rollout watches."""
    whole = f"{told}, {one.samples} samples, {gap.tokens} tokens"
    for temperature, largest in gap.largest_at.items():
        wanted, ok = (f"at most {BOUND:g}", largest <= BOUND) if one.way.is_exact else ("stated", True)
        yield Row(f"{whole}: largest total variation at temperature {temperature:g}", wanted, largest, ok)
    yield Row(f"{told}: mean total variation", "stated", gap.mean, True)
    yield Row(f"{told}: mean difference of the drawn token's log-probability", "stated", gap.drawn_mean, True, "nats")
    yield Row(f"{told}: its largest difference", "stated", gap.drawn_largest, True, "nats")
