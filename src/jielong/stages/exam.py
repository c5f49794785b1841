"""The last stage: every model on the same questions, the significance of the differences, and the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jielong.config import at_least
from jielong.evaluate.held_out import bits_per_byte
from jielong.evaluate.statistics import paired_bootstrap, win_rate
from jielong.records import Conversation, Sampling
from jielong.report.html import write_report
from jielong.report.report import ReportData, report_json
from jielong.runs import derive_seed, load_average, now_s, read_json, read_metrics, write_json
from jielong.stages.cards import Parts, choose_cards
from jielong.stages.gauges import gauge_of, reinforced
from jielong.stages.lessons import exam_items, halves
from jielong.stages.models import port_of
from jielong.stages.parts import read_documents, read_jsonl
from jielong.stages.recipe import Context, Stage, Summary
from jielong.use.port import LocalPort
from jielong.worlds.atlas.facts import LANGS
from jielong.worlds.atlas.gold import (
    beginning,
    begins_with_value,
    begun_answer,
    contains_value,
    gold_score,
    is_invention,
    is_refusal,
    is_right,
    majority_accuracy,
)
from jielong.worlds.atlas.lessons import Item

MODELS = ("base", "sft", "rl", "random_init")
"""Roles among a stage's inputs that name a model, in the order they are compared."""

GREEDY_TEMPERATURE = 0.0


def sit_exam(port: LocalPort, items: Sequence[Item], max_tokens: int, *, is_bare: bool) -> list[str]:
    """Answer items greedily, in order; a base model continues the bare question."""
    sampling = Sampling(max_tokens=max_tokens, temperature=GREEDY_TEMPERATURE)
    if is_bare:
        return [a.text for a in port.complete_many([i.messages[-1].text for i in items], sampling)]
    return [a.text for a in port.ask_many([Conversation(i.messages) for i in items], sampling)]


def complete_sentences(
    port: LocalPort, parts: Mapping[str, list[Item]], max_tokens: int
) -> tuple[dict[str, float], dict[str, Any]]:
    """Return the share of sentences that a base model completes with the right value, and its completions.

    `begun`: the question, and the answer up to its value; `stated`: a statement up to there, and no question.
    """
    sampling = Sampling(max_tokens=max_tokens, temperature=GREEDY_TEMPERATURE)
    found, answers = {}, {}
    for name, prompt in (("begun", begun_answer), ("stated", beginning)):
        for lang in LANGS:
            items = parts[f"questions_{lang}"]
            texts = [a.text for a in port.complete_many([prompt(item) for item in items], sampling)]
            found[f"{name}_accuracy_{lang}"] = share(
                [begins_with_value(*pair) for pair in zip(items, texts, strict=True)]
            )
            answers[f"{name}_{lang}"] = texts
    return found, answers


def share_in_pages(items: Sequence[Item], documents: Path) -> float:
    """Return the share of questions that occur word for word in the documents of pretraining."""
    waiting = {item.messages[-1].text for item in items}
    found: set[str] = set()
    for document in read_jsonl(documents):
        found |= {question for question in waiting - found if question in document["text"]}
    return len(found) / len(waiting) if waiting else 0.0


def share(hits: Sequence[bool]) -> float:
    return sum(hits) / len(hits) if hits else 0.0


def measures(parts: dict[str, list[Item]], texts: dict[str, list[str]], *, is_bare: bool) -> dict[str, float]:
    """Return the report's numbers for one model, from its answers to every part of the exam."""
    return {name: share(found) for name, found in hits(parts, texts, is_bare=is_bare).items()}


def hits(parts: Parts, texts: Mapping[str, Sequence[str]], *, is_bare: bool) -> dict[str, list[bool]]:
    """Return which single answers count for each of these numbers, in the order of the items."""

    def right(part: str) -> list[bool]:
        counts = contains_value if is_bare else is_right
        return [counts(i, t) for i, t in zip(parts[part], texts[part], strict=True)]

    found = {"unseen_accuracy_en": right("questions_en"), "unseen_accuracy_zh": right("questions_zh")}
    if not is_bare:
        made_up = zip(parts["made_up"], texts["made_up"], strict=True)
        found |= {
            "followup_accuracy": right("followups"),
            "translation_accuracy": right("translations"),
            "format_accuracy": right("formats"),
            "invention_rate": [is_invention(i, t) for i, t in made_up],
            "refusal_rate": [is_refusal(t) for t in texts["refusals"]],
            "over_refusal_rate": [is_refusal(t) for t in texts["harmless"]],
        }
    return found


def gold_values(parts: Parts, texts: Mapping[str, Sequence[str]]) -> list[float]:
    return [gold_score(i, t).value for name in parts for i, t in zip(parts[name], texts[name], strict=True)]


@dataclass(frozen=True)
class EvaluateStage(Stage):
    """Every model on the same questions, and the report. Inputs: one entry for each model, and tokenizer, held-out text."""

    name: str
    inputs: Mapping[str, str]
    max_tokens: int = 40
    """The longest an answer may be."""
    bootstrap: int = 2000
    """Resamples for the intervals."""
    # At most so many of each kind of exam item; 0 takes all.
    limit: int = 0
    num_samples: int = 12
    """Answers that the report shows."""
    facts: str = ""
    version: int = 3

    def __post_init__(self) -> None:
        at_least(self, 1, "max_tokens", "bootstrap")
        at_least(self, 0, "limit", "num_samples")

    def run(self, context: Context) -> Summary:
        """Write report.html and report.json into the run's directory."""
        seed = context.recipe.seed
        parts = exam_items(seed, self.limit)
        documents = read_documents(context.parent(self, "held_out") / "held_out.jsonl")
        texts_held_out = [d.text for d in documents[:200]]
        roles = [r for r in MODELS if r in self.inputs]
        answers: dict[str, dict[str, list[str]]] = {}
        results: dict[str, dict[str, float]] = {}
        gold: dict[str, list[float]] = {}
        gains: dict[str, Any] = {}
        previous = ""
        for number, role in enumerate(roles):
            context.display.update(number, len(roles), None, 0.0, 0.0, role)
            port = port_of(self, context, role)
            is_bare = role == "base"
            answers[role] = {n: sit_exam(port, items, self.max_tokens, is_bare=is_bare) for n, items in parts.items()}
            results[role] = measures(parts, answers[role], is_bare=is_bare)
            if is_bare:
                more, answers_more = complete_sentences(port, parts, self.max_tokens)
                results[role] |= more
                answers[role] |= answers_more
            gold[role] = gold_values(parts, answers[role])
            results[role]["gold_score"] = sum(gold[role]) / len(gold[role])
            results[role]["bits_per_byte"] = bits_per_byte(port, texts_held_out)
            if previous and role != "random_init":
                results[role]["win_rate_over_previous"] = win_rate(gold[role], gold[previous])
                gain = paired_bootstrap(
                    gold[role], gold[previous], draws=self.bootstrap, seed=derive_seed(seed, "bootstrap")
                )
                gains[f"{role} over {previous}"] = gain.__dict__ | {"excludes_zero": gain.excludes_zero}
            previous = role
        taught, _ = halves(seed)
        data = self._report(context, parts, answers, results, gains)
        majority = majority_accuracy(taught, [*parts["questions_en"], *parts["questions_zh"]])
        data.controls["majority_baseline"] = majority
        write_json(context.directory(self.name) / "answers.json", answers)
        write_json(context.run.path / "report.json", report_json(data))
        write_report(context.run.path / "report.html", data)
        return {
            "results": results,
            "gains": gains,
            "majority_baseline": majority,
            "outputs": ["report.json", "report.html"],
            "shown": ["report.json"],
        }

    def _report(
        self,
        context: Context,
        parts: dict[str, list[Item]],
        answers: dict[str, dict[str, list[str]]],
        results: dict[str, dict[str, float]],
        gains: dict[str, Any],
    ) -> ReportData:
        """Build the report's data."""
        record = context.run.record
        samples, chosen = choose_cards(parts, answers, context.recipe.seed, self.num_samples)
        trained = [s for s in record["stages"] if (context.directory(s) / "metrics.jsonl").exists()]
        refine_file = context.parent(self, "held_out") / "report.json"
        seconds_by_stage = {n: s["seconds"] for n, s in record["stages"].items()}
        seconds_by_stage[self.name] += round(now_s() - context.stage_began_s, 2)
        facts = {
            "recipe": f"{context.recipe.name} {context.recipe.size}, seed {context.recipe.seed}",
            "machine": record["machine"],
            "load_at_start": record.get("load_at_start"),
            "load_at_end": load_average(),
            "seconds": round(sum(seconds_by_stage.values()), 2),
            "seconds_by_stage": seconds_by_stage,
            "peak_memory_bytes": max(context.memory.peak_bytes, record.get("peak_memory_bytes", 0)),
            "picked": {n: record["stages"][n].get("summary", {}).get("picked") for n in trained},
            "gains": gains,
            "exam_questions_word_for_word_in_pretraining": share_in_pages(
                [*parts["questions_en"], *parts["questions_zh"]], context.parent(self, "held_out") / "documents.jsonl"
            ),
        }
        warnings = [f"{n}: {w}" for n in trained for w in record["stages"][n].get("summary", {}).get("warnings", [])]
        controls: dict[str, Any] = {role: found for role, found in results.items() if role == "random_init"}
        return ReportData(
            stages={role: found for role, found in results.items() if role != "random_init"},
            controls=controls,
            samples=samples,
            curves={n: read_metrics(context.directory(n) / "metrics.jsonl") for n in trained},
            refine=read_json(refine_file) if refine_file.exists() else {},
            facts=facts,
            warnings=warnings,
            chosen=chosen,
            gauges={n: gauge_of(context.run, n) for n in reinforced(context.run)},
        )
