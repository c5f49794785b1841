"""A stage of a new kind, in one file: documents out of a few proverbs."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from jielong.records import Document
from jielong.runs import derive_seed
from jielong.stages.parts import write_jsonl
from jielong.stages.recipe import Context, Stage, Summary

PROVERBS = (
    "Many hands make light work.",
    "人多力量大。",
    "Still waters run deep.",
    "静水流深。",
    "Practice makes perfect.",
)


@dataclass(frozen=True)
class ProverbsStage(Stage):
    """`documents` texts, each some proverbs one after the other."""

    name: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    documents: int = 40
    version: int = 1

    def run(self, context: Context) -> Summary:
        rng = random.Random(derive_seed(context.recipe.seed, self.name))
        made = [Document(" ".join(rng.choices(PROVERBS, k=8))) for _ in range(self.documents)]
        folder = context.directory(self.name)
        write_jsonl(folder / "documents.jsonl", made[2:])
        write_jsonl(folder / "held_out.jsonl", made[:2])
        return {"holds": "documents", "documents": self.documents}
