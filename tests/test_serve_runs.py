"""Runs as the page shows them: while they are trained and after, with the same prompts put to each checkpoint."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from tests.serving import Served, serving, tiny_model
from tests.toys.echoes import echoes

from jielong.runs import Run
from jielong.runs.finding import newest_checkpoint
from jielong.serve.models import Models
from jielong.serve.watching import PROMPTS, Watcher, samples_of
from jielong.stages.execute import run_recipe


class Silent:
    """A display that shows nothing."""

    def __getattr__(self, name: str):
        return lambda *args, **more: None


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    run_recipe(echoes(), folder / "runs", Silent())
    tiny_model(folder / "tiny")
    return folder


@pytest.fixture(scope="module")
def served(folder):
    with serving((str(folder / "tiny"),), folder) as found:
        found.open_page()
        yield found


def name_of(served: Served) -> str:
    (run,) = served.page.get("/api/runs").json()["runs"]
    return run["name"]


def test_a_finished_run_has_its_stages_and_curves(served):
    run = served.page.get(f"/api/runs/{name_of(served)}").json()
    assert run["state"] == "finished" and [stage["name"] for stage in run["stages"]] == [
        "proverbs",
        "tokenizer",
        "parrot",
    ]
    parrot = run["stages"][-1]
    steps = [step for step, _ in parrot["metrics"]["loss"]]
    assert steps == sorted(steps) and len(steps) > 5 and parrot["progress"] == 1
    assert {"name": "parrot", "parent": "tokenizer"} in run["family"]


def test_new_points_come_alone_and_once(served, folder):
    run = Run(folder / "runs" / name_of(served))
    metrics = run.stage_path("parrot") / "metrics.jsonl"
    before = metrics.read_bytes()
    last = json.loads(before.splitlines()[-1])
    with served.page.stream("GET", f"/api/runs/{run.path.name}/events") as response:
        lines = response.iter_lines()
        assert next(line for line in lines if line.startswith("event: ")) == "event: stage"
        with metrics.open("ab") as file:
            file.write(json.dumps({**last, "step": last["step"] + 1, "loss": 0.25}).encode() + b"\n")
        name = next(line for line in lines if line == "event: metrics")
        data = json.loads(next(lines).removeprefix("data: "))
    metrics.write_bytes(before)
    assert name and data["stage"] == "parrot" and data["metrics"]["loss"] == [[last["step"] + 1, 0.25]]


def test_a_run_at_work_is_told_apart_from_one_that_was_stopped(served, folder):
    run = Run(folder / "runs" / name_of(served))
    assert not run.is_at_work
    with run.alone():
        assert Run(run.path).is_at_work
        assert served.page.get("/api/runs").json()["runs"][0]["state"] == "running"


def test_a_watcher_offers_the_newest_checkpoint_and_asks_it_the_same_prompts(folder):
    (path,) = (folder / "runs").iterdir()
    models = Models((str(folder / "tiny"),))
    watcher = Watcher(path, models)

    async def look() -> None:
        task = asyncio.create_task(watcher.run())
        while not samples_of(path):
            await asyncio.sleep(0.02)
        task.cancel()

    asyncio.run(asyncio.wait_for(look(), 60))
    assert [sample["prompt"] for sample in samples_of(path)] == list(PROMPTS)
    assert {sample["stage"] for sample in samples_of(path)} == {"parrot"}
    assert models.default.name == f"{path.name}:newest" and models.default.folder == newest_checkpoint(path)
    assert models.offers(f"{path.name}:parrot")


@pytest.mark.parametrize("name", ["..", "nobody", ".hidden", "a/b", "x" * 300])
def test_only_runs_of_the_folder_are_opened(served, name):
    assert served.page.get(f"/api/runs/{name}").status_code == 404
