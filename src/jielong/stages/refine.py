"""The stage that turns pages into clean documents."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from jielong.data.refine import RefineConfig, refine
from jielong.data.splits import choose_held_out
from jielong.errors import ConfigError, DataError
from jielong.runs import derive_seed, now_s, write_json, write_text
from jielong.stages.pages import PagesStage
from jielong.stages.parts import write_jsonl
from jielong.stages.recipe import Context, Recipe, Stage, Summary


@dataclass(frozen=True)
class RefineStage(Stage):
    """Pages to clean documents. Input: pages."""

    name: str
    inputs: Mapping[str, str]
    refine: RefineConfig = RefineConfig()
    held_out_fraction: float = 0.02
    """The share of documents that nothing is trained on, for measuring."""
    version: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.held_out_fraction < 1:
            raise ConfigError(f"held_out_fraction is {self.held_out_fraction}; it must lie between 0 and 1")

    def _pages(self, recipe: Recipe) -> PagesStage:
        """Return the stage of pages among the inputs. Raises ConfigError if it is another kind."""
        stage = recipe.stage(self.inputs["pages"])
        if not isinstance(stage, PagesStage):
            raise ConfigError(f"{self.name} takes its pages from {stage.name!r}, which holds none")
        return stage

    def check(self, recipe: Recipe) -> None:
        self._pages(recipe)

    def run(self, context: Context) -> Summary:
        """Write documents.jsonl, held_out.jsonl and the counts of dropped texts by reason."""
        source = self._pages(context.recipe)
        total, start_s = context.summary(source.name)["pages"], now_s()

        def show(done: int) -> None:
            # the first page pays for what is loaded with it and says nothing about the rest
            left_s = (now_s() - start_s) / done * (total - done) if done > total / 50 else 0.0
            context.display.update(done, total, None, 0.0, left_s, "pages")

        documents, report = refine(source.pages(context), self.refine, show)
        if len(documents) < 2:
            raise DataError(
                f"refining left {len(documents)} documents of {report.num_pages} pages; at least 2 are needed\n{report}"
            )
        order = list(range(len(documents)))
        random.Random(derive_seed(context.recipe.seed, self.name, "held out")).shuffle(order)
        num_held_out = max(1, round(len(documents) * self.held_out_fraction))
        # in shuffled order, so that what is chosen beyond the usual ones is a matter of chance too
        sizes = [float(len(documents[i].text)) for i in order]
        chosen = choose_held_out(sizes, range(num_held_out), self.held_out_fraction) or {
            min(range(len(sizes)), key=sizes.__getitem__)
        }
        held_out = {order[place] for place in chosen}
        directory = context.directory(self.name)
        write_jsonl(directory / "documents.jsonl", (d for i, d in enumerate(documents) if i not in held_out))
        write_jsonl(directory / "held_out.jsonl", (d for i, d in enumerate(documents) if i in held_out))
        write_json(directory / "report.json", report.to_dict())
        write_text(directory / "report.txt", str(report))
        context.display.message(str(report))
        return {"holds": "documents"} | report.to_dict() | {"examples": {}}
