"""The first hour of somebody with documents of their own: add them, search, ask, talk; a model without sense gets no source."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from jielong.cli.main import main
from jielong.model import hf
from jielong.model.gguf import export_gguf
from jielong.model.transformer import ModelConfig, fresh_language_model
from jielong.tokens.tokenizer import TokenizerConfig, train_tokenizer

NOTES = {
    "office.md": "# Office\n\nThe guest password is otter-lamp-42.\n\nThe printer waits five seconds.",
    "lease.txt": "The rent is 1,150 euros a month. It is due on the third working day.",
    "租房.md": "# 租房\n\n房租每月四千二百元，每月五号以前交。",
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with notes and a model of random weights, in which the commands run."""
    tokenizer = train_tokenizer(list(NOTES.values()) * 5, TokenizerConfig(vocab_size=330))
    model = fresh_language_model(ModelConfig(tokenizer.vocab_size, 32, 48, 2, 4, 2, 16, 512), seed=1)
    folder = tmp_path / "small"
    folder.mkdir()
    hf.save(model, folder, eos_token_id=tokenizer.im_end, pad_token_id=tokenizer.pad)
    tokenizer.save(folder)
    export_gguf(model, folder, tmp_path / "tiny.gguf", "f32")
    for name, text in NOTES.items():
        path = tmp_path / "notes" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert main(["library", "add", "notes", "--embedder", "none"]) == 0
    return tmp_path


def test_the_library_tells_what_to_do_next_and_finds_the_best_first(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["library", "add", "notes", "--embedder", "none"]) == 0
    out = capsys.readouterr().out
    assert "Files: 3 unchanged" in out
    assert 'Ask:      jielong ask MODEL "..." --library library.db' in out
    assert main(["library", "search", "guest password rent", "--embedder", "none"]) == 0
    scores = [float(line[-5:-1]) for line in capsys.readouterr().out.splitlines() if line.startswith("[")]
    assert len(scores) == 2
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize(
    ("question", "file"), [("What is the guest password?", "notes/office.md"), ("房租每月多少钱？", "notes/租房.md")]
)
def test_an_answer_without_sense_has_no_source_but_the_nearest_sentence(
    place: Path, capsys: pytest.CaptureFixture[str], question: str, file: str
) -> None:
    assert main(["ask", "small", question, "--library", "library.db", "--max-tokens", "12", "--show"]) == 0
    out, err = capsys.readouterr()
    assert "[1]" not in out
    assert f"{file}" in out, "the nearest sentence and where it stands"
    assert "otter-lamp-42" in out or "四千二百元" in out
    assert f"* [1] {file}" in err


def test_where_nothing_is_found_torch_is_not_even_loaded(place: Path) -> None:
    code = (
        "import sys; from jielong.cli.main import main\n"
        "assert main(['ask', 'small', 'Who won the match yesterday?', '--library', 'library.db']) == 0\n"
        "print('torch' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.splitlines() == ["Nothing relevant was found in the documents.", "False"]


def test_a_talk_finds_what_is_meant_and_lets_greetings_through(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "hi\nHow much is the rent?\nAnd when is it due?\nthanks!\nWho won the match?\n/quit\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO(said))
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["chat", "tiny.gguf", "--library", "library.db", "--max-tokens", "8"]) == 0
    out, err = capsys.readouterr()
    assert "Importing tiny.gguf into models/tiny" in err
    assert (place / "models" / "tiny" / "config.json").exists()
    lines = out.splitlines()
    assert sum("nothing is searched for" in line for line in lines) == 2
    searched = next(line for line in lines if "searched for: How much is the rent?" in line)
    assert "And when is it due?" in searched
    assert "lease.txt" in lines[lines.index(searched) + 1]
    assert "model> Nothing relevant was found in the documents." in lines
    assert all(len(line) <= 80 for line in lines if line.startswith("  · "))
    # the second time the imported model is used as it is
    monkeypatch.setattr(sys, "stdin", io.StringIO("/quit\n"))
    monkeypatch.setenv("JIELONG_HOME", str(place))
    assert main(["alias", "mine", "tiny.gguf"]) == 0
    assert main(["chat", "mine"]) == 0
    assert "Importing" not in capsys.readouterr().err
