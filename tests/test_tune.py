"""`jielong tune`: trials of what a recipe offers, kept however they end, taken up again, and the best one as a recipe."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jielong.cli.main import main
from jielong.cli.tune import ranked, seconds_of
from jielong.config import get_field
from jielong.errors import CheckpointError, ConfigError
from jielong.recipes.own import own
from jielong.recipes.quickstart import quickstart
from jielong.recipes.shared.written import WrittenRecipe, read_recipe, write_recipe
from jielong.runs import Run, read_json, read_metrics
from jielong.stages.recipe import Offer, Recipe, Search, Silent, change
from jielong.stages.train import TrainStage
from jielong.tuning.proposals import importances, is_hopeless, propose
from jielong.tuning.study import Study, Trial, best_of, read_trials
from jielong.tuning.tune import choose_search, tune

ANIMALS = "cat dog hen cow fox owl bee ant pig rat".split()
TINY = (
    "pretrain.model.hidden_size=32",
    "pretrain.model.intermediate_size=48",
    "pretrain.model.head_dim=16",
    "pretrain.source.length=32",
    "pretrain.loop.steps=9",
    "pretrain.loop.max_attempts=0",
    "pretrain.check_every=3",
    "pretrain.optimizer.warmup_steps=5",
    "tokenizer.tokenizer.vocab_size=400",
)
SETS = tuple(part for setting in TINY for part in ("--set", setting))


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    for i in range(30):
        lines = [
            f"The {a} of farm {i} sleeps in house {(j * 7 + i) % 50} and it likes to eat {ANIMALS[-j]} food in spring."
            for j, a in enumerate(ANIMALS)
        ]
        (folder / f"{i}.txt").write_text(f"Farm {i}\n\n" + "\n".join(lines[i % 5 :]))
    return folder


def written(pages: Path) -> WrittenRecipe:
    return WrittenRecipe("own", "smoke", source=str(pages))


def offering(monkeypatch, *offers: Offer) -> None:
    """From here on own offers this for pretraining."""
    monkeypatch.setattr(sys.modules[own.__module__], "FROM_RANDOM", offers)


def on_the_machine_of(runs: Path, other: Path) -> None:
    """Let the run to come in `other` multiply in the format that was picked for the one in `runs`."""
    (run,) = (path for path in runs.iterdir() if path.is_dir())
    Run(other / run.name).update(machine=Run(run).record["machine"])


def made_up(number: int, lr: float, *found: float, **more) -> Trial:
    checks = tuple((3 * (i + 1), v) for i, v in enumerate(found))
    return Trial(number, more.pop("state", "done"), {"optimizer.lr": lr}, min(found, default=None), checks, **more)


def study_of(pages: Path, folder: Path = Path("nowhere")) -> Study:
    recipe = change(own(pages, None, None, "smoke"), TINY)
    return Study(recipe, Search("pretrain", (Offer("optimizer.lr", 1e-4, 1e-1, log=True),)), folder)


# What is offered -----------------------------------------------------------------------------------------------------


def test_what_recipes_do_by_default_lies_within_what_they_offer(pages, tmp_path):
    chats, pairs = tmp_path / "chats.jsonl", tmp_path / "pairs.jsonl"
    said = [{"role": "user", "content": "hi"}], [{"role": "assistant", "content": "hello"}]
    chats.write_text((json.dumps({"messages": said[0] + said[1]}) + "\n") * 20)
    pairs.write_text((json.dumps({"prompt": said[0], "chosen": said[1], "rejected": "No."}) + "\n") * 20)
    recipes = [
        build(size) for size in ("default", "smoke") for build in (quickstart, lambda s: own(pages, chats, pairs, s))
    ]
    assert [s.stage for s in recipes[1].searches] == ["pretrain", "sft", "reward"]
    for recipe in recipes:
        for search in recipe.searches:
            stage = recipe.stage(search.stage)
            assert isinstance(stage, TrainStage)
            assert search.steps <= stage.loop.steps
            for offer in search.offers:
                assert offer.holds(get_field(stage, offer.field)), (recipe.name, search.stage, offer)
    assert [s.stage for s in own(pages, None, None).searches] == ["pretrain"]


def test_an_offer_for_what_is_not_there_is_refused_at_the_door():
    with pytest.raises(ConfigError, match="no stage of"):
        Recipe("r", "s", 0, (), searches=(Search("pretrain", ()),))
    with pytest.raises(ConfigError, match=r"did you mean 'optimizer\.lr'"):
        Recipe("r", "s", 0, quickstart().stages, searches=(Search("sft", (Offer("optimizer.lrr", 1, 2),)),))
    with pytest.raises(ConfigError, match="must rise"):
        Offer("optimizer.lr", 2, 1)


def test_a_field_that_is_held_is_not_searched():
    recipe = change(quickstart(), ["pretrain.optimizer.name=adamw"])
    held = ["pretrain.optimizer.name=adamw", "pretrain.optimizer.lr=5"]
    fields = [o.field for o in choose_search(recipe, None, held).offers]
    assert fields == ["optimizer.warmup_steps", "optimizer.decay_fraction", "optimizer.weight_decay"]  # no muon_lr
    with pytest.raises(ConfigError, match="outside of what is searched; hold it with --set"):
        choose_search(change(quickstart(), ["sft.optimizer.lr=5"]), "sft", [])
    with pytest.raises(ConfigError, match="did you mean 'sft'"):
        choose_search(quickstart(), "stf", [])
    with pytest.raises(ConfigError, match="leave one of them free"):
        choose_search(quickstart(), "sft", [f"sft.optimizer.{n}=1" for n in ("lr", "warmup_steps", "weight_decay")])


# Proposals and judgements --------------------------------------------------------------------------------------------


def test_the_first_trial_is_the_recipe_and_the_next_a_function_of_those_before(pages):
    study = study_of(pages)
    assert propose(study, []) == {"optimizer.lr": 3e-3}
    trials = [made_up(i, lr, 3.0, 2.0) for i, lr in enumerate((3e-3, 1e-2, 2e-4))]
    assert propose(study, trials) == propose(study, trials)
    assert propose(study, trials) != propose(study, trials[:2])


def test_proposals_gather_where_trials_were_good_and_keep_away_from_where_they_diverged(pages):
    study = study_of(pages)
    trials = []
    for i in range(30):
        settings = propose(study, trials)
        assert settings is not None
        lr = settings["optimizer.lr"]
        if lr > 3e-2:
            trials.append(made_up(i, lr, state="failed", cause="DivergedError: too fast"))
        else:
            trials.append(made_up(i, lr, 3.0, abs(lr - 1e-2) * 100))
    late = [t.settings["optimizer.lr"] for t in trials[15:]]
    assert sum(5e-3 < lr < 2e-2 for lr in late) > len(late) / 3  # a fifth of the range
    assert sum(lr > 3e-2 for lr in late) < 4
    found = importances(study, trials)
    assert found == {"optimizer.lr": 1.0}
    assert importances(study, trials[:5]) == {}


def test_a_trial_is_hopeless_when_it_is_worse_than_half_of_the_others_were_there(pages):
    study = study_of(pages)  # 9 steps: nothing is stopped before the third
    ended = [made_up(i, 1e-3 + i * 1e-4, v, v - 1) for i, v in enumerate((4.0, 5.0, 6.0, 7.0))]
    # the median at step 3 is 5.5, at step 6 it is 4.5
    assert is_hopeless(study, ended, {3: 5.6})
    assert not is_hopeless(study, ended, {3: 5.4})
    assert is_hopeless(study, ended, {3: 5.4, 6: 4.6})
    assert not is_hopeless(study, ended, {2: 9.0})
    assert not is_hopeless(study, ended[:3], {3: 9.0})


def test_the_table_has_the_best_first_and_the_failed_last():
    trials = (
        made_up(0, 1, 3.0),
        made_up(1, 2, state="failed"),
        made_up(2, 3, 2.0),
        Trial(3, "pruned", {}, None, ((3, 4.0),)),
        Trial(4, "pruned", {}, None, ((3, 4.0), (6, 4.0))),
    )
    assert [t.number for t in ranked(trials)] == [2, 0, 4, 3, 1]
    assert best_of(trials) == trials[2]


# The search ----------------------------------------------------------------------------------------------------------


def test_the_best_is_a_recipe_that_runs_with_the_same_stage_and_is_not_trained_twice(pages, tmp_path, capsys):
    command = [
        "tune",
        "own",
        "--source",
        str(pages),
        "--size",
        "smoke",
        "--runs",
        str(tmp_path),
        "--trials",
        "3",
        *SETS,
    ]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert said.count("folder: begins") == said.count("refine: begins") == said.count("tokenizer: begins") == 1
    assert "the recipe's own settings" in said
    assert "optuna" not in said.lower()
    (file,) = tmp_path.glob("*/tune/*/best.json")
    assert f"jielong run {file} --runs {tmp_path}" in said
    lines = [json.loads(line) for line in (file.parent / "trials.jsonl").read_text().splitlines()]
    assert [t["number"] for t in lines] == [0, 1, 2]
    best = min(lines, key=lambda t: t["value"])
    kept = {int(p.parent.parent.name) for p in file.parent.glob("trials/*/pretrain/steps")}
    assert kept == {best["number"]}

    recipe = read_recipe(file).build()
    assert recipe.stage("pretrain").optimizer.warmup_steps == best["settings"].get("optimizer.warmup_steps", 5)
    assert main(["run", str(file), "--runs", str(tmp_path)]) == 0
    assert "pretrain: done before" in capsys.readouterr().out
    run = read_json(file.parents[2] / "run.json")["stages"]["pretrain"]
    tried = read_json(file.parent / "trials" / f"{best['number']:03d}" / "run.json")["stages"]["pretrain"]
    assert run["config"] == tried["config"]
    assert run["done"] == tried["done"]
    assert run["summary"]["last"]["held_out_loss"] == tried["summary"]["last"]["held_out_loss"]


def test_trials_that_are_shorter_say_so_and_leave_the_recipe_its_length(pages, tmp_path, capsys):
    command = [
        "tune",
        "own",
        "--source",
        str(pages),
        "--size",
        "smoke",
        "--runs",
        str(tmp_path),
        "--trials",
        "2",
        *SETS,
    ]
    assert main([*command, "--steps", "3"]) == 0
    assert "took 3 of the 9 steps" in " ".join(capsys.readouterr().out.split())
    (file,) = tmp_path.glob("*/tune/*/best.json")
    (trial, _) = read_trials(file.parent / "trials.jsonl")
    assert [step for step, _ in trial.checks] == [1, 2, 3]  # as many as in 9 steps
    recipe = read_recipe(file).build()
    assert (recipe.stage("pretrain").loop.steps, recipe.stage("pretrain").check_every) == (9, 3)


def test_a_trial_that_diverges_is_kept_with_its_cause_and_the_search_goes_on(pages, tmp_path, monkeypatch):
    offering(monkeypatch, Offer("optimizer.lr", choices=(0.003, 1e30, 0.004, 0.005)))
    tuned = tune(written(pages), tmp_path, held=TINY, budget_s=600)
    assert tuned.ended == "no settings are left that have not been tried"
    states = {t.settings["optimizer.lr"]: t for t in tuned.trials}
    assert {lr: t.state for lr, t in states.items()} == {0.003: "done", 0.004: "done", 0.005: "done", 1e30: "failed"}
    assert "DivergedError: " in states[1e30].cause
    assert states[1e30].number < 3 or tuned.trials[-1].state == "failed"
    assert tuned.study.trials() == list(tuned.trials)


def test_settings_that_are_refused_are_failures_too_and_many_in_a_row_end_the_search(pages, tmp_path, monkeypatch):
    offering(monkeypatch, Offer("optimizer.decay_fraction", 0.6, 100.0))
    tuned = tune(written(pages), tmp_path, held=TINY, budget_s=600)
    assert tuned.ended == "5 trials in a row have failed"
    assert all("ConfigError: " in t.cause and "must lie in [0, 1]" in t.cause for t in tuned.trials[-5:])
    assert tuned.best.state == "done"
    assert read_recipe(tuned.recipe_file).build().stage("pretrain").optimizer.decay_fraction <= 1


def test_a_hopeless_trial_is_stopped_early(pages, tmp_path):
    study = tune(written(pages), tmp_path, held=TINY, budget_s=600, max_trials=1).study
    first = study.trials()[0]
    better = [
        Trial(i, "done", {**first.settings, "optimizer.lr": 3e-3 + i * 1e-4}, 0.1, ((3, 0.1), (6, 0.1), (9, 0.1)))
        for i in range(1, 6)
    ]
    study.keep([first, *better])
    tuned = tune(written(pages), tmp_path, held=TINY, budget_s=600, max_trials=7)
    last = tuned.trials[-1]
    assert (last.state, last.value, [s for s, _ in last.checks]) == ("pruned", None, [3])
    metrics = read_metrics(study.trial_run(6).path / "pretrain" / "metrics.jsonl")
    assert metrics[-1]["step"] == 3


def test_a_search_that_is_stopped_and_resumed_equals_one_that_was_not(pages, tmp_path):
    whole = tune(written(pages), tmp_path / "whole", held=TINY, budget_s=600, max_trials=4)
    on_the_machine_of(tmp_path / "whole", tmp_path / "parts")
    for count in (1, 3, 4):
        parts = tune(written(pages), tmp_path / "parts", held=TINY, budget_s=600, max_trials=count)
        assert len(parts.trials) == count
    assert [(t.settings, t.checks) for t in parts.trials] == [(t.settings, t.checks) for t in whole.trials]
    spent = read_json(parts.study.folder / "study.json")["seconds"]
    assert spent > sum(t.seconds for t in parts.trials)
    parts.recipe_file.unlink()  # as a kill right after the last record would leave it
    again = tune(written(pages), tmp_path / "parts", held=TINY, budget_s=600, max_trials=4)
    assert again.trials == parts.trials
    assert read_recipe(again.recipe_file) == read_recipe(whole.recipe_file)
    assert read_json(again.study.folder / "study.json")["seconds"] >= spent


def test_killed_in_the_middle_of_a_trial_it_loses_no_trial_and_ends_the_same(pages, tmp_path):
    """kill -9 in trial 1; every step is saved, so that the trial goes on where it was."""
    sets = (*TINY, "pretrain.loop.save_every_s=-1", "pretrain.loop.steps=12", "pretrain.loop.log_every=1")
    command = [sys.executable, "-m", "jielong.cli.main", "tune", "own", "--source", str(pages), "--size", "smoke"]
    command += ["--runs", str(tmp_path / "killed"), "--trials", "2"]
    command += [part for setting in sets for part in ("--set", setting)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ)
    while process.poll() is None:
        logs = list((tmp_path / "killed").glob("*/tune/*/trials/001/pretrain/metrics.jsonl"))
        if logs and any(m["step"] >= 4 for m in read_metrics(logs[0])):
            process.send_signal(signal.SIGKILL)
        time.sleep(0.01)
    assert process.returncode == -signal.SIGKILL
    (file,) = (tmp_path / "killed").glob("*/tune/*/trials.jsonl")
    first = file.read_text()
    assert first.count("\n") == 1
    assert (file.parent / "best.json").exists()
    resumed = tune(written(pages), tmp_path / "killed", held=sets, budget_s=600, max_trials=2)
    assert file.read_text().startswith(first)
    on_the_machine_of(tmp_path / "killed", tmp_path / "whole")
    whole = tune(written(pages), tmp_path / "whole", held=sets, budget_s=600, max_trials=2)
    assert [(t.settings, t.checks) for t in resumed.trials] == [(t.settings, t.checks) for t in whole.trials]


def test_the_budget_ends_the_trial_under_way_and_what_was_spent_counts(pages, tmp_path):
    sets = (*TINY, "pretrain.loop.steps=4000", "pretrain.check_every=2000")
    with pytest.raises(ConfigError, match="no trial of pretrain has come to its end, and the budget is spent"):
        tune(written(pages), tmp_path, held=sets, budget_s=4)
    (file,) = tmp_path.glob("*/tune/*/study.json")
    spent = read_json(file)["seconds"]
    assert spent >= 4
    before = time.monotonic()
    with pytest.raises(ConfigError, match="the budget is spent"):
        tune(written(pages), tmp_path, held=sets, budget_s=4)
    assert read_json(file)["seconds"] - spent < time.monotonic() - before + 0.1


@pytest.mark.parametrize("is_short", [True, False])
def test_a_budget_for_few_trials_says_so_and_what_would_do(pages, tmp_path, monkeypatch, capsys, is_short):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys.modules[tune.__module__], "TOLD_AT", 3)
    options = ["own", "--source", str(pages), "--size", "smoke", *SETS, "--trials", "1"]
    # a trial of nine steps takes a second or so, and no machine makes five of 1,500 in nine
    longer = ["--set", "pretrain.loop.steps=1500", "--budget", "9s"] if is_short else ["--budget", "60m"]
    assert main(["tune", *options, *longer]) == (2 if is_short else 0)
    said = " ".join(capsys.readouterr().out.split())
    assert ("min and the budget holds" in said and "of them; 5 would take --budget" in said) == is_short


def test_other_settings_are_another_search(pages, tmp_path):
    first = tune(written(pages), tmp_path, held=TINY, budget_s=600, max_trials=1)
    other = tune(written(pages), tmp_path, held=(*TINY, "pretrain.optimizer.lr=0.01"), budget_s=600, max_trials=1)
    assert first.study.folder != other.study.folder
    assert len(first.study.trials()) == len(other.study.trials()) == 1
    assert "optimizer.lr" not in other.trials[0].settings


def test_a_damaged_record_of_trials_is_one_sentence(pages, tmp_path):
    study = study_of(pages, tmp_path)
    for damage in ('{"number": 1', '{"numbr": 1, "checks": []}', "[]"):
        (tmp_path / "trials.jsonl").write_text(damage + "\n")
        with pytest.raises(CheckpointError, match=r"trials\.jsonl is damaged"):
            study.trials()


@pytest.mark.parametrize("harm", [lambda text: text[: len(text) // 2], lambda text: text.replace("0.", "1.", 1)])
def test_a_search_goes_on_from_the_trials_before_the_damage_and_ends_the_same(pages, tmp_path, harm):
    whole = tune(written(pages), tmp_path, held=TINY, budget_s=600, max_trials=3)
    file = whole.study.folder / "trials.jsonl"
    first, second, third = file.read_text().splitlines(keepends=True)
    file.write_text(first + harm(second) + third)
    (whole.study.folder / "study.json").write_text("{")
    with pytest.raises(CheckpointError, match="line 2"):
        whole.study.trials()
    display = Said()
    again = tune(written(pages), tmp_path, held=TINY, budget_s=600, max_trials=3, display=display)
    assert [(t.settings, t.checks, t.value) for t in again.trials] == [
        (t.settings, t.checks, t.value) for t in whole.trials
    ]
    assert any("trials from 1 on are run again" in said for said in display.messages)
    assert again.seconds >= again.trials[0].seconds


class Said(Silent):
    """A display that keeps its messages."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def message(self, text: str) -> None:
        self.messages.append(text)


# Files and mistakes --------------------------------------------------------------------------------------------------


def test_a_written_recipe_reads_as_it_was_written(tmp_path):
    recipe = WrittenRecipe("quickstart", "smoke", 3, settings=("sft.optimizer.lr=0.1",), about="by hand")
    write_recipe(tmp_path / "mine.json", recipe)
    assert read_recipe(tmp_path / "mine.json") == recipe
    changed = recipe.changed(["sft.optimizer.lr=0.2", "sft.loop.steps=3"])
    assert changed.settings == ("sft.optimizer.lr=0.2", "sft.loop.steps=3")
    assert changed.build() == change(quickstart("smoke", 3), changed.settings)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('{"version": 1, "recipe": ', "is no recipe"),
        ("[]", "is no recipe"),
        ('{"recipe": "quickstart"}', "version 1"),
        ('{"version": 2, "recipe": "quickstart"}', "version 1"),
        ('{"version": 1, "recipe": "quickstrat"}', "did you mean 'quickstart'"),
        ('{"version": 1, "recipe": "quickstart", "setings": []}', "did you mean 'settings'"),
        ('{"version": 1, "recipe": "quickstart", "settings": {"a": 1}}', "settings is {'a': 1}; expected a list"),
        ('{"version": 1, "recipe": "quickstart", "seed": "0"}', "seed is '0'; expected a whole number"),
        ('{"version": 1, "recipe": "quickstart", "size": "smol"}', "'smol'"),
        (
            '{"version": 1, "recipe": "quickstart", "settings": ["sft.optimizer.lrr=1"]}',
            "did you mean 'sft.optimizer.lr'",
        ),
        ('{"version": 1, "recipe": "own"}', "--source DIR"),
    ],
)
def test_a_file_that_is_no_recipe_is_one_sentence_and_exit_code_2(tmp_path, capsys, content, told):
    (tmp_path / "mine.json").write_text(content)
    assert main(["run", str(tmp_path / "mine.json"), "--runs", str(tmp_path / "runs")]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["quickstar"], "did you mean 'quickstart'"),
        (["nothing.json"], "nothing.json does not exist"),
        (["quickstart", "--budget", "30"], "write 90s, 30m or 2h"),
        (["quickstart", "--budget", "0s"], "write 90s, 30m or 2h"),
        (["quickstart", "--trials", "0"], "--trials is 0"),
        (["quickstart", "--steps", "0"], "--steps is 0"),
        (["quickstart", "--stage", "rl"], "known: pretrain, reward, sft"),
        (["quickstart", "--set", "sft.loop.step=5"], "did you mean 'sft.loop.steps'"),
        (["quickstart", "--set", "pretrain.check_every=0"], "pretrain.check_every is 0"),
    ],
)
def test_a_mistake_costs_one_sentence_and_exit_code_2(tmp_path, monkeypatch, capsys, arguments, told):
    monkeypatch.chdir(tmp_path)
    assert main(["tune", *arguments]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_without_optuna_the_sentence_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert main(["tune", "quickstart", "--runs", str(tmp_path)]) == 2
    assert "pip install -e '.[tune]'" in capsys.readouterr().err


def test_a_budget_is_read_in_seconds_minutes_and_hours():
    assert [seconds_of(b) for b in ("90s", "30m", "1.5h")] == [90, 1800, 5400]


@pytest.mark.parametrize(
    "change",
    [
        *({"number": value} for value in ("1", -1, None)),
        *({"state": value} for value in ("over", 3, ["done"], "failed")),
        *({"value": value} for value in ("1.5", None, [1], 10**400)),
        *({"checks": value} for value in (3, [3], [[1]], [["a", 1.0]], [[1, None]])),
        *({"settings": value} for value in (3, [])),
        {"other": 1},
    ],
)
def test_a_trial_of_another_shape_is_told_with_its_line(tmp_path, change):
    right = {"number": 0, "state": "done", "settings": {"optimizer.lr": 0.1}, "value": 1.5, "checks": [[5, 1.5]]}
    file = tmp_path / "trials.jsonl"
    file.write_text(json.dumps(right) + "\n")
    assert read_trials(file)[0].checks == ((5, 1.5),)
    file.write_text(f"{json.dumps(right)}\n{json.dumps(right | change)}\n")
    with pytest.raises(CheckpointError, match="line 2"):
        read_trials(file)
