"""Advice on judgements: whether they suffice for learning, the training method, and the split into training, judge and
held-out parts.

Prompts are split by a digest of their words, so a prompt stays on its side however many judgements are added later.
Three fifths teach the policy. One fifth teaches the judge, which must not have learned the policy's lessons. One fifth
is held out: there the candidate is compared, and of 40 prompts eight or so can be asked about several times.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from jielong.data.forms import FEWEST
from jielong.errors import ConfigError, did_you_mean
from jielong.evaluate.statistics import wilson
from jielong.evaluate.votes import Texts, prompt_key, text_of
from jielong.learning.judged import Judged, One, Pair, Thumb, Written
from jielong.learning.reasons import NotEnough, Reason

METHODS = ("auto", "sft", "dpo", "kto", "reward+ppo")

POLICY, JUDGE = 0.6, 0.2
"""Shares of the prompts; the rest is held out."""

FEWEST_PROMPTS = 5
"""Held-out prompts with which candidates can be compared."""

FEWEST_REPEATED, MOST_CONTRADICTED = 5, 0.2
"""Refused where the 95% interval of the share of repeated pairs that disagree begins above this."""

FEWEST_SIDES, MOST_LEFT, CHANCE = 10, 0.75, 0.001
"""Refused where one side won at least this share of blind pairs, and chance would do so this rarely."""

SMALLEST_SIDE = 0.05
"""Of thumbs: fewer of one kind teach nothing about it."""


@dataclass(frozen=True)
class Part:
    """The judgements of some of the prompts."""

    pairs: tuple[Pair, ...]
    thumbs: tuple[Thumb, ...]
    written: tuple[Written, ...]

    @property
    def all(self) -> list[One]:
        return [*self.pairs, *self.thumbs, *self.written]

    @property
    def prompts(self) -> dict[str, Texts]:
        """Return its prompts by their digest."""
        return {prompt_key(one.prompt): one.prompt for one in self.all}


@dataclass(frozen=True)
class Plan:
    """The plan of learning: `steps` are the trainings in their order."""

    steps: tuple[str, ...]
    policy: Part
    judge: Part
    held_out: Part
    notes: tuple[Reason, ...] = ()

    @property
    def method(self) -> str:
        return "+".join(self.steps)


def side_of(prompt: str) -> str:
    """Return the side of a prompt in the split, by its digest."""
    place = int(prompt[:8], 16) / 2**32
    return "policy" if place < POLICY else "judge" if place < POLICY + JUDGE else "held_out"


def part_of(judged: Judged, *sides: str) -> Part:
    """Return the judgements of the prompts on these sides."""

    def mine(one: One) -> bool:
        return side_of(prompt_key(one.prompt)) in sides

    pairs, thumbs, written = (filter(mine, some) for some in (judged.pairs, judged.thumbs, judged.written))
    return Part(tuple(pairs), tuple(thumbs), tuple(written))  # type: ignore[arg-type]


def plan(judged: Judged, method: str = "auto") -> Plan:
    """Plan the trainings that suit the judgements. Raises NotEnough if they are too few, or contradictory."""
    if method not in METHODS:
        raise ConfigError(f"no method is called {method!r}; {did_you_mean(method, METHODS)}")
    refuse_contradictions(judged)
    refuse_one_side(judged)
    policy, judge, held_out = (part_of(judged, side) for side in ("policy", "judge", "held_out"))
    if not judged.pairs and not judged.thumbs:  # a judge learns from neither, so its prompts are free
        policy, judge = part_of(judged, "policy", "judge"), Part((), (), ())
    steps = _steps(policy, method)
    if not steps:
        raise NotEnough("too_few", ways=_missing(policy, method), share=POLICY)
    if len(held_out.prompts) < FEWEST_PROMPTS:
        more = math.ceil((FEWEST_PROMPTS - len(held_out.prompts)) / (1 - POLICY - JUDGE))
        counts = {"held_out": len(held_out.prompts), "prompts": len(judged.prompts), "needed": FEWEST_PROMPTS}
        raise NotEnough("too_few_prompts", **counts, more=more)
    if steps[-1] == "kto":
        _refuse_one_kind(thumbs_of(policy))
    return Plan(steps, policy, judge, held_out, tuple(_left_out(judged, policy, steps)))


def thumbs_of(part: Part) -> list[Thumb]:
    """Return KTO's data: thumbs, and of each pair the better answer as liked and the worse as disliked."""
    thumbs = [*(thumb for pair in part.pairs for thumb in _both(pair)), *part.thumbs]
    return list({(prompt_key(t.prompt), text_of(t.answer), t.by): t for t in thumbs}.values())


def _both(pair: Pair) -> tuple[Thumb, Thumb]:
    return Thumb(pair.prompt, pair.better, True, pair.by), Thumb(pair.prompt, pair.worse, False, pair.by)


def _steps(policy: Part, method: str) -> tuple[str, ...]:
    """Choose the trainings for which there are enough judgements."""
    has_written = len(policy.written) >= FEWEST
    if method == "sft":
        return ("sft",) if has_written else ()
    if method == "reward+ppo":
        return ("reward", "ppo") if min(len(policy.pairs), len(policy.prompts)) >= FEWEST else ()
    preferring = ""
    if method in ("auto", "dpo") and len(policy.pairs) >= FEWEST:
        preferring = "dpo"
    elif method in ("auto", "kto") and len(thumbs_of(policy)) >= FEWEST:
        preferring = "kto"
    before = ("sft",) if has_written and method == "auto" else ()
    return (*before, preferring) if preferring else before


def _missing(policy: Part, method: str) -> list[Reason]:
    """Describe how many more judgements are needed, for each method that is meant."""
    kinds = {
        "dpo": ("more.pairs", len(policy.pairs)),
        "kto": ("more.thumbs", len(thumbs_of(policy))),
        "sft": ("more.written", len(policy.written)),
    }
    if method == "reward+ppo":  # each rollout begins at a judged prompt
        kinds[method] = ("more.pairs_prompts", min(len(policy.pairs), len(policy.prompts)))
    wanted = kinds if method == "auto" else {method: kinds[method]}
    return [Reason(kind, {"count": math.ceil((FEWEST - count) / POLICY)}) for kind, count in wanted.values()]


# Signs of bad votes -----------------------------------------------------------------------------------------


def refuse_contradictions(judged: Judged) -> None:
    """Raise NotEnough if too many of the pairs that were judged again were judged the other way."""
    if judged.num_repeated < FEWEST_REPEATED:
        return
    found = wilson(judged.num_contradicted, judged.num_repeated)
    if found.low > MOST_CONTRADICTED:
        counts = {"repeated": judged.num_repeated, "turned": judged.num_contradicted}
        raise NotEnough("contradictory", **counts, share=found.mean, most=MOST_CONTRADICTED)


def refuse_one_side(judged: Judged) -> None:
    """Raise NotEnough if the answer on one side of blind pairs won too often, whichever it was."""
    count, left = judged.num_sides, judged.num_left
    most = max(left, count - left)
    if count < FEWEST_SIDES or most < MOST_LEFT * count or chance_of_side(most, count) >= CHANCE:
        return
    side = "left" if left == most else "right"
    raise NotEnough("one_side", won=most, pairs=count, side=Reason(f"side.{side}"))


def chance_of_side(most: int, count: int) -> float:
    """Return the probability that one of two sides wins `most` or more of `count` by chance: the exact binomial test,
    two-sided.
    """
    return min(1.0, 2 * sum(math.comb(count, k) for k in range(most, count + 1)) / 2**count)


def _refuse_one_kind(thumbs: Sequence[Thumb]) -> None:
    """Raise NotEnough if nearly all thumbs are up, or down."""
    liked = sum(t.is_liked for t in thumbs)
    fewer, kind = min((liked, "up"), (len(thumbs) - liked, "down"))
    needed = max(2, math.ceil(SMALLEST_SIDE * len(thumbs)))
    if fewer < needed:
        more = math.ceil((needed - fewer) / POLICY)
        raise NotEnough("one_kind", found=fewer, thumbs=len(thumbs), thumb=Reason(f"thumb.{kind}"), more=more)


def _left_out(judged: Judged, policy: Part, steps: Sequence[str]) -> list[Reason]:
    """Describe the judgements that training leaves out."""
    notes = []
    if ("dpo" in steps or "reward" in steps) and judged.thumbs:
        notes.append(Reason.of("note.thumbs", count=len(judged.thumbs)))
    if "sft" not in steps and 0 < len(policy.written) < FEWEST:
        notes.append(Reason.of("note.written", count=len(policy.written)))
    if judged.num_ties:
        notes.append(Reason.of("note.ties", count=judged.num_ties))
    return notes
