"""`jielong learn`: its words, the blind pairs in a terminal, and its exit codes. Attempts are written as a gate leaves them."""

from __future__ import annotations

import builtins
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args

import pytest
from tests.learning import pairs, question
from tests.serving import tiny_model

from jielong.cli import learn
from jielong.cli.learn_words import ROWS, Words
from jielong.cli.main import main
from jielong.learning import asking, standing
from jielong.learning import attempt as attempts
from jielong.learning.advice import METHODS
from jielong.learning.attempt import Attempt
from jielong.serve.routes.learn import Press
from jielong.serve.store import open_store


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("learn-cli") / "tiny")


@pytest.fixture
def command(base, tmp_path, monkeypatch):
    """Run the command on the base, in English."""
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    store = ["--from", str(tmp_path / "store.db"), "--runs", str(tmp_path / "runs")]
    return lambda *words: main(["learn", *words, "--base", str(base), *store])


@pytest.fixture
def asked(base, tmp_path) -> Path:
    """An attempt about which a person is asked."""
    home = attempts.home_of(tmp_path / "runs", base)
    figures = {
        "held_out": {"pairs": 8, "right": 7, "margin": 1.5},
        "judge": {"pairs": 3, "skipped": "3 pairs are too few for a judge"},
        "regression": {"prompts": 200, "changed": 0.25},
    }
    begun = Attempt("0001-x", "tiny", str(base), "dpo", "auto", time.time(), "asking", press=1, figures=figures)
    folder = attempts.begin(home, begun, pairs(3))
    asking.write_pairs(folder, [asking.ShownPair(question(n), "new", "old", n % 2 == 0) for n in range(100)])
    return folder


def test_too_few_judgements_are_a_mistake_of_the_user(command, capsys):
    assert command() == 2
    assert "too few judgements" in capsys.readouterr().err


def test_a_refusal_is_chinese_on_a_chinese_terminal(command, monkeypatch, capsys):
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    assert command() == 2
    assert "评判太少：请再比较约" in capsys.readouterr().err


def test_the_methods_of_the_command_and_of_the_server_are_those_that_there_are():
    assert METHODS == learn.METHODS == get_args(Press.model_fields["method"].annotation)


def test_the_status_is_read_without_torch():
    asked = "import sys, jielong.learning.status; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True).stdout == "False\n"


def test_without_an_attempt_there_is_nothing_to_steer(command, capsys):
    assert command("pause") == 2
    assert "nothing has been learned for tiny yet" in capsys.readouterr().err


def test_the_status_says_how_many_votes_there_are_and_what_stands(command, asked, capsys):
    asking.vote(asked.parent, asked, 0, "tie")
    assert command("status") == 0
    said = capsys.readouterr().out
    assert "0001-x: asking, by dpo" in said and "1 votes so far; 20 to 100" in said and "tiny stands now" in said


def test_pairs_are_asked_in_the_terminal_until_it_is_decided(command, asked, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    answers = iter(["x", "q", *("l" if n % 2 == 0 else "r" for n in range(100))])
    monkeypatch.setattr(builtins, "input", lambda _: next(answers))
    assert command() == 0
    assert "0 votes are kept" in capsys.readouterr().out
    assert command() == 0
    assert "Promoted: it won 20 of 20 decided votes" in capsys.readouterr().out
    assert standing.standing(asked.parent) == "0001-x"
    assert command("undo") == 0 and standing.standing(asked.parent) == ""
    assert command("undo") == 2


def test_an_attempt_that_is_cancelled_is_over(command, asked):
    assert command("cancel") == 0 and attempts.read(asked).state == "cancelled"


def test_judgements_are_read_from_the_store(command, base, tmp_path, capsys):
    store = open_store(tmp_path / "store.db")
    store.judgements.add_nouns(pairs(20))
    store.close()
    assert command("--method", "sft") == 2
    assert "34 more written answers" in capsys.readouterr().err


def test_every_sentence_is_there_in_both_languages():
    for english, chinese in ROWS.values():
        assert english != chinese and any("\u4e00" <= c <= "\u9fff" for c in chinese)
    assert Words("zh")("undone", attempt="1", now="tiny") == "已撤回 1；现在使用 tiny。"
