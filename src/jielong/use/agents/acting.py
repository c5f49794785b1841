"""Acting in a text world: a policy is told the goal and the view, and writes one action after another.

A world is anything with a `step`. A policy chooses the next action: a model, which may be any strategy over one, a
model's ranking of the possible actions, dice, or a script. A written action need not be possible; it may be mapped to
the nearest possible one (Huang et al. 2022, arXiv 2201.07207: each generated step is replaced by the admissible one
most like it, which also stands in the conversation from then on). An episode ends when the world is over or a limit is
reached: steps, the budget, the same action in the same situation again and again, or a view too long to be read.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from jielong.config import at_least
from jielong.errors import TooLongError
from jielong.records import Conversation, Message, Observation
from jielong.runs import now_s
from jielong.use.ledger import BudgetSpent, Ledger, current
from jielong.use.port import Options, Scores, Usage
from jielong.use.prompting import fill, language_of
from jielong.use.strategies import Direct
from jielong.use.strategy import Strategy, over


class World(Protocol):
    """The protocol of a text world that has begun. `step` returns the view, whether it is over, and a reward above 0
    for the goal.
    """

    def step(self, text: str) -> tuple[Observation, bool, float]: ...


@dataclass(frozen=True)
class Limits:
    """Limits at which an episode is ended."""

    steps: int = 40
    repeats: int = 3
    """The same action, with the same to be seen, so many times is a loop."""
    remember: int = 3
    """So many of the last turns stay in the conversation, and the thought before them."""

    def __post_init__(self) -> None:
        at_least(self, 1, "steps", "repeats", "remember")


@dataclass(frozen=True)
class Step:
    """One action: the view before it, the policy's text, the action done, and the reward after it."""

    seen: Observation
    said: str
    action: str
    reward: float
    thought: str = ""
    """What was said before the action, which it remembers."""

    @property
    def is_executable(self) -> bool:
        """Whether the action done was possible."""
        return self.action in self.seen.admissible

    @property
    def is_written(self) -> bool:
        """Whether it was possible as the policy wrote it."""
        return self.said in self.seen.admissible


@dataclass(frozen=True)
class Episode:
    """The steps of a policy, and why they ended: "over" (the world's own end, or finished), "steps", "repeated",
    "budget" or "too long".
    """

    steps: tuple[Step, ...]
    end: Observation
    stop: str
    usage: Usage
    seconds: float

    @property
    def is_success(self) -> bool:
        """Whether the goal was reached when the world was over: a policy that stops too late, or never, has not
        succeeded.
        """
        return self.stop == "over" and self.steps[-1].reward > 0

    @property
    def is_reached(self) -> bool:
        """Whether the goal was reached at any moment, known or not."""
        return any(step.reward > 0 for step in self.steps)

    @property
    def conversation(self) -> Conversation:
        """Return the episode as messages, as the policy saw them and as a model can learn from them."""
        return conversation_of(self.steps)

    def __str__(self) -> str:
        lines = [self.end.goal]
        for number, step in enumerate(self.steps, start=1):
            mapped = f"   (wrote: {step.said})" if step.said != step.action else ""
            refused = "" if step.is_executable else "   (cannot be done)"
            thought = [f"    ({step.thought})"] if step.thought else []
            lines += [f"    {step.seen.text}", *thought, f"{number:2} > {step.action}{mapped}{refused}"]
        outcome = "success" if self.is_success else "no success"
        return "\n".join([*lines, f"    {self.end.text}", f"=> {outcome}, {self.stop} after {len(self.steps)} steps"])


def conversation_of(steps: Sequence[Step], seen: Observation | None = None, before: str = "") -> Conversation:
    """Build the conversation for a policy: the instruction, each step as a turn of user and assistant, and the present
    view.

    Each turn of the user repeats the goal, so that it is never far from a decision. The first one also repeats the
    thought `before` it, from a turn that is forgotten: notes that a thought carries from turn to turn are not lost with
    it.
    """
    language = language_of((seen or steps[0].seen).goal)
    views = [*(step.seen for step in steps), *([seen] if seen else [])]
    told = [Message("user", fill("seen", language, seen=view.text, goal=view.goal)) for view in views]
    if before:
        first = views[0]
        told[0] = Message("user", fill("seen_later", language, seen=first.text, goal=first.goal, thought=before))
    said = (Message("assistant", f"{s.thought}\n> {s.action}" if s.thought else s.action) for s in steps)
    turns = itertools.zip_longest(told, said)
    return Conversation((Message("system", fill("act", language)), *(m for turn in turns for m in turn if m)))


def thought_before(steps: Sequence[Step], first: int) -> str:
    """Return the thought in the step before number `first`, if there is one."""
    return steps[first - 1].thought if first else ""


def split_thought(text: str) -> tuple[str, str]:
    """Split a text into thought and action: the action is the first line after ">", or else the first line.

    Thinking before acting is ReAct's (Yao et al. 2022, arXiv 2210.03629).
    """
    lines = text.strip().splitlines() or [""]
    for number, line in enumerate(lines):
        if line.lstrip().startswith(">"):
            return "\n".join(lines[:number]).strip(), line.lstrip().removeprefix(">").strip()
    return "", lines[0].strip()


class Policy:
    """The protocol of a policy for the length of one episode."""

    @property
    def usage(self) -> Usage:
        """Return its cost so far."""
        return Usage()

    async def choose(self, conversation: Conversation, seen: Observation) -> str:
        """Choose the next action in words; `conversation` ends with the present view. Raises BudgetSpent if it may not
        go on.
        """
        raise NotImplementedError


async def act(
    world: World, seen: Observation, policy: Policy, limits: Limits = Limits(), nearest: Nearest | None = None
) -> Episode:
    """Run one episode in a world that shows `seen`. With `nearest`, impossible actions are mapped to possible ones."""
    start_s = now_s()
    steps: list[Step] = []
    done_here: Counter[tuple[str, str]] = Counter()
    stop = ""
    while not stop:
        try:
            said = await _ask_policy(policy, steps, seen, limits.remember)
        except BudgetSpent:
            stop = "budget"
            break
        except TooLongError:
            stop = "too long"
            break
        thought, said = split_thought(said)
        action = nearest(said, seen.admissible) if nearest and said not in seen.admissible else said
        new, is_over, reward = world.step(action)
        steps.append(Step(seen, said, action, reward, thought))
        done_here[seen.text, action] += 1
        if is_over:
            stop = "over"
        elif done_here[seen.text, action] >= limits.repeats:
            stop = "repeated"
        elif len(steps) >= limits.steps:
            stop = "steps"
        seen = new
    return Episode(tuple(steps), seen, stop, policy.usage, now_s() - start_s)


async def _ask_policy(policy: Policy, steps: Sequence[Step], seen: Observation, remember: int) -> str:
    """Ask the policy with the last turns, or as many of them as it can read. Raises TooLongError if it cannot read
    one.
    """
    first = max(0, len(steps) + 1 - remember)
    while True:
        try:
            return await policy.choose(conversation_of(steps[first:], seen, thought_before(steps, first)), seen)
        except TooLongError:
            if first == len(steps):
                raise
            first += 1


# Policies -----------------------------------------------------------------------------------------------------------


class ModelPolicy(Policy):
    """A policy that lets a model write, through the ledger and its budget; by a strategy, or directly."""

    def __init__(self, ledger: Ledger, options: Options, strategy: Strategy | None = None) -> None:
        self._ledger, self._options = ledger, options
        self._ask = over(strategy or Direct(), ledger.ask)
        self._num_chosen = 0

    @property
    def usage(self) -> Usage:
        return self._ledger.usage

    async def choose(self, conversation: Conversation, seen: Observation) -> str:
        """Ask the model for the next action and return its text as written; the possible actions in `seen` are not
        used.
        """
        del seen
        self._num_chosen += 1
        token = current.set(self._ledger)
        try:
            return (await self._ask(conversation, self._options.draw("step", self._num_chosen))).text
        finally:
            current.reset(token)


class Likeliest(Policy):
    """A policy that takes the possible action with the highest probability under the model; 0 tokens is no limit."""

    def __init__(self, model: Scores, tokens: int = 0) -> None:
        self._model, self._tokens, self._usage = model, tokens, Usage()

    @property
    def usage(self) -> Usage:
        return self._usage

    async def choose(self, conversation: Conversation, seen: Observation) -> str:
        """Score all possible actions and return the likeliest."""
        if self._tokens and self._usage.tokens >= self._tokens:
            raise BudgetSpent(f"the budget of {self._tokens} tokens is spent")
        scored = await self._model.score(conversation, seen.admissible)
        self._usage += Usage(completion_tokens=sum(s.num_tokens for s in scored), calls=1)
        return max(zip(scored, seen.admissible, strict=True), key=lambda pair: pair[0].logprob)[1]


class Dice(Policy):
    """A policy that draws any possible action, but never the one that says it is finished: the control."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)

    async def choose(self, conversation: Conversation, seen: Observation) -> str:
        del conversation
        return self._rng.choice([a for a in seen.admissible if a != seen.finish] or [seen.finish])


class ScriptedPolicy(Policy):
    """A policy that plays given texts: a solver's plan, a demonstration. `texts` is asked as the episode goes on."""

    def __init__(self, texts: Iterator[str]) -> None:
        self._texts = texts

    async def choose(self, conversation: Conversation, seen: Observation) -> str:
        del conversation, seen
        return next(self._texts)


# The nearest action that can be done --------------------------------------------------------------------------------

Nearest = Callable[[str, Sequence[str]], str]
"""Of the given actions, the one most like a text."""

Embed = Callable[[Sequence[str]], "np.ndarray[tuple[int, int], np.dtype[np.float32]]"]
"""Texts to vectors, one row each."""


def by_letters(text: str, actions: Sequence[str]) -> str:
    """Return the action that shares most runs of one to three letters with the text (Dice's coefficient); of a tie, the
    first.
    """
    wanted = _runs(text)

    def likeness(action: str) -> float:
        runs = _runs(action)
        return 2 * (wanted & runs).total() / max(1, wanted.total() + runs.total())

    return max(actions, key=likeness)


def _runs(text: str) -> Counter[str]:
    text = " ".join(text.lower().split())
    return Counter(text[i : i + n] for n in (1, 2, 3) for i in range(len(text) - n + 1))


def by_meaning(embed: Embed) -> Nearest:
    """Make a function that finds the action whose vector has the smallest angle to that of the text."""

    def nearest(text: str, actions: Sequence[str]) -> str:
        vectors = np.asarray(embed([text, *actions]), dtype=np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True).clip(min=1e-12)
        return actions[int((vectors[1:] @ vectors[0]).argmax())]

    return nearest
