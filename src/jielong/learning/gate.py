"""The gate before a person is asked: fresh answers of both models, a judge, held-out pairs, the regression set.

A candidate that is clearly worse is refused here, with the reason. Otherwise its answers become blind pairs. Every part
is stored in a file of the attempt as soon as it is made, so a comparison that was ended goes on.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import shutil
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from jielong.evaluate.votes import Texts, prompt_key
from jielong.learning import asking, preference_head, regression
from jielong.learning.advice import Plan, chance_of_side
from jielong.learning.attempt import ADAPTER
from jielong.learning.deciding import LEAST, MOST
from jielong.learning.fresh_answers import Writer, Written, answer_limit
from jielong.learning.judged import Pair
from jielong.learning.reasons import Reason, to_json
from jielong.model import adapter_files
from jielong.model.hf import load_language_model
from jielong.model.transformer import LanguageModel
from jielong.records import Message
from jielong.runs import derive_seed, read_json, write_directory, write_json
from jielong.tokens.chat import render_prompt
from jielong.tokens.tokenizer import Tokenizer
from jielong.train.machine import bf16_is_right
from jielong.train.reference import answer_logprobs

CHANCE = 0.01
"""A difference is clear where chance would make it this rarely."""

BELIEVED = 0.05
"""The judge is believed where chance would get so many held-out pairs right this rarely."""

TEMPERATURE = 0.8
"""As the page draws answers where nobody says otherwise."""

MOST_DRAWS, SPARE, MOST_SPARE = 10, 1.6, 8.0
"""Answers to one prompt at most, and how many more are drawn than pairs are needed, as equal ones are skipped: at first, and
at most where few of those differ. Equal answers are shown to nobody, so looking for others costs no vote; as it depends on
the answers' texts alone, and not on votes, the sequential test holds as it is."""

MOST_HELD_OUT = 256
"""Held-out pairs whose log-probabilities are looked at."""

STRENGTHS = (1.0, 0.75, 0.5, 0.35, 0.25)
"""Shares of the adapter's effect that are tried."""

WRITING = 0.9
"""The share of the comparison that goes by while answers are written."""

LENGTH = 2048
"""Positions that are looked at of a model with more."""


@dataclass(frozen=True)
class Models:
    """Folders of the base, of the promoted model, which may be the base, and of the candidate's adapter."""

    base: Path
    stands: Path
    candidate: Path


@dataclass(frozen=True)
class Outcome:
    """The outcome of the gate: `why` is the reason of a refusal, or None if a person is to be asked."""

    why: Reason | None
    figures: dict[str, Any]


def pass_gate(
    folder: Path, home: Path, models: Models, plan: Plan, seed: int, tell: Callable[[float, str], None]
) -> Outcome:
    """Compare the candidate and prepare the pairs; `tell` is called with the progress and a note."""
    tokenizer = Tokenizer.load(models.base)
    limit, draws = answer_limit(plan, tokenizer), _draws(plan, seed)
    prompts = [f.prompt for f in regression.fixed_prompts()]
    all_draws = _draws(plan, seed, MOST_SPARE)
    longest = max(_longest(prompts, tokenizer, regression.MAX_TOKENS), _longest(all_draws, tokenizer, limit))
    work = _Work(2 * (len(draws) + len(prompts)), tell)

    def write(writer: Writer, name: str, prompts: Sequence[Texts]) -> list[Written]:
        """Write fresh answers, which are kept under a name."""
        file, drawn_by = folder / f"{name}.json", derive_seed(seed, name)
        return writer.answers(file, prompts, limit, temperature=TEMPERATURE, seed=drawn_by)

    base = Writer(models.base, longest, work.done)
    before = _answer_fixed(base, home / "base-answers.json")
    stands_by = base if models.stands == models.base else Writer(models.stands, longest, work.done)
    stands = write(stands_by, "stands", draws)
    del base, stands_by
    judged = [*plan.policy.pairs, *plan.judge.pairs, *plan.held_out.pairs]
    candidate_by, figures = _strongest_harmless(folder, models, before, judged, longest, work)
    first = _Fresh(draws, stands, write(candidate_by, "candidate", draws))
    more = _more_draws(all_draws, len(draws), len(first.pairs(seed)))
    work.add(2 * len(more))
    now = write(candidate_by, "candidate-more", more) if more else []
    del candidate_by
    old = write(Writer(models.stands, longest, work.done), "stands-more", more) if more else []
    pairs = first.with_more(_Fresh(more, old, now)).pairs(seed)
    tell(WRITING, "held-out pairs")
    figures["fresh"] = {"answers": len(draws) + len(more), "different": len(pairs)}
    chosen = dataclasses.replace(models, candidate=folder / ADAPTER)
    figures["held_out"], figures["judge"] = _compare_with_base(chosen, plan, tokenizer, first, seed)
    why = reason(figures)
    if why is None:
        asking.write_pairs(folder, pairs[:MOST])
    return Outcome(why, figures)


def _strongest_harmless(
    folder: Path, models: Models, before: Sequence[Written], judged: Sequence[Pair], longest: int, work: _Work
) -> tuple[Writer, dict[str, Any]]:
    """Return the candidate as strong as can be without anything getting worse, else at the last of `STRENGTHS`; and the
    regression figures.

    A part of the way from the base to a fine-tuned model keeps most of the new and loses less of the old abilities
    (Wortsman et al. 2022, arXiv 2109.01903).
    """
    fixed = regression.fixed_prompts()

    def tried(strength: float) -> tuple[float, Writer, list[Written], list[regression.Change]]:
        adapter = folder / f"strength-{strength:g}"
        if not adapter.exists():
            write_directory(adapter, functools.partial(_weaken, models.candidate, strength))
        writer = Writer(adapter, longest, work.done)
        after = _answer_fixed(writer, folder / f"regression-{strength:g}.json")
        return strength, writer, after, regression.changes(fixed, before, after, judged)

    def is_worse(found: list[regression.Change]) -> bool:
        return any(change.is_worse for change in found)

    best = tried(STRENGTHS[0])
    for before_it, strength in itertools.pairwise(STRENGTHS):
        if not is_worse(best[3]):
            break
        best = tried(strength)
        if not is_worse(best[3]):  # nearly as much again may be had halfway to the one that was too strong
            between = tried((before_it + strength) / 2)
            best = best if is_worse(between[3]) else between
    strength, writer, after, found = best
    write_directory(folder / ADAPTER, functools.partial(_weaken, models.candidate, strength))
    return writer, {"regression": regression.summary(before, after, found), "adapter": {"strength": strength}}


def _weaken(adapter: Path, strength: float, folder: Path) -> None:
    """Write the adapter, scaled by a strength, into an empty folder."""
    shutil.copytree(adapter, folder, dirs_exist_ok=True)
    config = read_json(folder / "adapter_config.json")
    patterns = {name: strength * alpha for name, alpha in config.get("alpha_pattern", {}).items()}
    weakened = {"lora_alpha": strength * config["lora_alpha"], "alpha_pattern": patterns}
    write_json(folder / "adapter_config.json", {**config, **weakened})


def _answer_fixed(writer: Writer, file: Path) -> list[Written]:
    """Return a model's greedy answers to the regression set."""
    prompts = [f.prompt for f in regression.fixed_prompts()]
    return writer.answers(file, prompts, regression.MAX_TOKENS, temperature=0.0, seed=0)


def reason(figures: dict[str, Any]) -> Reason | None:
    """Return why a candidate with these figures is refused without asking anybody, or None if it is not."""
    held_out, judge = figures["held_out"], figures["judge"]
    if figures["fresh"]["different"] < LEAST:
        return Reason("nothing_to_compare", {**figures["fresh"], "needed": LEAST})
    right, count = held_out["right"], held_out["pairs"]
    if count and 2 * right < count and chance_of_side(count - right, count) / 2 < CHANCE:
        return Reason.of("opposite", right=right, pairs=count)
    for fault in figures["regression"]["faults"]:
        if fault["is_worse"]:
            shares = {name: fault[name] for name in ("before", "after", "count")}
            return Reason.of("worse", fault=Reason(f"fault.{fault['name']}"), **shares)
    if judge.get("is_believed") and judge["lost"] > judge["won"]:
        decided = judge["won"] + judge["lost"]
        if chance_of_side(judge["lost"], decided) / 2 < CHANCE:
            return Reason.of("judge_worse", lost=judge["lost"], decided=decided)
    return None


class _Work:
    """A counter of answers, of which there are `total`; they are most of the comparison."""

    def __init__(self, total: int, tell: Callable[[float, str], None]) -> None:
        self._total, self._tell, self._count = max(1, total), tell, 0

    def add(self, count: int) -> None:
        """Expect so many answers more."""
        self._total += count

    def done(self, count: int) -> None:
        self._count += count
        self._tell(min(WRITING, WRITING * self._count / self._total), "fresh answers")


def _draws(plan: Plan, seed: int, spare: float = SPARE) -> list[Texts]:
    """Return prompts that the policy never saw, repeated until there are enough pairs, in random order, each once at
    first.

    The judge's are among them: a person does not mind which answers a head was fitted to, and more prompts show more.
    With more to `spare` the list begins alike.
    """
    prompts = [*plan.held_out.prompts.values(), *plan.judge.prompts.values()]
    count = min(MOST_DRAWS, max(1, math.ceil(spare * MOST / len(prompts))))
    generator = torch.Generator().manual_seed(derive_seed(seed, "draws") % 2**63)
    rounds = [torch.randperm(len(prompts), generator=generator).tolist() for _ in range(count)]
    return [prompts[i] for order in rounds for i in order][: math.ceil(spare * MOST)]


def _more_draws(every: Sequence[Texts], num_draws: int, num_pairs: int) -> list[Texts]:
    """Return the prompts that follow the first draws, if these gave too few different pairs: as many as give enough at
    that rate, with some to spare, or all.
    """
    if num_pairs >= MOST:
        return []
    needed = math.ceil(SPARE * num_draws * MOST / num_pairs) if num_pairs else len(every)
    return list(every[num_draws:needed])


def _longest(prompts: Sequence[Texts], tokenizer: Tokenizer, room: int) -> int:
    return min(LENGTH, max(len(render_prompt(p, tokenizer)) for p in prompts) + room + 1)


@dataclass(frozen=True)
class _Fresh:
    """Prompts, and the answers of the model that stands and of the candidate, by the prompts' numbers."""

    draws: Sequence[Texts]
    stands: Sequence[Written]
    candidate: Sequence[Written]

    def with_more(self, others: _Fresh) -> _Fresh:
        """Return these and others, which are numbered after these."""
        count = len(self.draws)
        sides = [
            [*mine, *(dataclasses.replace(one, prompt=count + one.prompt) for one in theirs)]
            for mine, theirs in ((self.stands, others.stands), (self.candidate, others.candidate))
        ]
        return _Fresh([*self.draws, *others.draws], *sides)

    def pairs(self, seed: int) -> list[asking.ShownPair]:
        """Return different answers to the same prompt, each two once, with sides drawn at random."""
        now = {w.prompt: w for w in self.candidate}
        found, seen = [], set()
        for old in self.stands:
            new = now.get(old.prompt)
            key = (prompt_key(self.draws[old.prompt]), old.text, new.text if new else "")
            if new is None or new.text == old.text or key in seen:
                continue
            seen.add(key)
            is_left = derive_seed(seed, "side", old.prompt) % 2 == 0
            found.append(asking.ShownPair(self.draws[old.prompt], new.text, old.text, is_left))
        return found


# Log-probabilities and the judge -------------------------------------------------------------------------------------------


def _compare_with_base(
    models: Models,
    plan: Plan,
    tokenizer: Tokenizer,
    fresh: _Fresh,
    seed: int,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Compare the candidate with the base model.

    Return how much the candidate's log-probabilities prefer the better answers of held-out pairs, relative to the base,
    and the judge's verdicts on the fresh answers.
    """
    base = _open(models.base)
    length = min(LENGTH, base.config.max_position_embeddings)
    pairs = plan.held_out.pairs[:MOST_HELD_OUT]
    before = _logprobs(base, tokenizer, pairs, length)
    judge = _judge(base, tokenizer, plan, fresh, seed, length)
    del base
    after = _logprobs(_open(models.candidate), tokenizer, pairs, length)
    gained = [[b - a for a, b in zip(*sides, strict=True)] for sides in zip(before, after, strict=True)]
    margins = [better - worse for better, worse in gained]
    held_out = {
        "pairs": len(margins),
        "right": sum(m > 0 for m in margins),
        "margin": round(statistics.fmean(margins), 4) if margins else 0.0,
    }
    return held_out, judge


def _open(folder: Path) -> LanguageModel:
    """Load a model with its adapter merged, frozen, for scoring."""
    is_adapter = adapter_files.is_adapter(folder)
    model = adapter_files.load_merged(folder) if is_adapter else load_language_model(folder)
    model.requires_grad_(False)
    model.model.compute_dtype = torch.bfloat16 if bf16_is_right("cpu") else torch.float32
    return model


def _logprobs(model: LanguageModel, tokenizer: Tokenizer, pairs: Sequence[Pair], length: int) -> list[list[float]]:
    """Return the nats of the better and the worse answer of each pair."""
    answers = [(p.prompt, side) for p in pairs for side in (p.better, p.worse)]
    found = answer_logprobs(model, preference_head.rendered(tokenizer, answers, length), 4, tokenizer.pad)
    return [found[i : i + 2] for i in range(0, len(found), 2)]


def _judge(
    base: LanguageModel,
    tokenizer: Tokenizer,
    plan: Plan,
    fresh: _Fresh,
    seed: int,
    length: int,
) -> dict[str, Any]:
    """Return the judge's verdicts on the fresh answers, prompt by prompt, and whether it may be believed."""
    answers, pairs = preference_head.comparisons(plan.judge)
    if len(pairs) < preference_head.FEWEST_PAIRS:
        skipped = Reason.of("few_for_judge", pairs=len(pairs), needed=preference_head.FEWEST_PAIRS)
        return {"pairs": len(pairs), "skipped": to_json(skipped)}

    def features(some: Sequence[preference_head.Answered]) -> torch.Tensor:
        return preference_head.features_of(base, tokenizer, some, length=length)

    head = preference_head.fit(features(answers), pairs, seed)
    known = [(p.prompt, side) for p in plan.held_out.pairs[:MOST_HELD_OUT] for side in (p.better, p.worse)]
    scores = head.score(features(known)).view(-1, 2).tolist() if known else []
    right = sum(better > worse for better, worse in scores)
    p_chance = chance_of_side(right, len(scores)) / 2 if 2 * right > len(scores) else 1.0
    draws = fresh.draws
    old, new = ({w.prompt: w.text for w in side} for side in (fresh.stands, fresh.candidate))
    held_out = plan.held_out.prompts
    both = [i for i in old if i in new and old[i].strip() and new[i].strip() and prompt_key(draws[i]) in held_out]
    answered = [(draws[i], (Message("assistant", side[i]),)) for i in both for side in (old, new)]
    told = head.score(features(answered)).view(-1, 2).tolist() if answered else []
    by_prompt: dict[tuple[str, ...], list[float]] = {}
    for i, (before, after) in zip(both, told, strict=True):
        by_prompt.setdefault(tuple(m.text for m in draws[i]), []).append(after - before)
    means = [statistics.fmean(differences) for differences in by_prompt.values()]
    return {
        "pairs": len(pairs),
        "held_out": len(scores),
        "right": right,
        "is_believed": p_chance < BELIEVED,
        "prompts": len(means),
        "won": sum(m > 0 for m in means),
        "lost": sum(m < 0 for m in means),
    }
