"""Mistakes cost one sentence and exit code 2, never a traceback."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jielong.cli.main import main


def run_cli(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "jielong.cli.main", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


CHAT = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "quickstar"], "did you mean 'quickstart'"),
        (["run", "quickstart", "--set", "sft.loop.step=50"], "did you mean 'steps'"),
        (["run", "quickstart", "--set", "stf.loop.steps=50"], "did you mean 'sft'"),
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
        (["estimate", "gpt4"], "unknown model preset 'gpt4'"),
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
