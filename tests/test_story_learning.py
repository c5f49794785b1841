"""Somebody who wants to see how it works: a small run, then what its models think, draw and have learned.

The run is quickstart in a size that proves only that its parts fit together; everything that is asserted is on the screen.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from rich.cells import cell_len

from jielong.cli.main import main

TINY = (
    "web.articles=150",
    "tokenizer.tokenizer.vocab_size=512",
    "pretrain.loop.steps=12",
    "sft.loop.steps=6",
    "reward.loop.steps=3",
    "rl.loop.steps=2",
    "rl.source.prompts=8",
    "control.loop.steps=6",
    "judgements.num_prompts=40",
    "judgements.max_tokens=8",
    "lessons.chats.refusals=40",
    "lessons.chats.harmless=40",
    "lessons.prompts.made_up=20",
    "lessons.prompts.refusals=20",
    "lessons.prompts.harmless=20",
    "evaluate.limit=6",
    "evaluate.max_tokens=8",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A finished run, walked once."""
    root = tmp_path_factory.mktemp("learning")
    assert main(walk(root)) == 0
    return root / "quickstart-smoke-0"


def walk(root: Path, *more: str) -> list[str]:
    settings = [part for setting in TINY for part in ("--set", setting)]
    return ["quickstart", "--size", "smoke", "--runs", str(root), "--no-chat", *settings, *more]


@pytest.fixture(autouse=True)
def narrow(monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)


def said(capsys, *command: str) -> str:
    """What a command prints on standard output; it must end well and keep to 80 columns."""
    capsys.readouterr()
    assert main(command) == 0
    told = capsys.readouterr()
    assert "Traceback" not in told.err
    return told.out


def blocks(text: str) -> list[str]:
    """What `generate --show` prints of each token."""
    return re.split(r"\n(?= +\d+  )", text.split("\n\n")[1])


def shares(line: str) -> list[float]:
    return [float(x) for x in re.findall(r"([\d.]+)%", line)]


# How a token is chosen -------------------------------------------------------------------------------------------


def test_at_temperature_0_every_token_is_the_likeliest_and_no_dice_are_thrown(run, capsys):
    text = said(capsys, "generate", str(run), "法国的首都是", "--max-tokens", "5", "--show")
    assert max(map(cell_len, text.splitlines())) <= 80
    found = blocks(text)
    assert len(found) == 5 and "no dice" in text and "number" not in text
    for block in found:
        head, likeliest, probabilities = block.splitlines()
        assert "likeliest taken" in head and likeliest.split()[0] == "likeliest"
        given = shares(probabilities.partition("temperature 1")[2])
        assert len(given) == 5 and given == sorted(given, reverse=True) and sum(given) <= 100.1
        assert shares(head)[0] == given[0]


def test_at_temperature_08_the_number_fell_into_the_interval_of_the_token(run, capsys):
    command = ("generate", str(run), "What is the capital of France?", "--ask", "--max-tokens", "6", "--show")
    text = said(capsys, *command, "--temperature", "0.8", "--seed", "5", "--top-k", "40", "--top-p", "0.9")
    assert max(map(cell_len, text.splitlines())) <= 80
    for block in blocks(text):
        number, low, high = map(float, re.search(r"number ([\d.]+) fell in ([\d.]+) to ([\d.]+)", block).groups())
        assert low <= number <= high
        assert "at 0.8" in block and "left" in block and re.search(r"cut +top-k [\d,]+ with [\d.<]+%", block)
    assert text == said(capsys, *command, "--temperature", "0.8", "--seed", "5", "--top-k", "40", "--top-p", "0.9")


def test_without_a_seed_the_dice_are_thrown_anew_and_the_seed_gives_the_same_answer_again(run, capsys):
    command = ["generate", str(run), "The capital of", "--max-tokens", "12", "--temperature", "1"]
    seen = []
    for _ in range(2):
        assert main(command) == 0
        seen.append(capsys.readouterr())
    seeds = [re.fullmatch(r"seed (\d+): give --seed \1 for the same answer\n", told.err)[1] for told in seen]
    assert seeds[0] != seeds[1] and seen[0].out != seen[1].out
    assert said(capsys, *command, "--seed", seeds[0]) == seen[0].out
    assert main([*command[:-1], "0"]) == 0
    assert not capsys.readouterr().err


@pytest.mark.parametrize("strategy", ["direct", "vote:n=2"])
def test_ask_and_chat_tell_their_seed_only_where_something_is_drawn(run, capsys, monkeypatch, strategy):
    ask = ["ask", str(run), "What is the capital of France?", "--max-tokens", "4", "--strategy", strategy]
    main(ask)
    assert ("give --seed" in capsys.readouterr().err) == (strategy != "direct")
    main([*ask, "--temperature", "0.5"])
    assert "give --seed" in capsys.readouterr().err
    main([*ask, "--temperature", "0.5", "--seed", "1"])
    assert "give --seed" not in capsys.readouterr().err


# What each stage changed -----------------------------------------------------------------------------------------


def test_one_question_to_all_stages_shows_what_each_held_likeliest(run, capsys):
    text = said(capsys, "compare", str(run), "What is the capital of France?", "--max-tokens", "4")
    assert max(map(cell_len, text.splitlines())) <= 80
    assert "base (pretrain) goes on with the bare question" in text
    for stage in ("tuned (sft)", "reinforced (rl)"):
        assert f"{stage} answers in its chat template" in text
    assert "reward model" not in text and "control" not in text
    table = text.partition("How each model reads")[2].splitlines()
    rows = [line for line in table if re.search(r"%( +[\d.]+ .*){2}", line)]
    assert len(rows) == 4
    assert all(row.rstrip().endswith(" 0.00") for row in rows)  # rl expects what rl expects
    assert re.search(r"log p of all( +-[\d.]+ nats){3}", text)


def test_two_stages_are_compared_like_two_models_and_what_is_no_model_is_a_question(run, capsys):
    text = said(capsys, "compare", str(run / "pretrain"), str(run / "rl"), "hello", "--max-tokens", "2")
    assert "pretrain goes on with the bare question" in text and "rl answers in its chat template" in text
    assert main(["compare", "no-such-run"]) == 2
    assert "names no run and no model" in capsys.readouterr().err
    assert main(["compare", str(run)]) == 2
    assert "one run and no question" in capsys.readouterr().err


def test_two_runs_are_set_side_by_side_with_intervals(run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / run.name)
    assert main(walk(tmp_path, "--set", "evaluate.max_tokens=2", "--set", "evaluate.limit=6")) == 0
    text = said(capsys, "compare", str(run), str(tmp_path / run.name))
    assert re.search(r"1 of \d+ settings differ", text) and re.search(r"evaluate\.max_tokens +8 +2", text)
    assert re.search(r"base \(pretrain\) +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+", text)  # losses
    assert re.search(r"Inventions +[\d.]+% +[\d.]+% +[+-][\d.]+ +[+-][\d.]+ to [+-][\d.]+", text)
    assert re.search(r"Bits per byte +[\d.]+ +[\d.]+ +\+0\.000 +–", text)
    assert "same questions, pair by pair" in text and "Most memory in use at once" in text and "tokens/s" in text
    assert "reinforced (rl): answers differ on" in text
    assert max(cell_len(line) for line in text.splitlines() if run.name not in line) <= 80


# The report ------------------------------------------------------------------------------------------------------


def test_the_report_says_how_its_cards_were_chosen_and_labels_each(run):
    page, data = (run / "report.html").read_text("utf-8"), json.loads((run / "report.json").read_text("utf-8"))
    questions = 6 * 8  # six of each part of the exam
    assert data["chosen"]["questions"] == questions
    assert f"Of {questions} exam questions the verdict" in page and "random_init" not in page
    assert all(card["kind"] and card["change"] in ("better", "worse", "same") for card in data["samples"])
    assert page.count('<p class="label">') == len(data["samples"])


def test_a_finished_run_is_reported_in_chinese_without_training(run, capsys):
    before = {path.name: path.stat().st_mtime_ns for path in run.iterdir()}
    text = said(capsys, "report", str(run), "--language", "zh")
    page = (run / "report.zh.html").read_text("utf-8")
    assert "编造" in text and "基座" in text and max(map(cell_len, text.split("\nReport:")[0].splitlines())) <= 80
    for word in ("同样的问题，各阶段的回答", "训练过程", "从网页到文本", "这次运行", "峰值", '<html lang="zh">'):
        assert word in page
    assert "Results" not in page and "Training" not in page and "<svg" in page
    assert {name: time for name, time in before.items() if (run / name).stat().st_mtime_ns != time} == {}
    assert main(["check", str(run)]) == 0


def test_the_language_of_the_locale_is_that_of_the_report(run, monkeypatch, capsys):
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    assert "指标" in said(capsys, "report", str(run))
    assert "measure" in said(capsys, "report", str(run), "--language", "en")
    again = said(capsys, *walk(run.parent))
    assert "指标" in again and "report.zh.html" in again and "begins" not in again
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    assert "measure" in said(capsys, "report", str(run))


def test_a_run_without_a_report_says_what_it_came_to_instead(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 2
    assert "no run at" in capsys.readouterr().err
