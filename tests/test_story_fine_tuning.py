"""The first hour of somebody who teaches a model sixty chats: look, adapt, come back, stop halfway, and take it elsewhere."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jielong.cli.main import main
from jielong.model import hf
from jielong.model.transformer import ModelConfig, fresh_language_model
from jielong.tokens.tokenizer import TokenizerConfig, train_tokenizer

DISHES = [
    ("tea", "two minutes", "茶", "两分钟"),
    ("rice", "eighteen minutes", "米饭", "十八分钟"),
    ("soup", "an hour", "汤", "一小时"),
]
FAST = ["--lr", "0.01", "--rank", "4"]


def turns(asked: str, answered: str) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a small model and sixty chats in two languages."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    chats = []
    for number in range(10):
        for dish, long, name, length in DISHES:
            chats.append(turns(f"How long do I cook {dish} number {number}?", f"Cook {dish} for {long}."))
            chats.append(turns(f"{number}号{name}要煮多久？", f"{name}要煮{length}。"))
    Path("chats.jsonl").write_text("".join(json.dumps(c, ensure_ascii=False) + "\n" for c in chats), encoding="utf-8")
    texts = [m["content"] for c in chats for m in c["messages"]]
    tokenizer = train_tokenizer(texts, TokenizerConfig(vocab_size=512))
    config = ModelConfig(tokenizer.vocab_size, 32, 64, 2, 2, 1, 16, 128)
    Path("model").mkdir()
    hf.save(fresh_language_model(config, 1), Path("model"), eos_token_id=tokenizer.im_end, pad_token_id=tokenizer.pad)
    tokenizer.save(Path("model"))
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    """What a command prints, on both streams."""
    capsys.readouterr()
    assert main(list(words)) == code
    out, err = capsys.readouterr()
    return out + err


def stopped_halfway(*words: str) -> str:
    """A command in a process of its own, ended by Ctrl-C while it trains; what it had printed."""
    command = [sys.executable, "-m", "jielong.cli.main", *words]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        # a shell that runs the tests in the background lets its children ignore Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if re.match(r"adapt: step \d", line):
                process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130, "".join(lines)
    return "".join(lines)


def test_sixty_chats_teach_a_model_that_stays_at_hand(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "60 of 60 records are used" in said(capsys, "inspect", "chats.jsonl")

    # the first time: how long it will take is said before, and at the end stands what to type next
    first = said(capsys, "adapt", "model", "--chat", "chats.jsonl", "--steps", "8", *FAST)
    assert first.startswith("adapt: loading what trains, and reading model and chats.jsonl")
    assert re.search(r"^adapt: about \d+ s: 8 steps of \d+ tokens at ~[\d,]+ tokens/s$", first, re.M)
    assert first.index("adapt: about") < first.index("adapt: begins")
    (run,) = Path("runs").iterdir()
    chat = re.search(r"^Talk to it: +jielong (chat \S+)$", first, re.M)
    export = re.search(r"^For other programs: +jielong (export \S+ --format gguf)$", first, re.M)
    assert chat and export and chat[1] == f"chat {run}"
    assert f"{run} --set" not in first

    assert "an adapter of rank 4 for" in said(capsys, "inspect", f"{run}:adapt")

    # again, and the steps forgotten: what differs is said with the line that repeats it, and the run is stopped halfway
    again = stopped_halfway(
        "adapt", "model", "--chat", "chats.jsonl", "--set", "adapt.optimizer.lr=0.01", "--steps", "5000"
    )
    assert f"{run} was started otherwise last time:\n" in again
    assert "  adapt.loop.steps: 8 last time, 5000 now\n" in again
    assert "  adapt.adapter.rank: 4 last time, 16 now\n" in again and "optimizer.lr" not in again.split("To keep")[0]
    assert re.search(
        r"To keep last time's settings: +jielong adapt model .* --steps 5000 --set adapt.adapter.rank=4", again
    )
    assert f"What adapt came to last time is kept in {run / 'before'}." in again

    # the finished model is still the run's, in every command
    told = "adapt is being made again and not finished; its model of before is used"
    answer = said(capsys, "generate", str(run), "How long do I cook tea number 3?", "--ask", "--max-tokens", "12")
    assert told in answer
    assert told in said(capsys, "ask", f"{run}:adapt", "How long do I cook tea number 3?", "--max-tokens", "12")
    pytest.importorskip("gguf")
    exported = said(capsys, *export[1].split())
    assert told in exported and "Merged:  the adapter in" in exported
    (file,) = Path("exports").iterdir()
    assert file.name == f"{run.name}-f16.gguf" and f"Open:    llama-cli -m {file}" in exported

    # and the same command as at first has it back without training
    back = said(capsys, "adapt", "model", "--chat", "chats.jsonl", "--steps", "8", *FAST)
    assert "adapt: done before" in back
    assert told not in said(capsys, "generate", str(run), "How long?", "--ask", "--max-tokens", "3")


def test_two_trials_stand_side_by_side_under_their_names(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    adapt = ["adapt", "model", "--chat", "chats.jsonl", *FAST]
    said(capsys, *adapt, "--steps", "3", "--name", "short")
    longer = said(capsys, *adapt, "--epochs", "2", "--name", "long")
    assert "otherwise last time" not in longer
    assert sorted(p.name for p in Path("runs").iterdir()) == ["long", "short"]
    record = json.loads(Path("runs/long/run.json").read_text(encoding="utf-8"))
    assert record["stages"]["adapt"]["config"]["loop"]["steps"] > 3
    assert "otherwise last time" not in said(capsys, *adapt, "--epochs", "2", "--name", "long")
    for name in ("a/b", "..", "a:b", "-x", ""):
        assert "is no plain name of a folder" in said(capsys, *adapt, f"--name={name}", code=2)
    other = said(capsys, "quickstart", "--size", "smoke", "--name", "short", code=2)
    assert "runs/short is a run of adapt" in other and "choose another --name" in other
    unknown = said(capsys, "generate", "runs/short:sft", "Hi", code=2)
    assert "no finished stage 'sft' with a model; finished: base, adapt" in unknown


def test_words_that_are_not_clear_cost_a_sentence(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    adapt = ["adapt", "model", "--chat", "chats.jsonl"]
    assert "adapt.loop.steps=many: expected int" in said(capsys, *adapt, "--steps", "many", code=2)
    assert "leave one of them out" in said(capsys, *adapt, "--steps", "3", "--epochs", "2", code=2)
    assert "expected one such as 3" in said(capsys, *adapt, "--epochs", "nan", code=2)
    assert "no training 'sft'; did you mean" in said(capsys, *adapt, "--steps", "adpt=3", code=2).replace("adpt", "sft")
    several = said(capsys, "quickstart", "--steps", "100", code=2)
    assert "(pretrain, sft, reward, rl); name one, such as --steps rl=100" in several
    assert "pretrain has two learning rates" in said(capsys, "quickstart", "--lr", "pretrain=0.1", code=2)
    assert "rl writes what it learns from" in said(capsys, "quickstart", "--epochs", "rl=2", code=2)


def test_an_unknown_option_is_answered_by_its_own_command(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, usage, told in [
        (["adapt", "model", "--out", "x"], "usage: jielong adapt ", "jielong adapt has no option --out"),
        (["export", "model", "--otu=x"], "usage: jielong export ", "did you mean --out?"),
        (["library", "search", "x", "--lybrary", "y"], "usage: jielong library search ", "did you mean --library?"),
        (["chat", "a", "b"], "usage: jielong chat ", "'b' is one argument too many"),
        (["adpat"], "usage: jielong ", "did you mean 'adapt'?"),
    ]:
        with pytest.raises(SystemExit):
            main(words)
        error = capsys.readouterr().err
        assert error.startswith(usage) and told in error


@pytest.mark.parametrize(("answer", "steps"), [("k", 3), ("q", 3)])
def test_at_a_terminal_a_person_is_asked_whose_settings_are_meant(here: Path, capsys, answer: str, steps: int) -> None:
    said(capsys, "adapt", "model", "--chat", "chats.jsonl", *FAST, "--steps", "3", "--set", "adapt.check_every=1")
    (run,) = Path("runs").iterdir()
    terminal, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "jielong.cli.main", "adapt", "model", "--chat", "chats.jsonl", *FAST],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "dumb"},
    )
    os.close(theirs)
    printed = b""
    until = time.monotonic() + 60
    while b"[q]uit?" not in printed and time.monotonic() < until:
        printed += os.read(terminal, 4096)
    os.write(terminal, answer.encode() + b"\n")
    try:
        while chunk := os.read(terminal, 4096):
            printed += chunk
    except OSError:  # the other end is closed
        pass
    assert process.wait(60) == 0, printed.decode()
    entry = json.loads((run / "run.json").read_text(encoding="utf-8"))["stages"]["adapt"]
    assert entry["config"]["loop"]["steps"] == steps and "done" in entry
