"""Mistakes cost one sentence and exit code 2, never a traceback."""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jielong.cli.bad_arguments import describe_bad_argument
from jielong.cli.main import main
from jielong.model import hf
from jielong.model.transformer import ModelConfig, fresh_language_model
from jielong.tokens import TokenizerConfig, train_tokenizer


def run_cli(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "jielong.cli.main", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


CHAT = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "quickstar"], "did you mean 'quickstart'"),
        (["run", "quickstart", "--set", "sft.loop.step=50"], "did you mean 'sft.loop.steps'"),
        (["run", "quickstart", "--set", "stf.loop.steps=50"], "did you mean 'sft.loop.steps'"),
        (["run", "quickstart", "--set", "sft.loop.steps=many"], "expected int"),
        (["run", "quickstart", "--set", "steps"], "stage.field=value"),
        (["quickstart", "--size", "smal"], "'smal'"),
        (["run", "quickstart", "--source", "."], "jielong run own"),
        (["run", "own"], "--source DIR"),
        (["run", "own", "--source", "nowhere"], "there is no folder 'nowhere'"),
        (["run", "own", "--source", "empty"], "holds no page"),
        (["run", "own", "--source", "pages", "--chat", "nothing.jsonl"], "nothing.jsonl"),
        (["run", "own", "--source", "pages", "--chat", "bad.jsonl"], "bad.jsonl:2"),
        (["run", "own", "--source", "pages", "--chat", "few.jsonl"], "at least 20"),
        (["run", "own", "--source", "pages", "--preferences", "few.jsonl"], "needs --chat"),
        (["lineage", "runs/none"], "no run at"),
        (["chat"], "jielong quickstart"),
        (["estimate", "gpt4"], "nothing to estimate is called 'gpt4'"),
        (["estimate", "gpt2", "--gflops", "0"], "above 0"),
        (["run", "quickstart", "--set", "sft.loop.log_every=0"], "at least 1"),
        (["run", "quickstart", "--set", "pretrain.model.head_dim=0"], "at least 1"),
        (["run", "quickstart", "--set", "pretrain.source.length=1000"], "256 positions"),
        (["run", "quickstart", "--set", "reward.source.micro_rows=1"], "at least 2"),
        (["run", "quickstart", "--set", "refine.held_out_fraction=2"], "between 0 and 1"),
        (["run", "quickstart", "--set", "rl.source.algorithm=dpo"], "'ppo', 'grpo'"),
    ],
)
def test_a_mistake_costs_one_sentence_and_exit_code_2(tmp_path, monkeypatch, capsys, arguments, told):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("pages").mkdir()
    Path("pages/a.txt").write_text("Some text that is long enough to be read. " * 20)
    Path("few.jsonl").write_text(json.dumps(CHAT) + "\n")
    Path("bad.jsonl").write_text(json.dumps(CHAT) + "\n{not json\n")
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("jielong: ")
    assert told in error
    assert "Traceback" not in error


def test_what_an_earlier_stage_left_damaged_is_named_and_made_again(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["--version"])
    assert main(["quickstart", "--size", "smoke", "--set", "pretrain.loop.steps=2"]) == 0
    run = Path("runs/quickstart-smoke-0")
    for name in ("refine/documents.jsonl", "web/pages.zip"):
        file = run / name
        whole = file.read_bytes()
        file.write_bytes(whole[: len(whole) // 2])
        capsys.readouterr()
        assert main(["quickstart", "--size", "smoke", "--set", "pretrain.loop.steps=2"]) == 0
        said = capsys.readouterr().out
        assert file.name in said
        assert re.findall(r"^(\w+): begins", said, re.M) == [file.parent.name]
        assert file.read_bytes() == whole


def test_a_run_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "runs").write_text("a file where the folder should be")
    done = run_cli("quickstart", "--size", "smoke", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr


def test_a_full_disk_is_told_and_leaves_with_2(tmp_path, monkeypatch, capsys):
    """/dev/full gives the system's own error of a full disk."""
    monkeypatch.chdir(tmp_path)
    real_fsync = os.fsync

    def no_room(handle: int) -> None:
        real_fsync(handle)
        with open("/dev/full", "w") as full:
            full.write("x")

    monkeypatch.setattr(os, "fsync", no_room)
    assert main(["quickstart", "--size", "smoke"]) == 2
    assert "is full" in capsys.readouterr().err


def test_ctrl_c_leaves_with_130_and_keeps_what_was_made(tmp_path):
    command = [sys.executable, "-m", "jielong.cli.main", "quickstart", "--size", "smoke"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a shell that runs the tests in the background lets its children ignore Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while not (tmp_path / "runs" / "quickstart-smoke-0" / "refine" / "report.txt").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in error
    assert "Traceback" not in error
    assert (tmp_path / "runs" / "quickstart-smoke-0" / "web" / "pages.zip").exists()


def test_estimate_says_what_the_largest_shape_would_take(capsys):
    assert main(["estimate", "gpt3", "--tokens", "3e11", "--gflops", "28e3"]) == 0
    said = capsys.readouterr().out
    assert "FLOPs       3.19e+23" in said  # Brown et al. 2020, table D.1: 3.14e23 without the attention products
    assert "days" in said


# What no program can use --------------------------------------------------------------------------------------------

LONG = "a" * 5000


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "model"
    folder.mkdir()
    tokenizer = train_tokenizer([], TokenizerConfig(vocab_size=320))
    config = ModelConfig(320, 16, 24, 1, 2, 1, 8, 64)
    hf.save(fresh_language_model(config, seed=0), folder, eos_token_id=3, pad_token_id=1)
    tokenizer.save(folder)
    return str(folder)


@pytest.mark.parametrize("place", [LONG, "circle", "a\0b", "\udcff\udcfe", "locked/inside", f"here/{LONG}"])
@pytest.mark.parametrize(
    "command",
    [
        ["generate", "PLACE", "hi"],
        ["ask", "PLACE", "hi"],
        ["chat", "PLACE"],
        ["lineage", "PLACE"],
        ["tensorboard", "PLACE"],
        ["inspect", "PLACE"],
        ["import", "PLACE"],
        ["export", "PLACE"],
        ["adapt", "PLACE", "--source", "."],
        ["evaluate", "PLACE", "capitals"],
        ["library", "add", "PLACE"],
        ["library", "search", "x", "--library", "PLACE"],
        ["judge", "PLACE", "PLACE", "--model", "here"],
        ["run", "own", "--source", "PLACE"],
        ["run", "own", "--source", "here", "--chat", "PLACE"],
        ["ask", "MODEL", "hi", "--mcp", "PLACE"],
        ["ask", "MODEL", "hi", "--pages", "PLACE"],
    ],
)
def test_a_name_that_nothing_can_be_at_is_one_sentence(tmp_path, monkeypatch, capsys, model, command, place):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    Path("here").mkdir()
    Path("here/a.txt").write_text("Some text that is long enough to be read. " * 20)
    Path("circle").symlink_to("circle")
    Path("locked").mkdir(mode=0)
    arguments = [{"PLACE": place, "MODEL": model}.get(word, word) for word in command]
    try:
        assert main(arguments) == 2
    except SystemExit as left:  # argparse
        assert left.code == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said and len(said) < 6000


@pytest.mark.parametrize(
    "options",
    [
        *(["--top-k", value] for value in ("1" + "0" * 30, "-1", "nan", "9" * 5000)),
        *(["--max-tokens", value] for value in ("-5", "0", "1" + "0" * 30)),
        *(["--temperature", value] for value in ("nan", "inf", "-1", "1e308")),
        *(["--top-p", value] for value in ("0", "nan", "2")),
        *(["--min-p", value] for value in ("1", "nan", "-1")),
        *(["--repetition-penalty", value] for value in ("0", "nan", "inf")),
    ],
)
def test_a_number_out_of_its_bounds_is_one_sentence(model, capsys, options):
    try:
        assert main(["generate", model, "hi", *options]) == 2
    except SystemExit as left:  # argparse
        assert left.code == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("seed", ["-1", "1" + "0" * 30])
def test_any_whole_number_is_a_seed(model, capsys, seed):
    assert main(["generate", model, "hi", "--max-tokens", "2", "--temperature", "1", "--seed", seed]) == 0


@pytest.mark.parametrize("encoding", ["C", "C.UTF-8"])
@pytest.mark.parametrize("command", [["generate", "MODEL", "-"], ["ask", "MODEL", "-"], ["chat", "MODEL"]])
def test_standard_input_that_is_no_utf8_is_one_sentence(model, command, encoding):
    arguments = [sys.executable, "-m", "jielong.cli.main", *(model if word == "MODEL" else word for word in command)]
    environment = {**os.environ, "LC_ALL": encoding}
    done = subprocess.run(
        arguments, input=b"a\xff\xfe\n", capture_output=True, timeout=120, check=False, env=environment
    )
    assert done.returncode == 2 and b"Traceback" not in done.stderr


def test_an_error_of_the_system_about_nothing_that_was_given_stays_a_bug(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = argparse.Namespace(model="model", question="hi", paths=[Path("a")])
    assert not describe_bad_argument(OSError(5, "Input/output error", str(tmp_path / "elsewhere")), arguments)
    assert not describe_bad_argument(OSError(5, "Input/output error"), arguments)
    assert describe_bad_argument(PermissionError(13, "Permission denied", str(tmp_path / "a" / "b")), arguments)
    assert not describe_bad_argument(UnicodeEncodeError("utf-8", "\udcff", 0, 1, "x"), arguments)
