"""`jielong inspect`: what a path is taken for, what of it can be used, and records exactly as they are trained on."""

from __future__ import annotations

import json
import resource
from pathlib import Path
from typing import Any

import pytest

from jielong.cli.main import main
from jielong.model.config import ModelConfig
from jielong.model.transformer import fresh_language_model
from jielong.opening.inspecting import inspect
from jielong.stages.train import save_model
from jielong.tokens.chat import render
from jielong.tokens.tokenizer import TokenizerConfig, train_tokenizer


def chat(number: int, **more: Any) -> dict[str, Any]:
    turns = [{"role": "user", "content": f"What is {number}?"}, {"role": "assistant", "content": "A number."}]
    return {"messages": turns, **more}


def write(path: Path, *records: Any) -> Path:
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records))
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tokenizer = train_tokenizer(["What is a number? A number. " * 30], TokenizerConfig(vocab_size=400))
    shape = ModelConfig(tokenizer.vocab_size, 32, 48, 1, 2, 1, 16, 64)
    save_model(fresh_language_model(shape, 0), tokenizer, folder)
    return folder


def test_a_file_of_chats_is_told_counted_and_shown(tmp_path, capsys):
    path = write(tmp_path / "chats.jsonl", *(chat(n) for n in range(6)), chat(7, label=False), chat(8, source="web"))
    assert main(["inspect", str(path), "--show", "1"]) == 0
    out = capsys.readouterr().out
    assert "chats.jsonl: chats" in out.replace("\n", "")
    for told in ("7 of 8 records are used", "labelled as a bad answer (line 7)", "not read: source (1)"):
        assert told in out
    assert "<|im_start|>user\nWhat is 0?<|im_end|>\n<|im_start|>assistant\n⟦A number.<|im_end|>⟧" in out


def test_what_is_shown_is_what_is_trained_on(tmp_path, model):
    from jielong.data.chat_files import read_chats
    from jielong.tokens.tokenizer import Tokenizer

    path, tokenizer = write(tmp_path / "chats.jsonl", chat(1)), Tokenizer.load(model)
    found = inspect(path, tokenizer=tokenizer, context=8)
    rendered = render(read_chats(path).records[0].messages, tokenizer)
    whole = tokenizer.decode_bytes(rendered.ids, skip_special=False).decode()
    trained = [i for i, t in zip(rendered.ids, rendered.trained, strict=True) if t]
    assert "".join(text for text, _ in found.shown[0]) == whole
    assert (
        "".join(text for text, t in found.shown[0] if t) == tokenizer.decode_bytes(trained, skip_special=False).decode()
    )
    assert found.figures["tokens"] == found.figures["longest"] == len(rendered.ids)
    assert (found.figures["longer_than_context"], found.figures["nothing_within_context"]) == (1, 1)


def test_where_nothing_can_be_used_the_exit_code_is_2(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    wrong = write(tmp_path / "wrong.jsonl", chat(1), {"messages": [{"role": "user", "content": {"text": "Hi"}}]})
    equal = write(tmp_path / "equal.jsonl", {"prompt": "Hi", "chosen": "a", "rejected": "a"})
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "folder").mkdir()
    for path, told in (
        (wrong, 'wrong.jsonl:2: messages[0].content is {"text": "Hi"}'),
        (equal, "both answers are the same"),
        (tmp_path / "empty.jsonl", "it holds no record"),
        (tmp_path / "folder", "0 files to read"),
    ):
        assert main(["inspect", str(path)]) == 2
        assert told in capsys.readouterr().out
    assert main(["inspect", str(tmp_path / "none.jsonl")]) == 2
    assert "No such file" in capsys.readouterr().err


def test_json_holds_everything_for_programs(tmp_path, capsys):
    pair = {"prompt": "Hi", "chosen": "Hello.", "rejected": "Go."}
    assert (
        main(["inspect", "--json", str(write(tmp_path / "pairs.jsonl", pair, pair, {**pair, "rejected": "Hello."}))])
        == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert (found["taken_for"], found["records"], found["used"], found["usable"]) == ("preferences", 3, 2, 2)
    assert found["left_out"] == {"both answers are the same": 1}
    assert [piece["trained"] for piece in found["examples"][0]] == [False, True]


def test_folders_and_models_are_told_too(tmp_path, model, capsys):
    (tmp_path / "a.txt").write_text("Some text.")
    (tmp_path / "b.png").write_bytes(b"")
    assert main(["inspect", str(tmp_path)]) == 0
    assert "1 files to read; passed over: 1 files that end in .png" in capsys.readouterr().out
    assert main(["inspect", str(model)]) == 0
    out = capsys.readouterr().out
    assert "a model folder" in out and "with a chat template" in out
    texts = write(tmp_path / "texts.jsonl", {"text": "Once upon a time."})
    assert main(["inspect", str(texts)]) == 0
    assert "plain texts" in capsys.readouterr().out


def test_memory_does_not_grow_with_the_file(tmp_path):
    path = tmp_path / "large.jsonl"
    with path.open("w") as file:
        for number in range(40_000):
            file.write(json.dumps(chat(number, filler="x" * 500)) + "\n")
    assert path.stat().st_size > 20e6
    inspect(write(tmp_path / "small.jsonl", chat(0)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert inspect(path).usable == 40_000
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < 8e6, grown
