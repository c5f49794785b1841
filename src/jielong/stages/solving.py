"""The stage that says how many held-out problems models solve: with their likeliest answer, and within k samples.

Both together tell what reinforcement did. Where it only sharpens, one sample afterwards solves what many samples solved
before; where it teaches, problems are solved that the start did not solve in any of its samples (Yue et al. 2025, arXiv
2504.13837).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jielong.config import at_least
from jielong.errors import ConfigError
from jielong.evaluate.scoring import pass_at_k
from jielong.evaluate.statistics import wilson
from jielong.records import Conversation, Sampling
from jielong.report.text import shares_table
from jielong.runs import derive_seed, write_json, write_text
from jielong.stages.files import asked_before_last_answer
from jielong.stages.models import port_of
from jielong.stages.parts import read_conversations
from jielong.stages.recipe import Context, Recipe, Stage, Summary
from jielong.stages.rules import RULES
from jielong.use.port import LocalPort

NOT_MODELS = ("tokenizer", "data")


@dataclass(frozen=True)
class Solved:
    """The answers of one model to held-out problems: the likeliest, and how many of the samples were right, for each."""

    likeliest: list[str]
    is_right: list[bool]
    num_right: list[int]
    samples: int

    def shares(self) -> dict[str, float]:
        """Return the share that the likeliest answer solves, and pass@k for k = 1, 4, 16 and so on up to all samples."""
        count = max(len(self.is_right), 1)
        found = {"likeliest": sum(self.is_right) / count}
        for k in powers_up_to(self.samples):
            found[f"pass@{k}"] = sum(pass_at_k(self.samples, n, k) for n in self.num_right) / count
        return found


def powers_up_to(most: int) -> list[int]:
    """Return 1, 4, 16 and so on, and last `most` itself."""
    found = [1]
    while found[-1] * 4 <= most:
        found.append(found[-1] * 4)
    return list(dict.fromkeys((*found, most)))


@dataclass(frozen=True)
class SolvingStage(Stage):
    """Held-out problems before models, in the order of the inputs. Inputs: models by name, data, tokenizer."""

    name: str
    inputs: Mapping[str, str]
    rule: str = "stated"
    """The rule that says whether an answer is right; of rules that give parts of a point, only a whole one counts."""
    limit: int = 200
    """Problems that are looked at."""
    samples: int = 16
    """Answers that are drawn to each problem, at temperature 1."""
    max_tokens: int = 256
    """The longest an answer may be."""
    num_shown: int = 4
    """Problems whose answers are shown."""
    version: int = 1

    def __post_init__(self) -> None:
        at_least(self, 1, "limit", "samples", "max_tokens")

    def check(self, recipe: Recipe) -> None:
        if self.rule not in RULES:
            raise ConfigError(f"{self.name} asks for a rule {self.rule!r}; expected one of {', '.join(RULES)}")

    def run(self, context: Context) -> Summary:
        """Write solved.txt and solved.json into the run's directory."""
        problems = held_out_problems(context.parent(self, "data") / "held_out.jsonl", self.limit)
        roles = [role for role in self.inputs if role not in NOT_MODELS]
        found: dict[str, Solved] = {}
        for number, role in enumerate(roles):
            context.display.update(number, len(roles), None, 0.0, 0.0, f"held-out problems: {role}")
            found[role] = self.solve(
                port_of(self, context, role), problems, derive_seed(context.recipe.seed, self.name)
            )
        shares = {role: solved.shares() for role, solved in found.items()}
        lines = [shares_table(shares).rstrip(), "", *sentences(found)]
        for number, problem in enumerate(problems[: self.num_shown]):
            lines += ["", f"> {problem.messages[-1].text}"]
            lines += [f"  {role}: {solved.likeliest[number]}" for role, solved in found.items()]
        write_text(context.run.path / f"{self.name}.txt", "\n".join(lines) + "\n")
        details = {role: {"right": solved.num_right, "likeliest": solved.likeliest} for role, solved in found.items()}
        new = {role: newly_solved(found[roles[0]], found[role]) for role in roles[1:]}
        write_json(context.run.path / f"{self.name}.json", {"shares": shares, "newly_solved": new, "problems": details})
        outputs = [f"{self.name}.txt", f"{self.name}.json"]
        return {"shares": shares, "newly_solved": new, "outputs": outputs, "shown": outputs[:1]}

    def solve(self, port: LocalPort, problems: Sequence[Conversation], seed: int) -> Solved:
        """Let a model answer problems, greedily and in samples."""
        rule = RULES[self.rule]
        likeliest = port.ask_many(problems, Sampling(max_tokens=self.max_tokens, temperature=0.0))
        asked = [problem for problem in problems for _ in range(self.samples)]
        drawn = port.ask_many(asked, Sampling(max_tokens=self.max_tokens, temperature=1.0), seed=seed)
        right = [rule(problem, answer.text) >= 1.0 for problem, answer in zip(asked, drawn, strict=True)]
        return Solved(
            [answer.text for answer in likeliest],
            [rule(problem, answer.text) >= 1.0 for problem, answer in zip(problems, likeliest, strict=True)],
            [sum(right[at : at + self.samples]) for at in range(0, len(right), self.samples)],
            self.samples,
        )


def held_out_problems(file: Path, limit: int) -> list[Conversation]:
    """Return the first held-out problems; of chats, each up to its last answer."""
    found = []
    for one in read_conversations(file)[:limit]:
        asked = asked_before_last_answer(one) if one.messages[-1].role == "assistant" else one
        found += [asked] if asked is not None else []
    return found


def newly_solved(before: Solved, after: Solved) -> int:
    """Count the problems that are solved by the likeliest answer afterwards, and before were by none of the samples."""
    return sum(is_right and not num for is_right, num in zip(after.is_right, before.num_right, strict=True))


def sentences(found: Mapping[str, Solved]) -> list[str]:
    """Say for the first and last model how far the likeliest answer has come, and whether that is new."""
    names, solved = list(found), list(found.values())
    first, last, before, after = names[0], names[-1], solved[0], solved[-1]
    count, num_right = len(after.is_right), sum(after.is_right)
    sure = wilson(num_right, count)
    said = [
        f"of {count} held-out problems the likeliest answer of {last} solves {num_right / count:.1%} "
        f"({sure.low:.1%} to {sure.high:.1%}), of {first} {sum(before.is_right) / count:.1%}"
    ]
    if not any(before.num_right):
        said.append(
            f"in {before.samples} samples to each, {first} solves none of them: reinforcement has nothing to begin with; "
            "let it learn from some answers first (jielong adapt MODEL --chat FILE.jsonl)"
        )
    elif last != first:
        never = sum(not num for num in before.num_right)
        said.append(
            f"{never} of them {first} solved in none of {before.samples} samples; "
            f"{newly_solved(before, after)} of these {last} solves now"
        )
    return said
