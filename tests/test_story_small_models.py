"""The first hour of somebody who trains small models: a run, another field, what changed, what it costs, which is better."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest

from jielong.cli.main import main
from jielong.runs import read_metrics
from jielong.tokens.tokenizer import SPECIAL_TOKENS

WORDS = {
    "en": ("The {} of the {} needs {} when the {} comes.", "river cell garden engine market teacher island".split(),
           "valley castle winter harvest library forest".split(), "water energy patience repair silver".split()),
    "zh": ("{}的{}在{}里等待{}。", ["河流", "细胞", "花园", "机器", "市场", "老师", "海岛"],
           ["山谷", "城堡", "冬天", "图书馆", "森林", "工厂"], ["清水", "能量", "耐心", "修理", "白银"]),
}  # fmt: skip
TASK = [("What comes to the river?", "winter"), ("What does the cell need?", "energy"), ("花园等待什么？", "清水")]


def write_notes(folder: Path) -> None:
    """Forty notes, no two alike, half of them in Chinese."""
    folder.mkdir()
    dice = random.Random(0)
    for number in range(40):
        form, *words = WORDS["en" if number % 2 else "zh"]
        lines = [form.format(*(dice.choice(dice.choice(words)) for _ in range(4))) for _ in range(9)]
        (folder / f"{number}.md").write_text((" " if number % 2 else "").join(lines) + "\n", "utf-8")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with notes in it and a task, in a terminal of 80 columns."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    write_notes(Path("notes"))
    lines = [json.dumps({"question": q, "answer": a}, ensure_ascii=False) for q, a in TASK]
    Path("task.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    return tmp_path


def test_the_first_hour_with_small_models(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def say(*words: str, code: int = 0) -> str:
        assert main([*words]) == code
        said = capsys.readouterr()
        return said.err if code else said.out

    run = ["run", "own", "--source", "notes", "--size", "smoke"]
    said = say(*run)
    first = Path(re.findall(r"jielong lineage (\S+)", said)[0])

    # samples begin at whole words, hold no special token, and end at sentences or say that they go on
    samples = (first / "samples.txt").read_text("utf-8")
    assert not any(token in samples for token in SPECIAL_TOKENS)
    texts = json.loads((first / "samples.json").read_text("utf-8"))
    whole = "".join(path.read_text("utf-8") for path in Path("notes").iterdir())
    for opening in texts["openings"]:
        assert re.search(rf"{re.escape(opening)}(?=\s|[^\x00-\x7f]|$)", whole), opening
    assert len(texts["openings"]) > 1

    # the short trial reached its rate
    rates = [record["lr"] for record in read_metrics(first / "pretrain" / "metrics.jsonl")]
    assert max(rates) == pytest.approx(0.003)

    # which field is it?
    assert "pretrain.model.num_hidden_layers" in say("fields", "own", "layers", "--size", "smoke")
    assert "did you mean 'pretrain.optimizer.lr'?" in say(*run, "--set", "pretrain.learning_rate=1e-3", code=2)
    assert "did you mean 'pretrain.model.num_hidden_layers'" in say(*run, "--set", "model.layers=3", code=2)
    deeper = ["--set", "pretrain.model.num_hidden_layers=3"]
    assert " 3 layers" in say("estimate", "s", "--set", "num_hidden_layers=3", "--gflops", "20")
    told = say("estimate", "own", "--source", "notes", "--size", "smoke", *deeper, "--gflops", "20")
    assert re.search(r"pretrain +0\.\dM +40,960", told)

    # a second model, and where both came from
    say(*run, *deeper, "--runs", "deeper")
    (second,) = Path("deeper").iterdir()
    trees = [say("lineage", str(path)) for path in (first, second)]
    for tree in trees:
        assert re.search(r"pretrain +\d+\.\d s +20 steps, lr 0\.003 \(muon\), 4 rows x 512 tokens", tree)
        assert max(map(len, tree.splitlines())) <= 80
    sizes = [re.findall(r"([\d.]+)M\s+parameters", tree) for tree in trees]
    assert sizes[0] < sizes[1]

    # which is better?
    told = say("evaluate", str(first), "--against", str(second), "--task", "task.jsonl", "--max-tokens", "8")
    assert re.search(r"\n +runs/\S+ +deeper/\S+", told) or re.search(r"\n +runs +deeper *\n", told)
    assert f": {first} direct\n" in told and f": {second} direct\n" in told
    assert max(map(len, told.partition("Answers:")[0].splitlines())) <= 80
