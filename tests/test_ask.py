"""`jielong ask` and `jielong spell`, as one types them, against a server whose answers are known."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from bench.strategies.calibrated import Calibrated, Known, Server, serve
from tests.test_engine import CONFIG, lively_model

from jielong.cli.ask import EventDisplay
from jielong.cli.main import main
from jielong.model import hf
from jielong.model.transformer import scalar_from_language_model
from jielong.report.terminal import plain
from jielong.tokens import TokenizerConfig, train_tokenizer
from jielong.use.ledger import Happening

KNOWN = [Known(f"What is {a} + 3?", str(a + 3), (str(a + 2),)) for a in range(10, 40)]


@pytest.fixture
def server() -> Iterator[Server]:
    with serve(Calibrated(KNOWN, 0.6)) as server:
        yield server


def test_a_question_is_answered_and_its_cost_said(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", f"{server.url}#m", "What is 12 + 3?", "--strategy", "vote:9"]) == 0
    out, err = capsys.readouterr()
    assert out.strip() in ("15", "14")
    assert re.search(r"\[9 calls, 45 tokens read, 9 written, \d+\.\d s\]", err)
    assert {body["model"] for body in server.requests} == {"m"} and len({b["seed"] for b in server.requests}) == 9


def test_every_call_can_be_shown_and_kept(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = tmp_path / "trace.jsonl"
    words = [
        "ask",
        server.url,
        "What is 12 + 3?",
        "--strategy",
        "think+vote:3",
        "--system",
        "Add.",
        "--trace",
        str(trace),
    ]
    assert main([*words, "--show", "--show-prompts"]) == 0
    err = capsys.readouterr().err
    for number in range(1, 7):
        assert re.search(rf"\[{number}\] vote \d: 1[45]\n", err)
    assert err.count("* ") == 2 and "Let us think step by step." in err
    calls = [json.loads(line) for line in trace.read_text().splitlines()]
    assert [c["number"] for c in calls] == [1, 2, 3, 4, 5, 6]
    assert calls[0]["messages"][0] == {"role": "system", "content": "Add."}


def test_calls_at_the_same_time_are_shown_one_after_another(capsys: pytest.CaptureFixture[str]) -> None:
    shown = EventDisplay()
    for kind, text, call in (
        ("begins", "one", 1),
        ("begins", "two", 2),
        ("begins", "three", 3),
        ("text", "a", 1),
        ("text", "c", 2),
        ("text", "e", 3),
        ("ends", "", 2),
        ("note", "so far", 0),
        ("text", "b", 1),
        ("ends", "", 1),
        ("text", "f", 3),
    ):
        shown(Happening(kind, text, call))
    shown.close()
    assert capsys.readouterr().err == "[1] one: ab\n[2] two: c\n* so far\n[3] three: ef\n"


def test_a_budget_ends_the_work_with_an_answer(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["ask", server.url, "What is 12 + 3?", "--strategy", "reflect:5", "--budget-calls", "1"]
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert out.strip() in ("15", "14")
    assert "stopped by the budget" in err and len(server.requests) == 1


def test_other_models_take_their_places_in_a_debate(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    with serve(Calibrated(KNOWN, 1.0)) as second, serve(Calibrated(KNOWN, 1.0)) as judge:
        words = ["ask", server.url, "What is 12 + 3?", "--strategy", "debate:rounds=1"]
        assert main([*words, "--other", second.url, "--other", judge.url]) == 0
        assert capsys.readouterr().out.strip() == "15"
        assert [len(s.requests) for s in (server, second, judge)] == [1, 1, 1]


def test_a_cascade_asks_the_large_model(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    with serve(Calibrated(KNOWN, 1.0)) as large:
        words = ["ask", server.url, "What is 12 + 3?", "--strategy", "cascade:logprob", "--large", large.url]
        assert main(words) == 0
        assert capsys.readouterr().out.strip() == "15"
        assert (len(server.requests), len(large.requests)) == (1, 1)


def test_a_reward_model_picks_the_best_sample(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tokenizer = train_tokenizer(["the sea 大海 the sea\n"] * 20, TokenizerConfig(vocab_size=330))
    model = lively_model(0, replace(CONFIG, vocab_size=330))
    reward = scalar_from_language_model(model, seed=1)
    for name, made in (("model", model), ("reward", reward)):
        (tmp_path / name).mkdir()
        hf.save(made, tmp_path / name, eos_token_id=tokenizer.im_end, pad_token_id=tokenizer.pad)
        tokenizer.save(tmp_path / name)
    folder, trace = str(tmp_path / "model"), tmp_path / "trace.jsonl"
    words = ["ask", folder, "the sea?", "--strategy", "best-of:6", "--max-tokens", "8", "--trace", str(trace), "--show"]
    assert main([*words, "--reward", str(tmp_path / "reward")]) == 0
    out, err = capsys.readouterr()
    scores = [float(x) for x in err.split("* scores ")[1].splitlines()[0].split(", ")]
    answers = [json.loads(line)["answer"]["content"] for line in trace.read_text().splitlines()]
    assert len(set(scores)) > 1 and out == plain(answers[scores.index(max(scores))]) + "\n"
    assert main([*words, "--reward", folder]) == 2
    assert "--reward takes a reward model" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["What is 12 + 3?", "--strategy", "vots"], "did you mean 'vote'?"),
        (["  "], "the question is empty"),
        (["What is 12 + 3?", "--strategy", "cascade"], "needs large"),
        (["What is the weather?"], "none of the 30 known questions"),
        (["What is 12 + 3?", "--budget-tokens", "-1"], "budget tokens is -1"),
        (["What is 12 + 3?", "--strategy", "best-of", "--reward", "x"], "a reward model reads token ids"),
    ],
)
def test_a_mistake_costs_one_sentence(
    words: list[str], sentence: str, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ask", server.url, *words]) == 2
    out, err = capsys.readouterr()
    assert out == "" and sentence in err and len(err.splitlines()) == 1


def test_a_spell_is_searched_written_and_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def p(known: Known, conversation: object) -> float:
        text = conversation.messages[-1].text  # type: ignore[attr-defined]
        return 0.9 if "step" in text else 0.3

    task, out = tmp_path / "task.jsonl", tmp_path / "found.txt"
    task.write_text("".join(json.dumps({"question": k.question, "answer": k.right}) + "\n" for k in KNOWN))
    with serve(Calibrated(KNOWN, p)) as server:
        search = ["spell", server.url, "--task", str(task), "--scorings", "33", "--train", "12", "--out", str(out)]
        assert main([*search, "--method", "reinforce"]) == 0
        said = capsys.readouterr().out
        assert "(no instruction)" in said and "On 18 other questions:" in said
        record = json.loads(out.with_suffix(".json").read_text())
        assert len(record["trials"]) == 33 and record["method"] == "reinforce"
        assert "step" in record["instruction"]
        assert out.read_text() == record["instruction"].replace("$", "$$") + "\n\n$question\n"
        assert main(["ask", server.url, KNOWN[0].question, "--strategy", f"spell:{out}"]) == 0
        assert server.requests[-1]["messages"][-1]["content"] == f"{record['instruction']}\n\n{KNOWN[0].question}"
        assert main([*search, "--train", "30"]) == 2
        assert "of 30 examples 30 cannot be trained on" in capsys.readouterr().err
        assert main([*search, "--out", str(tmp_path / "found.json")]) == 2
        assert "must end in .txt" in capsys.readouterr().err
    with serve(
        Calibrated(KNOWN, lambda known, conversation: float(conversation.messages[0].text == known.question))
    ) as server:
        out.unlink()
        assert main(["spell", server.url, *search[2:], "--method", "random"]) == 0
        assert "No instruction was better than none, which is right on 100% of the others." in capsys.readouterr().out
        assert not out.exists()
