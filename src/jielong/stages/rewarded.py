"""The stage that measures a reward model on unseen answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch

from jielong.evaluate.statistics import calibration_error, wilson
from jielong.model import hf
from jielong.model.transformer import ScalarModel
from jielong.runs import write_json, write_text
from jielong.stages.models import open_tokenizer
from jielong.stages.recipe import Context, Stage, Summary
from jielong.stages.sources import material_of
from jielong.stages.train import on_machine
from jielong.tokens.chat import RenderedAnswer, RenderedPair
from jielong.train.rewards import score_rows


@dataclass(frozen=True)
class RewardedStage(Stage):
    """A reward model on held-out comparisons and marks. Inputs: reward, data, tokenizer."""

    name: str
    inputs: Mapping[str, str]
    version: int = 1

    def run(self, context: Context) -> Summary:
        """Write reward.json and reward.txt into the run's directory."""
        model = on_machine(hf.load(context.checkpoint(self.inputs["reward"])), context.machine)
        assert isinstance(model, ScalarModel)
        material = material_of(self.inputs["data"], context, open_tokenizer(self, context))
        longest = model.config.max_position_embeddings
        pairs = [p for p in material.pairs("held_out") if max(len(p.chosen.ids), len(p.rejected.ids)) <= longest]
        found = on_pairs(model, pairs)
        if material.holds == "ratings":
            answers = [a for a in material.answers("held_out") if len(a.answer.ids) <= longest]
            found |= on_marks(model, answers)
        lines = figures(found)
        context.display.message("\n".join(lines))
        write_text(context.run.path / "reward.txt", "\n".join(lines) + "\n")
        write_json(context.run.path / "reward.json", found)
        return {"measures": found, "outputs": ["reward.json", "reward.txt"], "shown": ["reward.txt"]}


def on_pairs(model: ScalarModel, pairs: Sequence[RenderedPair]) -> dict[str, float]:
    """Compute figures on comparisons that are no tie; only "pairs": 0 if all are ties.

    "accuracy": how often the better answer has the higher score; also among the pairs whose better answer is the
    "longer" or the "shorter" one, as scores like length. "calibration_error": of sigmoid(score difference) as the
    probability that the answer with the higher score is the better one.
    """
    decided = [p for p in pairs if p.label != 0.5]
    if not decided:
        return {"pairs": 0.0}
    sides = [(p.chosen, p.rejected) if p.label > 0.5 else (p.rejected, p.chosen) for p in decided]
    scores = score_rows(model, [side.ids for both in sides for side in both])
    gaps = (scores[0::2] - scores[1::2]).double()
    right = (gaps > 0).double()
    longer = torch.tensor([len(better.ids) - len(worse.ids) for better, worse in sides])
    found = {"pairs": float(len(decided)), "accuracy": float(right.mean()), "gap": float(gaps.mean())}
    found["calibration_error"] = calibration_error(torch.sigmoid(gaps.abs()).tolist(), right.tolist())
    for name, chosen in (("longer", longer > 0), ("shorter", longer < 0)):
        if chosen.any():
            found |= {f"pairs_{name}": float(chosen.sum()), f"accuracy_{name}": float(right[chosen].mean())}
    return found


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


def figures(found: Mapping[str, float]) -> list[str]:
    """Format the figures in lines."""
    lines = []
    if found["pairs"]:
        count = int(found["pairs"])
        sure = wilson(round(found["accuracy"] * count), count)
        lines.append(
            f"of {count:,} held-out comparisons the reward model decides {found['accuracy']:.1%} as people did "
            f"({sure.low:.1%} to {sure.high:.1%}); calibration error {found['calibration_error']:.3f}"
        )
        lines += [
            f"  where the better answer is the {name} one: {found[f'accuracy_{name}']:.1%} of {found[f'pairs_{name}']:,.0f}"
            for name in ("longer", "shorter")
            if f"pairs_{name}" in found
        ]
    if found.get("marks"):
        lines.append(
            f"of {found['marks']:,.0f} held-out marks it tells good from bad in {found['marks_accuracy']:.1%}; "
            f"calibration error {found['marks_calibration_error']:.3f}"
        )
    return lines or ["nothing was held out that could be compared"]
