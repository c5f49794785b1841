"""Feedback of models: constitutions, revisions, labels in both orders, and the way from a file to what `adapt` reads."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from jielong.cli.main import main
from jielong.data.chat_files import read_chats, read_preferences
from jielong.data.prompts import prompt_of, read_prompts
from jielong.errors import ConfigError, DataError
from jielong.evaluate.ai_labels import (
    Candidates,
    Label,
    draw_two,
    label_by_letter,
    label_from,
    label_in_words,
    label_report,
    label_to,
    question_of,
)
from jielong.evaluate.kept_lines import keep_setup, make_lines
from jielong.model import hf
from jielong.model.transformer import ModelConfig, fresh_language_model
from jielong.records import Conversation, Message, judgement_to, to_dict
from jielong.runs import read_json
from jielong.tokens.tokenizer import TokenizerConfig, train_tokenizer
from jielong.use.constitution import read_principles
from jielong.use.port import Answer, Options, Scored
from jielong.use.revising import revise, revised_from


def said(role: str, text: str) -> tuple[Message, ...]:
    return (Message(role, text),)


def candidates(count: int, gold: float | None = 1.0) -> list[Candidates]:
    """Pairs whose first answer is good."""
    return [
        Candidates(said("user", f"What is {n}?"), said("assistant", f"{n} is good"), said("assistant", "no idea"), gold)
        for n in range(count)
    ]


# Constitutions -----------------------------------------------------------------------------------------------------


def test_our_constitution_says_the_same_in_both_languages() -> None:
    own = read_principles()
    assert len(own.each) == 7 and all(one.en != one.zh for one in own.each)
    assert own.text("en").startswith("1. Give no help with hurting") and "\n7. Do not claim" in own.text("en")
    assert own.text("zh").startswith("一、不帮助任何人") and "\n七、不说假话" in own.text("zh")


def test_a_constitution_of_ones_own_is_toml_or_lines(tmp_path: Path) -> None:
    toml, lines = tmp_path / "own.toml", tmp_path / "own.md"
    toml.write_text('[[principle]]\nzh = "要简短。"\n\n[[principle]]\nen = "Be kind."\nzh = "要友善。"\n')
    lines.write_text("# Ours\n\n- Be short.\n2. Be kind.\n", encoding="utf-8")
    assert read_principles(toml).text("en") == "1. 要简短。\n2. Be kind."
    assert read_principles(lines).text("zh") == "一、Be short.\n二、Be kind."
    for text, why in (
        ("principle = 1", "expected a \\[\\[principle\\]\\]"),
        ("[[principle]]\nfr = 'x'", "principle 1 is"),
        ("[[principle]]\nen = ''", "expected texts en and zh"),
        ("[[", "is no TOML"),
    ):
        toml.write_text(text)
        with pytest.raises(DataError, match=why):
            read_principles(toml)
    lines.write_text("# nothing\n")
    with pytest.raises(DataError, match="holds no principle"):
        read_principles(lines)


# Revisions ---------------------------------------------------------------------------------------------------------


class Critic:
    """A model by rule: it swears first, and mends its answer after a critique."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def ask(self, conversation: Conversation, options: Options = Options()) -> Answer:  # noqa: B008
        last = conversation.messages[-1].text
        self.asked.append(last)
        if last.startswith("Hold your last answer"):
            return Answer(Message("assistant", "It swears."))
        if last.startswith("Answer the question once more"):
            assert conversation.messages[-2].text == "It swears."
            return Answer(Message("assistant", f"Blue {len(self.asked)}."))
        return Answer(Message("assistant", "Damn, blue."))


def test_an_answer_is_criticised_by_another_principle_each_round_and_revised() -> None:
    critic, principles = Critic(), read_principles()
    found = asyncio.run(revise(said("user", "How is the sea?"), critic.ask, Options(), principles, rounds=3))
    assert found.answer == "Damn, blue." and found.final == "Blue 7." and found.is_changed
    assert len({one.principle for one in found.rounds}) == 3
    assert all(principles.each[one.principle - 1].en in critic.asked[1 + 2 * n] for n, one in enumerate(found.rounds))
    assert [m.text for m in found.chat.messages] == ["How is the sea?", "Blue 7."]
    again = asyncio.run(revise(said("user", "How is the sea?"), Critic().ask, Options(), principles, rounds=3))
    other = asyncio.run(revise(said("user", "How is the sea?"), Critic().ask, Options(seed=1), principles, rounds=3))
    assert again == found and [r.principle for r in other.rounds] != [r.principle for r in found.rounds]
    assert revised_from(json.loads(json.dumps(to_dict(found)))) == found


# Labels ------------------------------------------------------------------------------------------------------------


class Letters:
    """A judge by rule: `sense` nats for a good answer, `place` nats for whatever is shown first."""

    def __init__(self, sense: float, place: float) -> None:
        self.sense, self.place = sense, place

    async def score(self, prompt: Conversation | str, answers: Sequence[str]) -> list[Scored]:
        assert isinstance(prompt, Conversation) and list(answers) == ["A", "B"]
        first = prompt.messages[0].text.split("Answer A: ")[1].split("\n")[0]
        odds = self.sense * (1 if "good" in first else -1) + self.place
        return [Scored(odds / 2, 1, 1), Scored(-odds / 2, 1, 1)]


def by_letter(judge: Letters, pairs: Sequence[Candidates]) -> list[Label]:
    async def all_of_them() -> list[Label]:
        return [await label_by_letter(pair, judge, read_principles()) for pair in pairs]

    return asyncio.run(all_of_them())


def test_a_judge_with_sense_decides_and_agrees() -> None:
    labels = by_letter(Letters(2.0, 0.5), candidates(6))
    found = label_report(labels)
    assert (found.ties, found.compared, found.undecided) == (0, 6, 0) and found.judge.consistency == 1.0
    assert found.agreement is not None and found.agreement.mean == 1.0 and found.place == pytest.approx(0.5)
    made = [label.preference("judge") for label in labels]
    assert all(p is not None and p.label == 1.0 and "good" in p.chosen[0].text and p.by == "judge" for p in made)


def test_a_judge_that_takes_the_first_decides_nothing_and_is_mended_by_the_mean_of_both_orders() -> None:
    labels = by_letter(Letters(0.5, 3.0), candidates(6))
    found = label_report(labels)
    assert found.ties == 6 and found.compared == 0 and found.agreement is None and found.undecided == 6
    assert found.judge.first_place == 1.0 and found.place == pytest.approx(3.0)
    assert found.agreement_averaged is not None and found.agreement_averaged.mean == 1.0
    assert [p.label for label in labels if (p := label.preference("judge"))] == [0.5] * 6


def test_a_judge_that_is_wrong_is_found_out_and_turns_the_pair() -> None:
    labels = by_letter(Letters(-1.0, 0.0), candidates(3))
    found = label_report(labels)
    assert found.agreement is not None and found.agreement.mean == 0.0
    assert all((p := label.preference("")) and p.chosen[0].text == "no idea" for label in labels)


def test_without_earlier_labels_there_is_no_agreement() -> None:
    found = label_report(by_letter(Letters(1.0, 0.0), candidates(2, gold=None)))
    assert found.agreement is None and found.agreement_averaged is None and found.compared == 0


def test_a_judge_in_words_reads_the_principles() -> None:
    async def ask(conversation: Conversation, options: Options = Options()) -> Answer:  # noqa: B008
        text = conversation.messages[-1].text
        assert "7. Do not claim what is false" in text
        return Answer(Message("assistant", f"Verdict: {'A' if text.index('good') < text.index('no idea') else 'B'}"))

    label = asyncio.run(label_in_words(candidates(1)[0], ask, Options(), read_principles()))
    assert label.verdict.value == 1.0 and label.odds is None and label.averaged is None
    assert label_from(json.loads(json.dumps(label_to(label))), label.candidates) == label
    with pytest.raises(DataError, match="a verdict is damaged"):
        label_from({"a_first": 1.0}, label.candidates)


def test_a_prompt_of_several_turns_is_shown_with_its_speakers() -> None:
    prompt = (Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "Why?"))
    assert question_of(prompt) == "User: Hi\nAssistant: Hello\nUser: Why?"
    assert question_of(said("user", " 你好 ")) == "你好"


def test_two_different_answers_are_drawn_or_one_where_there_is_no_other() -> None:
    told = iter(["a", "a", " ", "b", "c"])

    async def ask(conversation: Conversation, options: Options = Options()) -> Answer:  # noqa: B008
        return Answer(Message("assistant", next(told)))

    async def same(conversation: Conversation, options: Options = Options()) -> Answer:  # noqa: B008
        return Answer(Message("assistant", "a"))

    assert asyncio.run(draw_two(said("user", "?"), ask, Options())) == ["a", "b"]
    assert asyncio.run(draw_two(said("user", "?"), same, Options())) == ["a"]


# Files -------------------------------------------------------------------------------------------------------------


def test_work_goes_on_after_a_kill_and_nothing_is_done_twice(tmp_path: Path) -> None:
    path, ids = tmp_path / "lines.jsonl", [str(n) for n in range(6)]
    made: list[int] = []

    async def make(number: int) -> Mapping[str, Any]:
        if number == 3 and len(made) == 3:
            raise KeyboardInterrupt
        made.append(number)
        return {"square": number**2}

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(make_lines(path, ids, make, at_once=1))
    with path.open("a") as file:
        file.write('{"id": "3", "squ')
    made.append(-1)
    told: list[tuple[int, int]] = []
    found = asyncio.run(make_lines(path, ids, make, at_once=1, on_line=lambda *counts: told.append(counts)))
    assert [line["square"] for line in found] == [0, 1, 4, 9, 16, 25] and made == [0, 1, 2, -1, 3, 4, 5]
    assert told == [(4, 6), (5, 6), (6, 6)] and len(path.read_text().splitlines()) == 6
    path.write_text("not JSON\n")
    with pytest.raises(DataError, match=r"lines\.jsonl:1: damaged"):
        asyncio.run(make_lines(path, ids, make))


def test_another_setup_is_refused(tmp_path: Path) -> None:
    keep_setup(tmp_path / "setup.json", {"judge": "a"})
    keep_setup(tmp_path / "setup.json", {"judge": "a"})
    with pytest.raises(ConfigError, match="results of another judge"):
        keep_setup(tmp_path / "setup.json", {"judge": "b"})


def test_prompts_are_found_in_every_form(tmp_path: Path) -> None:
    answer = {"role": "assistant", "content": "a"}
    asked = {"role": "user", "content": "q"}
    for record in (
        {"prompt": "q"},
        {"question": "q", "answer": "a"},
        {"messages": [asked]},
        {"messages": [asked, answer]},
        {"prompt": [asked], "chosen": [answer], "rejected": [{"role": "assistant", "content": "b"}]},
        judgement_to(Label(candidates(1)[0], by_letter(Letters(1, 0), candidates(1))[0].verdict).preference("x")),  # type: ignore[arg-type]
    ):
        assert prompt_of(record)[-1].role == "user", record
    assert prompt_of({"instruction": "q", "input": "more"}) == said("user", "q\n\nmore")
    file = tmp_path / "asked.jsonl"
    file.write_text('{"prompt": "q"}\n{"question": "q"}\n{"prompt": "other"}\n')
    assert [p[0].text for p in read_prompts(file)] == ["q", "other"]
    file.write_text('{"messages": [{"role": "assistant", "content": "a"}]}\n')
    with pytest.raises(DataError, match="nobody asks anything"):
        read_prompts(file)


# The commands ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that has learned nothing, and pairs."""
    folder = tmp_path_factory.mktemp("farm")
    pairs = [{"prompt": f"What is {n}?", "chosen": f"It is the number {n}.", "rejected": "No idea."} for n in range(24)]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(p) + "\n" for p in pairs))
    tokenizer = train_tokenizer([text for p in pairs for text in p.values()], TokenizerConfig(400))
    shape = ModelConfig(
        vocab_size=tokenizer.vocab_size, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, head_dim=16, max_position_embeddings=2048,
    )  # fmt: skip
    (folder / "model").mkdir()
    hf.save(fresh_language_model(shape, 1), folder / "model", eos_token_id=tokenizer.im_end, pad_token_id=tokenizer.pad)
    tokenizer.save(folder / "model")
    return folder


def test_revised_answers_are_chats_that_adapt_reads(
    farm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["feedback", "revise", str(farm / "pairs.jsonl"), "--model", str(farm / "model"), "--limit", "3"]
    words += ["--max-tokens", "6", "--out", str(tmp_path / "revised")]
    assert main(words) == 0
    assert "jielong adapt MODEL --chat" in capsys.readouterr().out
    chats = tmp_path / "revised" / "chats.jsonl"
    assert len(read_chats(chats).records) == 3
    before = chats.read_bytes(), (tmp_path / "revised" / "revisions.jsonl").read_bytes()
    assert main(words) == 0 and before == (chats.read_bytes(), (tmp_path / "revised" / "revisions.jsonl").read_bytes())
    assert main([*words, "--rounds", "2"]) == 2 and "results of another rounds" in capsys.readouterr().err


def test_labels_of_pairs_are_preferences_that_adapt_reads(
    farm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "labelled"
    words = ["feedback", "label", str(farm / "pairs.jsonl"), "--judge", str(farm / "model"), "--out", str(out)]
    assert main([*words, "--letter"]) == 0
    told, found = capsys.readouterr().out, read_json(out / "report.json")
    assert "24 pairs are labelled" in told and "by the mean of both orders" in told
    assert found["compared"] + found["undecided"] == 24 and found["judge"]["unread"] == 0
    made = read_preferences(out / "preferences.jsonl").records
    assert len(made) == 24 and {p.label for p in made} <= {0.5, 1.0} and all(p.by for p in made)
    assert main(words) == 2 and "results of another letter" in capsys.readouterr().err
    # its words say nothing
    assert main([*words[:-1], str(tmp_path / "words"), "--limit", "2", "--max-tokens", "4"]) == 2
    assert "in none of 2 pairs" in capsys.readouterr().err


def test_answers_are_drawn_where_a_model_is_named(
    farm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = tmp_path / "asked.jsonl"
    asked.write_text('{"prompt": "What is 3?"}\n{"prompt": "What is 4?"}\n')
    words = ["feedback", "label", str(asked), "--judge", str(farm / "model"), "--letter", "--max-tokens", "5"]
    words += ["--out", str(tmp_path / "out")]
    assert main(words) == 2 and "--model MODEL draws two to each" in capsys.readouterr().err
    assert main([*words, "--model", str(farm / "model")]) == 0
    assert len(read_preferences(tmp_path / "out" / "preferences.jsonl").records) == 2
    assert main([*words, "--model", str(farm / "model"), "--temperature", "0"]) == 2
