"""Searching for a spell: a method finds one where there is one, finds none where there is none, and wins on unseen questions."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from bench.strategies.calibrated import Calibrated, Known

from jielong.errors import ConfigError, DataError
from jielong.records import Conversation, Sampling
from jielong.use.examples import Example
from jielong.use.port import Options
from jielong.use.spells.methods import Chance, Opro, Reinforce, known_words, proposal
from jielong.use.spells.search import Method, ScoredInstruction, Search, Task, search, split

KNOWN = [Known(f"What is {a} + {b}?", str(a + b), (str(a + b + 1),)) for a in range(20, 26) for b in range(40, 50)]
EXAMPLES = [Example(k.question, k.right) for k in KNOWN]
GREEDY = Options(Sampling(max_tokens=20, temperature=0.0))


def magic(*words: str) -> Calibrated:
    """Right with probability .2, and .25 more for each of these words that is in the instruction."""

    def p(known: Known, conversation: Conversation) -> float:
        said = conversation.messages[-1].text.split("\n")[0].lower().split()
        return 0.2 + 0.25 * sum(word in said for word in words)

    return Calibrated(KNOWN, p)


def searched(method: Method, model: Calibrated, scorings: int, seed: int = 0, **more: object) -> Search:
    task = split(EXAMPLES, 20, seed)
    return asyncio.run(search(task, method, model.ask, scorings, Options(GREEDY.sampling, seed), **more))  # type: ignore[arg-type]


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def test_rewards_lead_the_policy_to_the_magic_words_where_chance_stays_behind() -> None:
    model = magic("slowly", "teacher", "check")
    found = [searched(Reinforce(), model, 241, seed) for seed in range(3)]
    control = [searched(Chance(), model, 241, seed) for seed in range(3)]
    # all three words give .95; chance seldom has more than two of them, .7
    assert mean([mean(f.test) for f in found]) > 0.85
    assert mean([mean(c.test) for c in control]) < 0.8
    assert all(mean(f.plain_test) < 0.4 for f in found)
    for f, c in zip(found, control, strict=True):
        assert len(f.trials) == len(c.trials) == 241
        assert f.trials[0].instruction == c.trials[0].instruction == ""
        # 20 questions a scoring unless an instruction came again, and 40 in the test, with and without
        assert c.asked.calls == 20 * len({t.instruction for t in c.trials}) + 80
        assert f.proposed.calls == c.proposed.calls == 0


def test_where_no_word_helps_the_gain_on_the_training_questions_is_none_on_the_others() -> None:
    found = [searched(Reinforce(), Calibrated(KNOWN, 0.5), 49, seed) for seed in range(6)]
    # the best of 49 draws of 20 coins is well above a half, and means nothing
    assert mean([f.best.value for f in found]) > 0.65
    gains = [mean(f.test) - mean(f.plain_test) for f in found]
    # 6 means over 40 questions of a difference of two coins: standard deviation .046
    assert abs(mean(gains)) < 4 * 0.046


def test_the_step_of_the_policy_is_the_gradient_of_its_log_probability_times_the_advantage() -> None:
    method = Reinforce(length=2, proposals=4, rate=1.0)
    asyncio.run(method.propose([], magic().ask, Options(seed=3)))
    drawn = method._drawn.copy()
    scores = [(1.0, 0.0, 1.0), (0.0, 0.0, 1.0), (1.0, 1.0, 1.0), (0.0, 0.0, 1.0)]
    asyncio.run(
        method.propose(
            [ScoredInstruction("", (0.0,) * 3), *(ScoredInstruction(str(n), s) for n, s in enumerate(scores))],
            magic().ask,
            Options(),
        )
    )
    # the third question is answered alike by all and says nothing; the first has deviation 1/2, the second sqrt(3)/4
    first, second = np.array([1, -1, 1, -1.0]), np.array([-1, -1, 3, -1]) / np.sqrt(3)
    advantages = (first + second) / 3
    expected = np.zeros_like(method.logits)
    for row, advantage in zip(drawn, advantages, strict=True):
        for place, word in enumerate(row):
            onehot = np.eye(len(method.words))[word]
            expected[place] += advantage * (onehot - 1 / len(method.words)) / 4
    np.testing.assert_allclose(method.logits, expected, atol=1e-6)


def climber(heard: list[str]) -> Calibrated:
    """An optimiser that knows its business: it takes the best instruction it is shown and adds a word."""

    def react(conversation: Conversation, known: Known | None, dice: random.Random) -> str:
        heard.append(conversation.messages[-1].text)
        best = re.findall(r"<INS>(.*?)</INS> \d+", heard[-1])[-1]
        return f"Here is one: <INS>{best} {dice.choice(known_words('en'))}</INS> It is good."

    return Calibrated([], react=react)


def test_a_model_that_reads_the_scores_climbs_and_sees_what_the_paper_shows_it() -> None:
    heard: list[str] = []
    task = split(EXAMPLES, 20, 0)
    found = searched(Opro(task.train), magic("slowly", "teacher", "hard"), 161, proposer=climber(heard).ask)
    control = searched(Chance(), magic("slowly", "teacher", "hard"), 161)
    assert mean(found.test) > mean(control.test) and mean(found.test) > mean(found.plain_test) + 0.3
    assert found.proposed.calls == 160
    last = heard[-1]
    scores = [int(s) for s in re.findall(r"</INS> (\d+)", last)]
    assert scores == sorted(scores) and len(scores) == 20
    assert sum(e.question in last for e in task.train) == 3 and not any(e.question in last for e in task.test)
    assert len({tuple(e.question in prompt for e in task.train) for prompt in heard}) > 5


def test_a_proposal_is_what_stands_between_the_marks_or_else_the_first_line() -> None:
    assert proposal("Sure!\n<INS>\nThink \n well.</INS> <INS>b</INS>") == "Think well."
    assert proposal('"Add slowly."\nThis is better.') == "Add slowly."
    assert proposal("<INS>Cut off") == "Cut off"
    assert proposal(" \n") == ""
    assert len(proposal("la " * 999)) <= 400


def test_a_method_that_repeats_itself_wastes_scorings_and_asks_nothing() -> None:
    model = Calibrated([], react=lambda c, k, dice: "<INS>Think.</INS>")
    found = searched(Opro(split(EXAMPLES, 20, 0).train), magic("think."), 17, proposer=model.ask)
    assert [t.instruction for t in found.trials] == ["", *["Think."] * 16]
    assert found.asked.calls == 2 * 20 + 2 * 40


@pytest.mark.parametrize("new", [Chance, Reinforce])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_search_is_repeated_by_its_seed(new: Callable[[str], Method], language: str) -> None:
    model = magic("step")
    runs = [searched(new(language), model, 10, seed) for seed in (5, 5, 6)]
    assert runs[0] == runs[1]
    assert runs[0].trials[1:] != runs[2].trials[1:]
    assert all(
        ("\u3400" <= t.instruction[0] or t.instruction[0] in "：。！，") == (language == "zh")
        for t in runs[0].trials[1:]
    )
    record = runs[0].to_dict()
    assert len(record["trials"]) == 10 and record["instruction"] == runs[0].best.instruction


def test_the_test_questions_are_not_those_of_the_search() -> None:
    task = split(EXAMPLES, 20, 0)
    assert isinstance(task, Task) and len(task.train) == 20 and len(task.test) == 40
    assert set(task.train) | set(task.test) == set(EXAMPLES)
    with pytest.raises(DataError, match="of 60 examples 60 cannot be trained on"):
        split(EXAMPLES, 60, 0)
    with pytest.raises(ConfigError, match="1 scorings are no search"):
        searched(Chance(), magic(), 1)
