"""Decomposition, debates, roles and plans where the model's error is known: what they give can be worked out by hand."""

from __future__ import annotations

import asyncio
import math
import random
import string
from pathlib import Path

import pytest
from bench.strategies.calibrated import Calibrated, Known, serve

from jielong.errors import ConfigError
from jielong.records import Conversation, Document, Message, Sampling
from jielong.use.endpoint import Endpoint
from jielong.use.examples import Example
from jielong.use.ledger import Budget, Happening
from jielong.use.listing import is_none, parse_list
from jielong.use.port import Ask, Options
from jielong.use.prompting import fill
from jielong.use.strategies import STRATEGIES, named
from jielong.use.strategies.roles import parse_roles
from jielong.use.strategy import Outcome, Strategy, run
from jielong.use.tools.calculator import CALCULATOR
from jielong.use.tools.search import Pages

SUM = Known("What is 17 + 4?", right="21", wrong=("22",))
ASKED = Conversation((Message("user", SUM.question),))
WARM = Sampling(max_tokens=50, temperature=0.7)
TRIALS = 1000


def answered(
    strategy: Strategy | str,
    ask: Ask,
    question: str = SUM.question,
    *,
    seed: int = 0,
    budget: Budget | None = None,
    notes: list[str] | None = None,
) -> Outcome:
    strategy = named(strategy) if isinstance(strategy, str) else strategy

    def watch(happening: Happening) -> None:
        if happening.kind == "note" and notes is not None:
            notes.append(happening.text)

    conversation = Conversation((Message("user", question),))
    return asyncio.run(run(strategy, conversation, ask, Options(WARM, seed), budget=budget, on_happening=watch))


def share_right(strategy: str, model: Calibrated) -> float:
    async def work() -> int:
        outcomes = [
            await run(named(strategy), ASKED, model.ask, Options(WARM, seed=seed), budget=None)
            for seed in range(TRIALS)
        ]
        return sum(outcome.answer.text == SUM.right for outcome in outcomes)

    return asyncio.run(work()) / TRIALS


def near(expected: float) -> object:
    """Within four standard deviations of what is expected of TRIALS trials."""
    return pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / TRIALS))


def majority(n: int, p: float) -> float:
    """How likely most of n independent answers are right (n odd)."""
    return sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n // 2 + 1, n + 1))


# --- debates


def test_copies_that_read_each_other_are_worth_a_vote_of_the_last_round_and_less_than_one_of_equal_calls() -> None:
    # 3 copies that speak 3 times make 9 calls; what counts is a vote among the 3 of the last round
    assert share_right("discuss:copies=3,rounds=2", Calibrated([SUM], 0.6)) == near(majority(3, 0.6))
    assert share_right("vote:n=9", Calibrated([SUM], 0.6)) == near(majority(9, 0.6))
    assert majority(9, 0.6) - majority(3, 0.6) > 0.08


def test_a_debate_before_a_judge_of_the_same_kind_is_worth_one_call() -> None:
    assert share_right("debate:rounds=1", Calibrated([SUM], 0.6)) == near(0.6)


def test_a_judge_that_knows_makes_the_debate_right_where_one_of_the_sides_is() -> None:
    def judge(said: Conversation, known: Known | None, dice: random.Random) -> str | None:
        text = said.messages[-1].text
        return f"Answer: {SUM.right if SUM.right in text else SUM.wrong[0]}" if "You are the judge" in text else None

    model = Calibrated([SUM], 0.6, react=judge)
    right = [answered("debate:rounds=1", model.ask, seed=s).answer.text == "Answer: 21" for s in range(300)]
    expected = 1 - 0.4**2
    assert sum(right) / 300 == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / 300))


def test_the_judge_ends_the_debate_when_it_is_sure_and_must_decide_in_the_end() -> None:
    sure = Calibrated([SUM], react=lambda said, known, dice: "Answer: 21")
    assert [c.label for c in answered("debate:rounds=3", sure.ask).calls] == ["side A", "side B", "judge"]
    unsure = Calibrated([SUM], react=lambda said, known, dice: "Go on.")
    calls = answered("debate:rounds=2", unsure.ask).calls
    assert [c.label for c in calls] == ["side A", "side B", "judge"] * 2
    assert "decide now" in calls[-1].conversation.messages[-1].text


def test_every_model_has_its_place_and_its_calls_are_recorded_and_within_the_budget() -> None:
    def says(word: str) -> Ask:
        return Calibrated((), react=lambda said, known, dice: word).ask

    others = {"others": (says("two"), says("three"))}
    calls = answered(named("debate:rounds=1", others), says("one")).calls
    assert [(c.label, c.answer.text) for c in calls] == [("side A", "one"), ("side B", "two"), ("judge", "three")]
    calls = answered(named("team", others), says("one")).calls
    assert [(c.label, c.answer.text) for c in calls] == [
        ("analyst", "one"),
        ("writer", "two"),
        ("critic", "three"),
        ("writer", "two"),
    ]
    assert [c.answer.text for c in answered(named("dera:rounds=1", others), says("one")).calls] == ["one", "two", "one"]
    stopped = answered(named("discuss:rounds=1", others), says("one"), budget=Budget(calls=4))
    assert [c.answer.text for c in stopped.calls] == ["one", "two", "three", "one"]
    assert stopped.is_stopped and stopped.answer.text == "one"


# --- roles


def test_a_decider_gains_from_a_researcher_who_knows_and_not_from_one_who_guesses() -> None:
    def knows(said: Conversation, known: Known | None, dice: random.Random) -> str | None:
        text = said.messages[-1].text
        return ("None." if SUM.right in text else "It is wrong.") if "You are the researcher" in text else None

    def guesses(said: Conversation, known: Known | None, dice: random.Random) -> str | None:
        is_researcher = "You are the researcher" in said.messages[-1].text
        return dice.choice(["None", "1. It may be wrong."]) if is_researcher else None

    # right at once, or after one of two objections
    assert share_right("dera:rounds=2", Calibrated([SUM], 0.6, react=knows)) == near(1 - 0.4**3)
    assert share_right("dera:rounds=2", Calibrated([SUM], 0.6, react=guesses)) == near(0.6)


def test_each_role_reads_what_was_said_and_the_last_one_answers(tmp_path: Path) -> None:
    file = tmp_path / "roles.txt"
    file.write_text("cook: Say what it tastes of.\n\n客人：说好不好吃。\n", encoding="utf-8")
    model = Calibrated((), react=lambda said, known, dice: f"word {len(said.messages[-1].text)}")
    outcome = answered(f"team:roles={file}", model.ask, "How is the soup?")
    assert [c.label for c in outcome.calls] == ["cook", "客人"]
    assert f"cook: {outcome.calls[0].answer.text}" in outcome.calls[1].conversation.messages[-1].text
    assert outcome.answer.text == outcome.calls[1].answer.text
    assert [c.label for c in answered("team", model.ask, "这道汤怎么样？").calls] == [
        "分析员",
        "作者",
        "评论员",
        "作者",
    ]


def test_a_line_that_is_no_role_is_refused_with_an_example(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'just words' is no role; expected a line such as"):
        parse_roles("critic: Be hard.\njust words", "roles.txt")
    with pytest.raises(ConfigError, match="cannot be read"):
        answered(f"team:roles={tmp_path / 'none.txt'}", Calibrated([SUM]).ask)


# --- decomposition

WHOLE = Known("How many legs have 3 dogs and 2 hens together?", right="16", wrong=("10",))
PARTS = (
    Known("How many legs have 3 dogs?", right="12", wrong=("6",)),
    Known("How many legs have 2 hens?", right="4", wrong=("8",)),
)


def splitter(p_part: float = 1.0) -> Calibrated:
    """Knows the whole only from its parts."""

    def split(said: Conversation, known: Known | None, dice: random.Random) -> str | None:
        lines = "\n".join(f"{n}. {part.question}" for n, part in enumerate((*PARTS, WHOLE), 1))
        return f"These come first:\n{lines}" if "simpler questions" in said.messages[-1].text else None

    def odds(known: Known, said: Conversation) -> float:
        text = said.messages[-1].text
        return p_part if known in PARTS else float(all(f"{k.question}\n{k.right}" in text for k in PARTS))

    return Calibrated((*PARTS, WHOLE), odds, react=split)


def test_from_error_free_parts_the_whole_is_right() -> None:
    assert answered("direct", splitter().ask, WHOLE.question).answer.text == "10"
    outcome = answered("decompose", splitter().ask, WHOLE.question)
    assert outcome.answer.text == "16"
    assert [c.label for c in outcome.calls] == ["decompose", "part 1", "part 2", "the whole"]


def test_the_parts_go_to_the_next_strategy_and_the_list_does_not() -> None:
    outcome = answered("decompose+vote:n=5", splitter().ask, WHOLE.question)
    assert outcome.answer.text == "16"
    assert len(outcome.calls) == 1 + 3 * 5
    seeds = range(200)
    right = [answered("decompose+vote:n=5", splitter(0.8).ask, WHOLE.question, seed=s).answer.text for s in seeds]
    expected = majority(5, 0.8) ** 2
    assert right.count("16") / 200 == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / 200))


def test_a_question_without_parts_is_just_asked() -> None:
    model = Calibrated([WHOLE], 1.0, react=lambda said, k, dice: " " if "simpler" in said.messages[-1].text else None)
    assert answered("decompose", model.ask, WHOLE.question).answer.text == "16"


# --- planning


def worker(*reviews: str, result: str = "") -> Calibrated:
    """Starts with two tasks, does each, and looks back with the reviews in order, the last one again and again."""

    def react(said: Conversation, known: Known | None, dice: random.Random) -> str:
        text = said.messages[-1].text
        done = text.count("result of")
        if "Break this goal" in text:
            return "1. Buy flour\n2. Bake bread"
        if "Is the goal reached" in text:
            return reviews[min(done, len(reviews)) - 1]
        if "Do this task now" in text:
            return result or f"result of {text.splitlines()[-1]}"
        return f"all done after {done}"

    return Calibrated((), react=react)


def test_the_planner_works_through_its_tasks_and_says_that_it_is_finished() -> None:
    notes: list[str] = []
    outcome = answered("plan", worker("Bake bread", "FINISHED").ask, "Have bread", notes=notes)
    assert outcome.answer.text == "all done after 2"
    assert notes == ["task 1: Buy flour", "task 2: Bake bread", "ends: the goal is reached"]
    assert [c.label for c in outcome.calls] == [
        *("plan tasks 0", "plan task 0", "plan review 1", "plan task 1", "plan review 2", "plan answer 2")
    ]


def test_the_planner_never_passes_its_number_of_tasks() -> None:
    many = [f"Buy thing {n}" for n in range(50)]
    for limit in (1, 3, 8):
        notes: list[str] = []
        outcome = answered(f"plan:tasks={limit}", worker(*many).ask, "Own things", notes=notes)
        assert sum(c.label.startswith("plan task ") for c in outcome.calls) == limit
        assert notes[-1] == f"ends: {limit} tasks are done, which is the limit"


def test_a_task_that_is_done_is_not_done_again() -> None:
    notes: list[str] = []
    outcome = answered("plan", worker("Buy flour", "buy the flour!\nBake bread").ask, "Have bread", notes=notes)
    assert notes == ["task 1: Buy flour", "only tasks that are done already", "ends: nothing is left to do"]
    assert outcome.answer.text == "all done after 1"


def test_results_that_come_again_end_the_work() -> None:
    notes: list[str] = []
    tasks = [f"Look into drawer {n}\nLook elsewhere {n}" for n in range(9)]
    answered("plan:repeats=2", worker(*tasks, result="result of nothing").ask, "Find keys", notes=notes)
    assert notes.count("the same result as before") == 2
    assert notes[-1] == "ends: 2 results in a row were there before"


def test_the_planner_stops_on_the_budget_with_the_last_result() -> None:
    outcome = answered("plan", worker("Bake bread", "Eat").ask, "Have bread", budget=Budget(calls=5))
    assert outcome.is_stopped and outcome.answer.text == "result of Bake bread"


def test_each_task_goes_to_the_next_strategy_and_the_planning_does_not() -> None:
    outcome = answered("plan+vote:n=3", worker("Bake bread", "FINISHED").ask, "Have bread")
    labels = [c.label for c in outcome.calls]
    assert labels.count("vote 1") == 2 and labels.count("plan review 1") == 1


# --- all of them


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_stops_on_its_budget_with_an_answer(name: str, tmp_path: Path) -> None:
    model = Calibrated((), react=lambda said, known, dice: f"1. a fine thing {dice.random()}\n2. another")
    (tmp_path / "context.txt").write_text("A thing is a thing.", encoding="utf-8")
    spec = {"context": f"context:{tmp_path / 'context.txt'}", "library": "library:threshold=0"}.get(name, name)
    given = {
        "examples": (Example("Tell me two things.", "1 and 2"),),
        "large": model.ask,
        "library": Pages([Document("Tell me a thing: it is fine.", "thing")]),
        "tools": (CALCULATOR,),
    }
    whole = answered(named(spec, given), model.ask, "Tell me a thing.")
    assert not whole.is_stopped and whole.calls
    for calls in range(1, len(whole.calls)):
        stopped = answered(named(spec, given), model.ask, "Tell me a thing.", budget=Budget(calls=calls))
        # a vote counts what came, the others are ended from outside
        assert stopped.is_stopped and (name != "vote") == (stopped.answer.stop == "budget")
        assert len(stopped.calls) == calls
        # what was not held against the constitution is not shown
        assert ("a fine thing" in stopped.answer.text) == (name != "constitution")


@pytest.mark.parametrize(
    "spec", ["debate", "decompose", "decompose+vote:n=3", "dera", "discuss", "plan", "story", "team", "tree"]
)
@pytest.mark.parametrize("question", ["Tell me a thing.", "给我讲一件事。"])
def test_every_strategy_says_the_same_over_http(spec: str, question: str) -> None:
    model = Calibrated(
        (), react=lambda said, known, dice: f"1. one {dice.random()}\n2. 两 {len(said.messages[-1].text)}"
    )
    here = answered(spec, model.ask, question)

    with serve(model) as server:

        async def ask_there() -> Outcome:
            port = Endpoint(server.url, "x")
            try:
                conversation = Conversation((Message("user", question),))
                return await run(named(spec), conversation, port.ask, Options(WARM))
            finally:
                await port.close()

        there = asyncio.run(ask_there())
    assert there.answer.text == here.answer.text
    assert sorted(c.answer.text for c in there.calls) == sorted(c.answer.text for c in here.calls)
    assert there.usage.tokens == here.usage.tokens


def test_lists_are_read_with_all_kinds_of_marks() -> None:
    assert parse_list("Sure:\n1. one\n2) two\n(3) three\n- four\n5、五\n6：六\n1. One!\nBye") == [
        "one",
        "two",
        "three",
        "four",
        "五",
        "六",
    ]
    assert parse_list("13 - 9 = 4\n1.5 + 2 = 3.5") == ["13 - 9 = 4", "1.5 + 2 = 3.5"]
    assert parse_list("1.一\n2.二", limit=1) == ["一"]
    assert is_none("None.") and is_none("There are no issues.") and is_none("没有问题。") and is_none("无")
    assert not is_none("No unit is given.") and not is_none("没有给出单位。")


def test_every_prompt_asks_for_the_same_values_in_both_languages() -> None:
    folder = Path(__file__).parent.parent / "src" / "jielong" / "use" / "templates"
    values: dict[str, dict[str, set[str]]] = {}
    for path in folder.glob("*.txt"):
        name, language, _ = path.name.split(".")
        values.setdefault(name, {})[language] = set(string.Template(path.read_text(encoding="utf-8")).get_identifiers())
    assert values
    assert {name for name, each in values.items() if each.get("en") != each.get("zh")} == set()


def test_a_prompt_that_misses_a_value_says_so() -> None:
    with pytest.raises(ConfigError, match=r"the prompt discuss.en.txt needs a value for 'said'"):
        fill("discuss", "en", question="Why?")
