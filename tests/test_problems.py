"""Prompts whose answer is known: read from the forms people have, judged by rules, and learned from by reinforcement."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bench.verified import HEADS, coin, with_coin, without_reinforcement

from jielong.cli.main import build_parser, main
from jielong.config import resolved
from jielong.data.chat_files import read_problems
from jielong.data.problems import problem_of
from jielong.errors import ConfigError, DataError
from jielong.model import adapter_files, hf
from jielong.model.transformer import ModelConfig, fresh_language_model
from jielong.recipes.addition import addition
from jielong.recipes.solving import solving
from jielong.records import Conversation, Message, Sample
from jielong.runs import find_model, read_json, read_metrics
from jielong.stages.execute import run_recipe
from jielong.stages.parts import read_conversations
from jielong.stages.problems import PuzzlesStage
from jielong.stages.recipe import change
from jielong.stages.rules import RULES
from jielong.stages.solving import Solved, newly_solved, powers_up_to, sentences
from jielong.tokens.tokenizer import TokenizerConfig, train_tokenizer
from jielong.worlds.sums.addition import sums_in_parts


def read(**data: Any) -> Conversation:
    return problem_of(data, RULES).record


# As people have them -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "asked", "answers"),
    [
        ({"question": "q", "answer": 7}, "q", ["7"]),
        ({"prompt": "q", "answers": ["one", "1"]}, "q", ["one", "1"]),
        ({"messages": [{"role": "user", "content": "q"}], "ground_truth": "a"}, "q", ["a"]),
        ({"problem": "q", "solution": "a"}, "q", ["a"]),
        ({"instruction": "add", "input": "1 2", "target": 3.5}, "add\n\n1 2", ["3.5"]),
        # GSM8K has the way before the result, verl the answer in an object of its own
        ({"question": "q", "answer": "6 + 6 = 12\n#### 12"}, "q", ["12"]),
        ({"prompt": [{"role": "user", "content": "q"}], "reward_model": {"ground_truth": "9", "style": "rule"}}, "q", ["9"]),
    ],
)  # fmt: skip
def test_a_problem_is_read_from_any_of_the_common_forms(data: dict[str, Any], asked: str, answers: list[str]) -> None:
    found = problem_of(data, RULES)
    assert [(m.role, m.text) for m in found.record.messages] == [("user", asked)]
    assert (found.record.meta, found.useless) == ({"answer": answers}, "")


def test_a_rule_of_its_own_a_system_message_and_unread_fields_are_kept_apart() -> None:
    found = problem_of({"system": "S", "prompt": "q", "answer": "a", "verifier": "exact", "level": 3}, RULES)
    assert [m.role for m in found.record.messages] == ["system", "user"]
    assert found.record.meta == {"answer": ["a"], "rule": "exact"}
    assert found.unread == ("level",)


def test_the_scorer_of_a_task_is_its_rule() -> None:
    assert read(question="q", answer="a", scorer="contains").meta["rule"] == "contains"


def test_prompts_that_leave_no_room_are_refused_in_words(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "long.jsonl"
    file.write_text("".join(json.dumps({"prompt": f"Say {'1 ' * 60}{n}", "answer": "1"}) + "\n" for n in range(20)))
    with pytest.raises(DataError, match=r"none of .* prompts leaves room for 4 tokens of an answer in 48 positions"):
        run_recipe(solving(model, str(file), max_tokens=4), tmp_path / "runs")


def test_what_comes_after_the_question_is_left_out_and_said() -> None:
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "the way"}]
    found = problem_of({"messages": turns, "answer": "a"}, RULES)
    assert [m.role for m in found.record.messages] == ["user"]
    assert found.odd == ("turns after the last question, which are left out",)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"answer": "a"}, "there is no prompt"),
        ({"prompt": " ", "answer": "a"}, "nothing is asked"),
        ({"prompt": "q", "answer": True}, "'answer' is true"),
        ({"prompt": "q", "answer": {"value": 3}}, "a text or a number"),
        ({"prompt": "q", "answer": "a", "rule": "exakt"}, "unknown rule 'exakt'; did you mean 'exact'"),
        ({"prompt": "q", "answer": "(", "rule": "regex"}, "no regular expression"),
    ],
)
def test_a_wrong_problem_is_refused_by_name(data: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said.replace("(", r"\(")):
        problem_of(data, RULES)


def test_a_file_says_what_was_of_no_use_and_which_line_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text('{"prompt": "q", "answer": "a"}\n{"prompt": "r", "answer": ""}\n')
    reading = read_problems(file, RULES)
    assert len(reading.records) == 1
    assert "left out: 1, its answer is not known (line 2)" in reading.tally.sentences()
    file.write_text('{"prompt": "q", "answer": "a"}\n{"prompt": "r", "answer": {}}\n')
    with pytest.raises(DataError, match=r"p\.jsonl:2"):
        read_problems(file, RULES)


# Rules -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "right", "wrong"),
    [
        ("exact", "46", "46 or 47"),
        ("match", "The answer is 46.", "It is 45, 46 or 47."),
        ("number", "12 + 34 = 46", "46, I think, or 47"),
        ("stated", "so 46", "so 64"),
    ],
)
def test_a_rule_pays_for_the_answer_and_not_for_guessing_at_several(rule: str, right: str, wrong: str) -> None:
    asked = read(prompt="12 + 34", answer=46, rule="number" if rule == "stated" else "")
    assert RULES[rule](asked, right) == 1.0
    assert [RULES[rule](asked, text) for text in (wrong, "", "46" * 3, "I don't know")] == [0.0] * 4


def test_a_number_is_compared_by_its_value() -> None:
    asked = read(prompt="q", answer="1,200.50")
    assert RULES["number"](asked, "about 1200.5") == 1.0
    assert RULES["number"](read(prompt="q", answer="none"), "none") == 0.0, "where nothing is a number nothing is equal"


def test_a_prompt_without_what_its_rule_needs_is_refused() -> None:
    asked = Conversation((Message("user", "q"),))
    with pytest.raises(DataError, match=r"needs the known answer of each prompt"):
        RULES["number"](asked, "1")
    with pytest.raises(DataError, match="needs puzzles of reasoning-gym"):
        RULES["puzzle"](asked, "1")


# What an exam says -------------------------------------------------------------------------------------------------


def test_the_exam_tells_what_is_new_from_what_is_only_likelier() -> None:
    before = Solved(["1", "2", "3"], [True, False, False], [4, 2, 0], 4)
    after = Solved(["1", "2", "3"], [True, True, True], [4, 4, 3], 4)
    # pass@1 = (4 + 2 + 0) / 12; pass@4 = 2 of 3, as one problem has no right sample
    assert before.shares() == pytest.approx({"likeliest": 1 / 3, "pass@1": 0.5, "pass@4": 2 / 3})
    assert newly_solved(before, after) == 1
    assert (
        "1 of them sft solved in none of 4 samples; 1 of these rl solves now"
        in sentences({"sft": before, "rl": after})[1]
    )
    nothing = Solved(["", "", ""], [False] * 3, [0] * 3, 4)
    assert "nothing to begin with" in sentences({"sft": nothing, "rl": nothing})[1]
    assert (powers_up_to(16), powers_up_to(10), powers_up_to(1)) == ([1, 4, 16], [1, 4, 10], [1])


def test_sums_are_in_one_part_only_and_follow_the_seed() -> None:
    parts = sums_in_parts(20, (100, 200, 50), seed=3)
    assert [len(part) for part in parts] == [100, 200, 50]
    assert len({one for part in parts for one in part}) == 350
    assert parts == sums_in_parts(20, (100, 200, 50), seed=3) != sums_in_parts(20, (100, 200, 50), seed=4)
    assert (parts[0][0].a + parts[0][0].b) == int(parts[0][0].answer)
    with pytest.raises(ConfigError, match="there are 400"):
        sums_in_parts(20, (300, 200), seed=3)


# From a file to a model --------------------------------------------------------------------------------------------


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model"
    path.mkdir()
    tokenizer = train_tokenizer(["Say 1 2 3 4 5 6 7 8 9 0"], TokenizerConfig(vocab_size=320, digits="single"))
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16, max_position_embeddings=48,
    )  # fmt: skip
    hf.save(fresh_language_model(config, 1), path, eos_token_id=tokenizer.im_end, pad_token_id=tokenizer.pad)
    tokenizer.save(path)
    return path


def problems(folder: Path, pattern: str) -> Path:
    file = folder / "problems.jsonl"
    lines = [{"prompt": f"Say {n}", "answer": pattern, "rule": "regex"} for n in range(40)]
    file.write_text("\n".join(map(json.dumps, lines)))
    return file


SETTINGS = ("rl.source.group_size=16", "rl.source.prompts=8", "rl.source.micro_rows=128", "rl.loop.log_every=1",
            "solved.samples=2", "solved.limit=4")  # fmt: skip


def scores(folder: Path, model: Path, pattern: str, steps: int) -> list[float]:
    """The mean reward of each step, of all weights reinforced at a high rate."""
    recipe = solving(model, str(problems(folder, pattern)), rank=0, max_tokens=4)
    settings = [*SETTINGS, f"rl.loop.steps={steps}", "rl.optimizer.lr=0.01"]
    done = run_recipe(change(recipe, settings), folder / f"runs of {steps}")
    return [line["score"] for line in read_metrics(done.path / "rl" / "metrics.jsonl")]


def test_what_a_rule_rewards_is_learned_and_what_it_never_rewards_is_not(model: Path, tmp_path: Path) -> None:
    """A random model writes a digit now and then; no answer of four tokens matches the control's pattern."""
    found = scores(tmp_path, model, "[0-9]", 30)
    assert sum(found[:3]) / 3 < 0.4 and sum(found[-3:]) / 3 > 0.8
    assert set(scores(tmp_path, model, "x{40}", 3)) == {0.0}


def adapt(*arguments: object) -> int:
    parsed = build_parser().parse_args(["adapt", *map(str, arguments)])
    return int(parsed.command(parsed))


def test_adapt_reinforces_an_adapter_and_says_what_is_solved(model: Path, tmp_path: Path, capsys: Any) -> None:
    before = {file.name: file.read_bytes() for file in model.iterdir()}
    settings = [word for one in (*SETTINGS, "rl.loop.steps=2") for word in ("--set", one)]
    file = problems(tmp_path, "[0-9]")
    assert adapt(model, "--prompts", file, "--max-tokens", 4, "--runs", tmp_path / "runs", *settings) == 0
    (path,) = (tmp_path / "runs").iterdir()
    assert adapter_files.is_adapter(find_model(path))
    assert {file.name: file.read_bytes() for file in model.iterdir()} == before
    assert "of 4 held-out problems the likeliest answer of after solves" in capsys.readouterr().out
    found = read_json(path / "solved.json")
    assert list(found["shares"]) == ["before", "after"] and set(found["problems"]["after"]) == {"right", "likeliest"}
    asked = [
        c.messages[0].text
        for part in ("prompts", "held_out")
        for c in read_conversations(path / "problems" / f"{part}.jsonl")
    ]
    assert sorted(asked) == sorted(f"Say {n}" for n in range(40)), "each problem in one part"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--prompts", "reasoning-gym:lcmm"], "did you mean 'lcm'"),
        (["--prompts", "sums", "--reward", "exakt"], "there is no rule 'exakt'; did you mean 'exact'"),
        (["--prompts", "sums", "--max-tokens", "48"], "leave no room for a question in 48 positions"),
        (["--prompts", "sums", "--merge"], "goes without --merge"),
        (["--prompts", "sums", "--method", "dpo"], "goes without --method"),
        (["--prompts", "sums", "--method", "reward"], "goes without --method"),
        (["--chat", "chats.jsonl", "--reward", "exact"], "are for --prompts"),
    ],
)
def test_what_cannot_go_together_is_refused(model: Path, arguments: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        adapt(model, *arguments)


def test_too_few_problems_are_refused_before_anything_is_trained(model: Path, tmp_path: Path) -> None:
    file = tmp_path / "few.jsonl"
    file.write_text('{"prompt": "q", "answer": "a"}\n' * 3)
    with pytest.raises(DataError, match="holds 3 prompts with a known answer; at least 16"):
        solving(model, str(file))


def test_puzzles_are_judged_by_their_generator_and_held_out_by_their_question(model: Path, tmp_path: Path) -> None:
    pytest.importorskip("reasoning_gym")
    recipe = change(solving(model, "reasoning-gym:lcm"), ["problems.count=64"])
    assert isinstance(recipe.stage("problems"), PuzzlesStage)
    done = run_recipe(replace(recipe, stages=recipe.stages[:2], model=""), tmp_path)
    parts = [read_conversations(done.path / "problems" / f"{name}.jsonl") for name in ("prompts", "held_out")]
    learned, held_out = ({c.messages[0].text for c in part} for part in parts)
    assert learned and held_out and not learned & held_out
    asked = parts[0][0]
    one, other = map(int, re.findall(r"\d+", asked.messages[0].text)[-2:])
    assert RULES["stated"](asked, str(math.lcm(one, other))) == 1.0
    assert RULES["stated"](asked, str(math.lcm(one, other) + 1)) == 0.0


def test_the_control_differs_from_the_rule_by_its_coin_alone() -> None:
    recipe = with_coin(addition("smoke"))
    rule, control = (resolved(recipe.stage(name)) for name in ("rl", "coin"))
    assert {name for name in rule if rule[name] != control[name]} == {"kind", "name", "loop"}
    assert list(recipe.stage("solved").inputs) == ["sft", "rl", "coin", "data", "tokenizer"]
    item = (None, Conversation((Message("user", "1 + 1"),), {"answer": ["2"]}), Sample((5,), (6,)))
    values = [score.value for score in coin(3)([item] * 2000)]
    assert set(values) == {0.0, 1.0} and abs(sum(values) / 2000 - HEADS) < 0.05
    assert [s.name for s in without_reinforcement(addition()).stages] == ["sums", "tokenizer", "sft", "solved"]


@pytest.mark.smoke
def test_the_smallest_size_of_addition_ends_with_an_exam(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["run", "addition", "--size", "smoke", "--no-chat"]) == 0
    assert "held-out problems" in capsys.readouterr().out
    assert list(read_json(tmp_path / "runs" / "addition-smoke-0" / "solved.json")["shares"]) == ["sft", "rl"]
