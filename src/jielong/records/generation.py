"""Requests to an engine, the samples that come back, and how each token was drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from jielong.errors import ConfigError


@dataclass(frozen=True)
class Sampling:
    """Settings for drawing the next token and for stopping.

    `temperature` 0 is greedy. `top_k` 0, `top_p` 1, `min_p` 0 and `repetition_penalty` 1 are off. `stop_ids` end a
    sample and stay in it; `stop` are strings that the text layer watches for (the engine knows ids only).
    """

    max_tokens: int = 128
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    stop_ids: tuple[int, ...] = ()
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        most = 2**31 - 1
        limits = {
            "max_tokens": (1 <= self.max_tokens <= most, f"at least 1, and at most {most}"),
            # logits over a smaller one, or a penalty beyond these, leave the numbers that there are in float32
            "temperature": (
                self.temperature == 0 or 1e-6 <= self.temperature <= 1e6,
                "0 (greedy), or from 0.000001 to 1,000,000",
            ),
            "top_k": (0 <= self.top_k <= most, f"0 (off) or more, and at most {most}"),
            "top_p": (0 < self.top_p <= 1, "in (0, 1]"),
            "min_p": (0 <= self.min_p < 1, "in [0, 1)"),
            "repetition_penalty": (1e-6 <= self.repetition_penalty <= 1e6, "from 0.000001 to 1,000,000 (1 is off)"),
        }
        for name, (is_fine, right) in limits.items():
            if not is_fine:
                raise ConfigError(f"sampling option {name} is {getattr(self, name)!r}; it must be {right}")


@dataclass(frozen=True)
class Request:
    """Token ids to continue, how to sample, and the seed of the random numbers."""

    prompt_ids: tuple[int, ...]
    sampling: Sampling = Sampling()
    seed: int = 0


@dataclass(frozen=True)
class Sample:
    """The result of one request.

    `logprobs` are natural logs at the sampling temperature, before truncation, one per id; `by_model` is False on
    tokens the model did not write (a tool's result). `stop` says why it ended: "stop", "length" or "cancelled".
    `reused` counts the prompt's tokens that were taken from another request's cache instead of prefilled. It describes
    the cost and not the content, so samples that differ in it alone are equal.
    """

    prompt_ids: tuple[int, ...]
    ids: tuple[int, ...]
    logprobs: tuple[float, ...] = ()
    by_model: tuple[bool, ...] = ()
    stop: str = ""
    weights_version: int = 0
    reused: int = field(default=0, compare=False)


class Candidate(NamedTuple):
    """An id that may come next, and its probability before and after the filters."""

    id: int
    model: float
    """The model's own, at temperature 1."""
    tempered: float
    """At the temperature, and after a repetition penalty: before anything is cut."""
    left: float
    """Of what the filters left; 0 for an id that was cut."""
    cut: str = ""
    """The filter that cut it; "" for an id that was left."""


class Cut(NamedTuple):
    """A filter ("mask", "top-k", "top-p" or "min-p", in this order), and the probability it removed from that left by
    earlier filters.
    """

    filter: str
    num_ids: int
    probability: float
    """In the distribution before all of them."""


KEPT_CANDIDATES = 20
"""Likeliest ids of a draw, where it is kept or told whole."""


@dataclass(frozen=True)
class Draw:
    """The draw of one token: the likeliest candidates, the filters' cuts, the random number and its interval.

    `likeliest` are best first, by their probability before the cuts; `rank` is the place of the `taken` id among all, 1
    for the likeliest. `uniform` is the random number in [0, 1), None at temperature 0, where the likeliest is taken.
    The remaining ids lie end to end on [0, 1) in the order of their numbers, each as wide as its probability; the taken
    one lies from `low` to `high`.
    """

    taken: Candidate
    rank: int
    likeliest: tuple[Candidate, ...]
    temperature: float
    cuts: tuple[Cut, ...]
    num_left: int
    uniform: float | None
    low: float
    high: float
    entropy: float = 0.0
    """In bits, of the distribution before the filters."""


class Event(NamedTuple):
    """Token `n` of one request's answer. `stop` is "" but for the last token, whose event carries the whole `sample`."""

    request: int
    n: int
    id: int
    position: int
    """Where it stands in prompt and answer together; whoever fills gaps may write a later one first."""
    logprob: float
    uniform: float | None
    """The number that chose it; None for a greedy token."""
    alternatives: tuple[tuple[int, float], ...] = ()
    """The most likely ids and their log-probabilities, best first, as many as were asked for."""
    stop: str = ""
    sample: Sample | None = None
    draw: Draw | None = None
    """How it was chosen, where that was asked for."""


class Generator(Protocol):
    """The protocol of a token generator: an engine in this process, or a stand-in for one elsewhere."""

    @property
    def length(self) -> int:
        """Return the largest number of positions for a prompt and its answer together."""
        ...

    def submit(self, request: Request) -> int: ...
    def step(self) -> list[Event]: ...
    def cancel(self, id: int) -> Sample | None: ...
    def generate(self, requests: Sequence[Request]) -> list[Sample]: ...
    def score_many(self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[list[float]]: ...


class LocalGenerator(Generator, Protocol):
    """A generator in this process, whose weights can be replaced."""

    def load(self, state: Mapping[str, Any], version: int) -> None: ...
