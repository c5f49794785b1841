"""Strategies against models whose error is known: what each must give can be worked out, and what it cost is recorded."""

from __future__ import annotations

import asyncio
import random
import time
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from bench.strategies.calibrated import Calibrated, Known

from jielong.errors import ConfigError, DataError
from jielong.records import Conversation, Message, Sample, Sampling, Score
from jielong.use import strategy as strategy_module
from jielong.use.examples import Example, nearest, read_examples
from jielong.use.ledger import Budget, BudgetSpent, Happening, keep, note
from jielong.use.port import Answer, Ask, Options
from jielong.use.strategies import STRATEGIES, Chain, named
from jielong.use.strategy import Outcome, Strategy, run

SUMS = [Known(f"What is {a} + {b}?", str(a + b), (str(a + b + 1), str(a + b - 1))) for a, b in ((7, 8), (2, 3), (9, 4))]
RIGHT, WRONG = Calibrated(SUMS, 1.0, name="right"), Calibrated(SUMS, 0.0, name="wrong")
MODEL = Calibrated(SUMS, 0.6)


def asked(text: str, item: object = None) -> Conversation:
    return Conversation((Message("user", text),), {} if item is None else {"item": item})


def outcome(spec: str | Strategy, ask: Ask, question: str | Conversation = SUMS[0].question, **more: Any) -> Outcome:
    strategy = named(spec) if isinstance(spec, str) else spec
    conversation = asked(question) if isinstance(question, str) else question
    return asyncio.run(run(strategy, conversation, ask, **more))


def check(items: Sequence[tuple[Any, Conversation, Sample]]) -> list[Score]:
    """A verifier that knows: the item is the right answer."""
    return [Score(float(conversation.messages[-1].text == item)) for item, conversation, _ in items]


def judge(is_right: str, otherwise: str) -> Calibrated:
    """Answers with p = .6 and judges without error, in these words."""

    def react(conversation: Conversation, known: Known | None, dice: random.Random) -> str | None:
        last = conversation.messages[-1].text
        if known is None or "Proposed answer" not in last:
            return None
        return is_right if f"\n{known.right}\n" in last else otherwise

    return Calibrated(SUMS, 0.6, react=react)


# --- names and chains


def test_names_read_like_a_sentence_and_are_refused_with_the_nearest() -> None:
    assert named("vote:5") == named("vote:n=5") != named("vote")
    assert named("best-of:n=4,weighted=true").weighted  # type: ignore[attr-defined]
    assert list(STRATEGIES) == sorted(STRATEGIES)
    with pytest.raises(ConfigError, match="unknown strategy 'vots'; did you mean 'vote'"):
        named("vots")
    with pytest.raises(ConfigError, match="unknown option 'm'"):
        named("vote:m=3")
    with pytest.raises(ConfigError, match=r"n of Vote is 0; it must be at least 1"):
        named("vote:0")
    with pytest.raises(ConfigError, match=r"strategy cascade needs large .*--large"):
        named("cascade")
    with pytest.raises(ConfigError, match="unknown spell 'luck'"):
        named("spell:luck")


@dataclass(frozen=True)
class Tagged(Strategy):
    """Writes its tag before and after."""

    tag: str

    async def __call__(self, conversation: Conversation, ask: Ask, options: Options) -> Answer:
        note(self.tag)
        answer = await ask(conversation, replace(options, label=self.tag))
        return replace(answer, message=Message("assistant", f"{self.tag}({answer.text})"))


def test_the_strategy_on_the_left_asks_the_one_to_its_right() -> None:
    happened: list[Happening] = []
    made = outcome("explain+vote:3", RIGHT.ask, on_happening=happened.append)
    assert made.usage.calls == 3 and made.answer.text == "15"
    assert all(c.conversation.messages[-1].text.startswith("What is 7 + 8?\n\nExplain") for c in made.calls)
    assert {c.depth for c in made.calls} == {2}
    made = outcome(Chain((Tagged("a"), Tagged("b"), Tagged("c"))), RIGHT.ask, on_happening=happened.append)
    assert made.answer.text == "a(b(c(15)))"
    assert [(h.text, h.depth) for h in happened if h.kind == "note"][-3:] == [("a", 1), ("b", 2), ("c", 3)]


# --- the ledger


def test_every_call_is_recorded_in_order_with_its_cost() -> None:
    made = outcome("vote:5", MODEL.ask)
    assert [c.number for c in made.calls] == [1, 2, 3, 4, 5]
    assert [c.label for c in made.calls] == [f"vote {n}" for n in range(1, 6)]
    assert len({c.options.seed for c in made.calls}) == 5
    assert made.usage == sum((c.answer.usage for c in made.calls[1:]), made.calls[0].answer.usage)
    assert made.answer.usage == made.usage
    record = made.calls[0].to_dict()
    assert record["messages"] == [{"role": "user", "content": "What is 7 + 8?"}]
    assert record["seed"] == made.calls[0].options.seed and record["usage"]["prompt_tokens"] == 5


def test_what_happens_is_told_in_its_order_and_the_pieces_join_to_the_answers() -> None:
    model = Calibrated([], react=lambda c, k, dice: f"one two {dice.random()}")
    happened: list[Happening] = []
    made = outcome("vote:3", model.ask, "?", on_happening=happened.append)
    for call in made.calls:
        mine = [h for h in happened if h.call == call.number]
        assert [mine[0].kind, mine[-1].kind] == ["begins", "ends"]
        assert "".join(h.text for h in mine if h.kind == "text") == call.answer.text == mine[-1].text


def test_a_spent_budget_ends_the_work_with_what_was_kept() -> None:
    whole = outcome("vote:9", MODEL.ask)
    assert not whole.is_stopped and whole.answer.stop == "stop"
    cut = outcome("vote:9", MODEL.ask, budget=Budget(calls=4))
    # a vote that is cut short counts the voices that came
    assert [c.answer.text for c in cut.calls] == [c.answer.text for c in whole.calls[:4]]
    assert cut.is_stopped
    kept = outcome("reflect:3", Calibrated(SUMS, 1.0, react=_never_content).ask, budget=Budget(calls=3))
    assert kept.is_stopped and (kept.answer.text, kept.answer.stop) == ("15", "budget")
    assert len(kept.calls) == 3


def _never_content(conversation: Conversation, known: Known | None, dice: random.Random) -> str | None:
    return "No, a mistake." if "Look at your answer" in conversation.messages[-1].text else None


def test_without_any_answer_a_spent_budget_is_an_error() -> None:
    @dataclass(frozen=True)
    class Slow(Strategy):
        async def __call__(self, conversation: Conversation, ask: Ask, options: Options) -> Answer:
            await asyncio.sleep(0.05)
            return await ask(conversation, options)

    with pytest.raises(BudgetSpent, match=r"the budget of 0.01 seconds is spent"):
        outcome(Slow(), MODEL.ask, budget=Budget(seconds=0.01))


def test_no_call_writes_more_tokens_than_are_left_and_the_next_one_is_refused() -> None:
    model = Calibrated([], react=lambda c, k, dice: "one two three four five six")
    # five are read with each call ("?" and what is asked for), of which it writes at most what is left
    made = outcome("vote:3", model.ask, "?", budget=Budget(tokens=4))
    assert made.calls[0].answer.text == "one two three four"
    assert made.calls[0].answer.stop == "length"
    with pytest.raises(ConfigError, match="budget tokens is -1"):
        Budget(tokens=-1)


def test_the_outermost_strategy_decides_what_is_kept() -> None:
    @dataclass(frozen=True)
    class Keeps(Strategy):
        text: str

        async def __call__(self, conversation: Conversation, ask: Ask, options: Options) -> Answer:
            keep(Answer(Message("assistant", self.text)))
            await ask(conversation, options)
            return await ask(conversation, options)

    made = outcome(Chain((Keeps("outer"), Keeps("inner"))), RIGHT.ask, budget=Budget(calls=3))
    assert made.is_stopped and made.answer.text == "outer"


def _of_few_words(conversation: Conversation, known: Known | None, dice: random.Random) -> str:
    return "1. Add.\n2. Take away." if dice.random() < 0.5 else "maybe"


ENDLESS = [
    "vote:1000000000",
    "best-of:1000000000",
    "vote:3+vote:1000000000",
    "vote:1000000000+discuss:copies=1000000000+vote:1000000000",
    "cascade:by=vote,n=1000000000",
    "check:1000000000",
    "discuss:copies=1000000000",
    "discuss:rounds=1000000000",
    "debate:1000000000",
    "dera:1000000000",
    "reflect:1000000000",
    "decompose:1000000000",
    "plan:1000000000",
    "story:drafts=1000000000",
    "tree:branches=1000000000,propose=sample",
    "tree:values=1000000000",
    "tree:steps=1000000000",
]


@pytest.mark.parametrize("spec", ENDLESS)
def test_a_count_without_end_costs_what_the_budget_has(spec: str) -> None:
    strategy = named(spec, {"large": RIGHT.ask})
    model = Calibrated([], react=_of_few_words)
    tracemalloc.start()
    start_s = time.monotonic()
    made = outcome(strategy, model.ask, "How many?", budget=Budget(calls=3))
    assert len(made.calls) <= 3 and made.answer.text
    assert time.monotonic() - start_s < 5 and tracemalloc.get_traced_memory()[1] < 30e6
    tracemalloc.stop()


@pytest.mark.parametrize("spec", ENDLESS)
def test_a_count_without_end_and_without_a_budget_is_refused(spec: str) -> None:
    strategy = named(spec, {"large": RIGHT.ask})
    with pytest.raises(ConfigError, match=r"is 1,000,000,000; without a budget .* at most 100,000"):
        outcome(strategy, RIGHT.ask)


def test_a_budget_of_seconds_ends_a_count_without_end() -> None:
    async def slow(conversation: Conversation, options: Options = Options()) -> Answer:  # noqa: B008
        await asyncio.sleep(0.01)
        return await RIGHT.ask(conversation, options)

    made = outcome("vote:1000000000", slow, budget=Budget(seconds=1))
    assert made.answer.text == "15" and made.seconds < 5


def test_how_many_ask_at_the_same_time_changes_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = outcome("vote:20", MODEL.ask)
    monkeypatch.setattr(strategy_module, "AT_A_TIME", 3)
    few = outcome("vote:20", MODEL.ask)
    assert few.answer.text == whole.answer.text
    assert {c.label: c.answer.text for c in few.calls} == {c.label: c.answer.text for c in whole.calls}


def test_no_call_begins_after_one_that_failed_and_those_under_way_are_waited_for() -> None:
    begun: list[int] = []
    ended: list[int] = []

    async def one(number: int) -> int:
        begun.append(number)
        await asyncio.sleep(0.01 if number else 0)
        if not number:
            raise DataError("the first one")
        ended.append(number)
        return number

    with pytest.raises(DataError, match="the first one"):
        asyncio.run(strategy_module.together(one(number) for number in range(10 * strategy_module.AT_A_TIME)))
    assert len(begun) == strategy_module.AT_A_TIME and len(ended) == len(begun) - 1


def test_an_error_of_one_call_is_the_error_of_the_strategy() -> None:
    with pytest.raises(DataError, match="none of the 3 known"):
        outcome("vote:3", MODEL.ask, "What is the weather?", budget=Budget(calls=2))


# --- voting and judging


def test_a_vote_gives_what_most_say_and_of_a_tie_what_came_first() -> None:
    said = iter(["It is 4.", "so: 5", "Answer: 5", "4", "seven"])
    model = Calibrated([], react=lambda c, k, dice: next(said))
    assert outcome("vote:5", model.ask, "?").answer.text == "It is 4."


def test_best_of_takes_what_the_scorer_likes_best() -> None:
    question = asked(SUMS[0].question, item="15")
    for seed in range(8):
        made = outcome(named("best-of:9", {"scorer": check}), MODEL.ask, question, options=Options(seed=seed))
        assert made.usage.calls == 9
        assert made.answer.text == ("15" if "15" in [c.answer.text for c in made.calls] else made.answer.text)


def test_of_equally_good_samples_what_most_of_them_say_is_best_and_weights_add_up() -> None:
    said = ["it is 1", "that gives 2", "we get 3", "hence 2", "it must be 3", "x = 3"]

    def score(items: Sequence[tuple[Any, Conversation, Sample]]) -> list[Score]:
        values = {"1": 0.5, "2": 0.9, "3": 0.4}
        return [Score(values[conversation.messages[-1].text[-1]]) for _, conversation, _ in items]

    def ask(strategy: str, scorer: object) -> str:
        texts = iter(said)
        model = Calibrated([], react=lambda c, k, dice: next(texts))
        return outcome(named(strategy, {"scorer": scorer}), model.ask, "?").answer.text

    assert ask("best-of:6", score) == "that gives 2"
    # .5, 1.8 and 1.2
    assert ask("best-of:6,weighted=true", score) == "that gives 2"
    assert ask("best-of:5,weighted=true", lambda items: [Score(1.0) for _ in items]) == "that gives 2"
    assert ask("best-of:6", lambda items: [Score(1.0) for _ in items]) == "we get 3"


def test_the_model_as_its_own_judge_reads_each_text_once() -> None:
    model = judge("Yes.", "no")
    texts = set()
    for seed in range(6):
        made = outcome("best-of:5", model.ask, options=Options(Sampling(max_tokens=9, temperature=0.0), seed))
        samples = [c.answer.text for c in made.calls if c.label.startswith("sample")]
        assert len(made.calls) == 5 + len(set(samples))
        assert "15" not in samples or made.answer.text == "15"
        texts |= set(samples)
    assert texts == {"14", "15", "16"}


def test_check_asks_again_until_an_answer_passes_and_else_gives_the_first() -> None:
    for seed in range(8):
        made = outcome("check:4", judge("yes", "No!").ask, options=Options(Sampling(temperature=0.7), seed))
        tries = [c.answer.text for c in made.calls if c.label.startswith("try")]
        assert made.answer.text == "15" or (len(tries) == 4 and made.answer.text == tries[0])
        assert "15" not in tries[:-1]
    assert outcome("check:4", WRONG.ask, options=Options(seed=1)).answer.text in ("14", "16")
    made = outcome(named("check:4", {"scorer": check}), RIGHT.ask, asked(SUMS[0].question, "15"))
    assert len(made.calls) == 1


def test_the_judge_is_the_model_and_not_the_next_strategy() -> None:
    made = outcome("check:1+vote:3", judge("yes", "no").ask)
    assert sorted(c.label for c in made.calls) == ["verify", "vote 1", "vote 2", "vote 3"]


@pytest.mark.parametrize("by", ["logprob", "vote", "itself"])
def test_a_cascade_asks_the_large_model_only_where_the_small_one_is_unsure(by: str) -> None:
    def p(known: Known, conversation: Conversation) -> float:
        return 0.99 if known is SUMS[0] else 0.05

    def react(conversation: Conversation, known: Known | None, dice: random.Random) -> str | None:
        if "Proposed answer" in conversation.messages[-1].text:
            return "yes" if known is SUMS[0] else "no"
        return None

    small, large = Calibrated(SUMS, p, react=react), Calibrated(SUMS, 1.0)
    strategy = named(f"cascade:{by},n=7", {"large": large.ask})
    for seed in range(3):
        sure = outcome(strategy, small.ask, SUMS[0].question, options=Options(seed=seed))
        unsure = outcome(strategy, small.ask, SUMS[2].question, options=Options(seed=seed))
        assert (sure.answer.text, unsure.answer.text) == ("15", "13")
        assert "large" not in {c.label for c in sure.calls}
        # the large model's call is in the same ledger
        assert unsure.calls[-1].label == "large" and unsure.usage.calls == len(unsure.calls)


def test_random_routing_sends_the_share_it_says() -> None:
    strategy = named("cascade:random,threshold=0.3", {"large": RIGHT.ask})
    calls = [len(outcome(strategy, WRONG.ask, options=Options(seed=seed)).calls) for seed in range(400)]
    # 120 of 400 expected, standard deviation 9
    assert abs(calls.count(2) - 120) < 4 * 9


# --- putting the question


def test_a_spell_is_put_around_the_question_in_its_language(tmp_path: Path) -> None:
    def prompt(spec: str, question: str) -> str:
        model = Calibrated([], react=lambda c, k, dice: "fine")
        return outcome(spec, model.ask, question).calls[0].conversation.messages[-1].text

    assert prompt("spell:tip", "What is $1 + $1?") == "What is $1 + $1?\n\nI will tip you $200 for a perfect answer."
    assert prompt("spell:emotion", "一加一等于几？") == "一加一等于几？\n\n这对我的工作非常重要。"
    own = tmp_path / "own.txt"
    own.write_text("Abracadabra! $question\n", encoding="utf-8")
    assert prompt(f"spell:{own}", "Is it?") == "Abracadabra! Is it?"
    own.write_text("The sea is blue.\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"own\.txt has no \$question in it"):
        prompt(f"spell:{own}", "Is it?")
    assert prompt(f"context:{own}", "How is it?") == "Context:\nThe sea is blue.\n\nQuestion: How is it?"
    own.write_text("For $5: $question", encoding="utf-8")
    with pytest.raises(DataError, match=r"cannot be filled in .*\$question, and \$\$ is a \$"):
        prompt(f"spell:{own}", "Is it?")
    with pytest.raises(ConfigError, match="context:FILE"):
        prompt("context", "Is it?")


def test_thinking_comes_before_the_answer_that_reads_it() -> None:
    def react(conversation: Conversation, known: Known | None, dice: random.Random) -> str:
        return "7 and 8 make 15." if len(conversation.messages) == 1 else "15"

    made = outcome("think", Calibrated(SUMS, react=react).ask)
    first, second = made.calls
    assert first.conversation.messages[-1].text == "What is 7 + 8?\n\nLet us think step by step."
    assert [m.role for m in second.conversation.messages] == ["user", "assistant", "user"]
    assert second.conversation.messages[1].text == "7 and 8 make 15."
    assert made.answer.text == "15"


def test_the_likest_examples_are_chosen_and_stand_last(tmp_path: Path) -> None:
    pool = (
        *(Example(f"What is the capital of {c}?", c[0]) for c in ("Chad", "Peru", "Cuba")),
        Example("What is 7 + 7?", "14"),
        Example("How much is 8 + 7?", "15"),
        Example("七加八等于几？", "15"),
    )
    made = outcome(named("few-shot:k=2", {"examples": pool}), RIGHT.ask)
    assert [m.text for m in made.calls[0].conversation.messages] == [
        "How much is 8 + 7?",
        "15",
        "What is 7 + 7?",
        "14",
        "What is 7 + 8?",
    ]
    assert nearest("五加八等于几？", [e.question for e in pool], 1) == [5]
    system = Conversation((Message("system", "Add."), Message("user", SUMS[0].question)))
    made = outcome(named("few-shot:k=1", {"examples": pool}), RIGHT.ask, system)
    assert [m.role for m in made.calls[0].conversation.messages] == ["system", "user", "assistant", "user"]

    async def embed(texts: Sequence[str]) -> list[list[float]]:
        return [[float("capital" in t or "8?" in t), 1.0 * t.count("u")] for t in texts]

    made = outcome(named("few-shot:k=1", {"examples": pool, "embed": embed}), RIGHT.ask)
    assert made.calls[0].conversation.messages[0].text == "What is the capital of Chad?"

    file = tmp_path / "examples.jsonl"
    file.write_text('{"question": "What is 1 + 1?", "answer": "2"}\n', encoding="utf-8")
    assert read_examples(file) == (Example("What is 1 + 1?", "2"),)
    assert len(outcome(f"few-shot:{file}", RIGHT.ask).calls[0].conversation.messages) == 3
    file.write_text('{"question": "What is 1 + 1?", "answer": 2}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"examples.jsonl:1: 'answer' is 2; expected some text"):
        read_examples(file)


# --- writing anew


def test_reflection_ends_where_the_answer_is_found_right_and_else_revises() -> None:
    def react(conversation: Conversation, known: Known | None, dice: random.Random) -> str | None:
        last = conversation.messages[-1].text
        if last.startswith("Look at your answer"):
            return "Yes, all is well." if conversation.messages[-2].text == "15" else "No: it is not the sum."
        return "15" if last.startswith("Answer once more") else None

    right = outcome("reflect:3", Calibrated(SUMS, 1.0, react=react).ask)
    assert [c.label for c in right.calls] == ["answer", "critique"] and right.answer.text == "15"
    wrong = outcome("reflect:3", Calibrated(SUMS, 0.0, react=react).ask)
    assert [c.label for c in wrong.calls] == ["answer", "critique", "revise", "critique"]
    assert wrong.answer.text == "15"
    assert wrong.calls[2].conversation.messages[-2].text == "No: it is not the sum."


def _with_principles(conversation: Conversation, known: Known | None, dice: random.Random) -> str:
    """Swears when asked to, finds oaths, and writes without them where the question is not about oaths alone."""
    last = conversation.messages[-1].text
    if "about to be shown" in last:
        return "Yes, number 6." if "damn" in last.split("shown:")[1] else "No."
    if "breaks the principles" in last:
        return "damn again" if "only swear" in last else "The sea is blue."
    return "The damn sea is blue." if "swear" in last else "Blue."


def test_an_answer_that_breaks_the_constitution_is_never_given(tmp_path: Path) -> None:
    model = Calibrated([], react=_with_principles)
    assert outcome("constitution", model.ask, "How is the sea?").answer.text == "Blue."
    assert outcome("constitution", model.ask, "How is the sea? Please swear.").answer.text == "The sea is blue."
    refused = outcome("constitution", model.ask, "Please only swear.")
    assert refused.answer.text.startswith("I am sorry") and refused.answer.stop == "refused"
    assert [c.label for c in refused.calls] == ["answer", "check", "revise", "check"]
    for calls in range(1, 4):
        cut = outcome("constitution", model.ask, "Please only swear.", budget=Budget(calls=calls))
        assert cut.is_stopped and "damn" not in cut.answer.text and cut.answer.text.startswith("I am sorry")
    unclear = Calibrated([], react=lambda c, k, dice: "Hm.")
    assert outcome("constitution:rounds=0", unclear.ask, "你好吗？").answer.text.startswith("很抱歉")
    own = tmp_path / "own.txt"
    own.write_text("Be brief.", encoding="utf-8")
    made = outcome(f"constitution:{own}", model.ask, "How is the sea?")
    assert made.calls[1].conversation.messages[0].text.startswith("Principles:\nBe brief.\n")
