"""The stage that measures a reward model on unseen answers, beside a bag of words and, where there are several, together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch

from jielong.evaluate.bag_of_words import fit_bag_of_words
from jielong.evaluate.comparing_scores import Compared, ensemble_figures, ensemble_lines, figures_of, lines_of
from jielong.evaluate.statistics import calibration_error
from jielong.model import hf
from jielong.model.transformer import ScalarModel
from jielong.records import Message, Preference
from jielong.runs import write_json, write_text
from jielong.stages.models import open_tokenizer
from jielong.stages.recipe import Context, Stage, Summary
from jielong.stages.sources import FolderMaterial, material_of
from jielong.stages.train import on_machine
from jielong.tokens.chat import RenderedAnswer, RenderedPair, render_preference
from jielong.train.rewards import score_rows

MOST_LEARNED = 5000
"""Comparisons to which the bag of words is fitted at most."""


@dataclass(frozen=True)
class RewardedStage(Stage):
    """A reward model on held-out comparisons and marks. Inputs: reward, data, tokenizer; reward_2 and so on make an
    ensemble.
    """

    name: str
    inputs: Mapping[str, str]
    version: int = 2

    def run(self, context: Context) -> Summary:
        """Write reward.json and reward.txt into the run's directory."""
        material = material_of(self.inputs["data"], context, open_tokenizer(self, context))
        members = [self._open(role, context) for role in self.inputs if role.partition("_")[0] == "reward"]
        longest = members[0].config.max_position_embeddings
        held = held_comparisons(material, longest)
        found = {"": {"pairs": 0.0}}
        if held.pairs:
            scores = held.scores(members)
            found = {"": figures_of((scores[0, 0::2] - scores[0, 1::2]).tolist(), held.compared)}
            found["words"] = on_words(material, held)
            if len(members) > 1:
                found["together"] = ensemble_figures(scores, held.compared)
        if material.holds == "ratings":
            answers = [a for a in material.answers("held_out") if len(a.answer.ids) <= longest]
            found["marks"] = on_marks(members[0], answers)
        lines = figures(found)
        measures = {
            f"{part}_{name}" if part in ("words", "together") else name: value
            for part, of_part in found.items()
            for name, value in of_part.items()
        }
        context.display.message("\n".join(lines))
        write_text(context.run.path / "reward.txt", "\n".join(lines) + "\n")
        write_json(context.run.path / "reward.json", measures)
        return {"measures": measures, "outputs": ["reward.json", "reward.txt"], "shown": ["reward.txt"]}

    def _open(self, role: str, context: Context) -> ScalarModel:
        """Load the reward model that plays `role`."""
        model = on_machine(hf.load(context.checkpoint(self.inputs[role])), context.machine)
        assert isinstance(model, ScalarModel)
        return model


@dataclass(frozen=True)
class HeldComparisons:
    """Held-out comparisons that are no tie, rendered, each with the better answer first, and the same as texts."""

    pairs: list[tuple[tuple[int, ...], tuple[int, ...]]]
    texts: list[tuple[str, str]]
    compared: list[Compared]

    def scores(self, members: Sequence[ScalarModel]) -> np.ndarray:
        """Return the scores (K, 2 P) of reward models, those of the better and the worse answer in turns."""
        rows = [ids for both in self.pairs for ids in both]
        return np.stack([score_rows(model, rows).double().numpy() for model in members])


def held_comparisons(material: FolderMaterial, longest: int) -> HeldComparisons:
    """Collect the held-out comparisons whose answers have at most `longest` tokens."""
    held = HeldComparisons([], [], [])
    prompts: dict[tuple[Message, ...], int] = {}
    for one in material.preferences("held_out"):
        rendered = render_preference(one, material.tokenizer)
        better, worse = _sides(rendered)
        if one.label == 0.5 or max(len(better), len(worse)) > longest:
            continue
        held.pairs.append((better, worse))
        held.texts.append(answers_in_order(one))
        held.compared.append(Compared(len(better) - len(worse), prompts.setdefault(one.prompt, len(prompts))))
    return held


def _sides(pair: RenderedPair) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the ids of the better and of the worse answer."""
    return (pair.chosen.ids, pair.rejected.ids) if pair.label > 0.5 else (pair.rejected.ids, pair.chosen.ids)


def answers_in_order(one: Preference) -> tuple[str, str]:
    """Return the texts of the better and of the worse answer."""
    chosen, rejected = ("\n".join(m.text for m in side if m.role == "assistant") for side in (one.chosen, one.rejected))
    return (chosen, rejected) if one.label > 0.5 else (rejected, chosen)


def on_words(material: FolderMaterial, held: HeldComparisons) -> dict[str, float]:
    """Compute the figures of a bag of words that is fitted to the comparisons to learn from."""
    learned = [p for p in material.preferences("train") if p.label != 0.5][:MOST_LEARNED]
    prompts: dict[tuple[Message, ...], int] = {}
    of_prompt = [prompts.setdefault(p.prompt, len(prompts)) for p in learned]
    if not learned:
        return {"pairs": 0.0}
    better, worse = zip(*map(answers_in_order, learned), strict=True)
    bag = fit_bag_of_words(better, worse, of_prompt)
    return figures_of([bag.score(a) - bag.score(b) for a, b in held.texts], held.compared)


def on_marks(model: ScalarModel, answers: Sequence[RenderedAnswer]) -> dict[str, float]:
    """Compute figures on single answers: "marks_accuracy", the score's sign is that of the mark, and the error of
    sigmoid(score).
    """
    decided = [a for a in answers if a.mark is not None and a.mark != 0.5]
    if not decided:
        return {"marks": 0.0}
    likely = torch.sigmoid(score_rows(model, [a.answer.ids for a in decided]))
    marks = torch.tensor([cast(float, a.mark) for a in decided])
    right = ((likely > 0.5) == (marks > 0.5)).double()
    error = calibration_error(likely.tolist(), marks.tolist())
    return {"marks": float(len(decided)), "marks_accuracy": float(right.mean()), "marks_calibration_error": error}


def figures(found: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Format the figures in lines: the reward model's, several together, those on marks, and a bag of words'."""
    lines = lines_of(found[""])
    if "together" in found:
        lines += ensemble_lines(found["together"])
    marks = found.get("marks", {})
    if marks.get("marks"):
        lines.append(
            f"of {marks['marks']:,.0f} held-out marks it tells good from bad in {marks['marks_accuracy']:.1%}; "
            f"calibration error {marks['marks_calibration_error']:.3f}"
        )
    if "words" in found:
        lines += lines_of(found["words"], "a bag of words, which knows no order,")
    return lines or ["nothing was held out that could be compared"]
