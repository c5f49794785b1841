"""What is held out: whole prompts, about the share that was asked for, and both sides have something."""

from __future__ import annotations

import random

import pytest

from jielong.data.splits import Split, choose_held_out, hold_out
from jielong.records import Conversation, Message, Preference

EVERY = 33


def chat(asked: str, answer: str, before: tuple[Message, ...] = ()) -> Conversation:
    return Conversation((*before, Message("user", asked), Message("assistant", answer)))


def size(chats: list[Conversation]) -> int:
    return sum(len(m.text) for c in chats for m in c.messages)


def share(split: Split[Conversation]) -> float:
    return size(split.held_out) / (size(split.learned) + size(split.held_out))


def asked(chats: list[Conversation]) -> set[str]:
    return {next(m.text for m in c.messages if m.role == "user") for c in chats}


def long_tail(rng: random.Random, count: int) -> list[Conversation]:
    return [chat(f"q{i}", "x" * int(20 * rng.paretovariate(1.1))) for i in range(count)]


ODD = {
    "even": lambda rng: [chat(f"q{i}", "x" * 50) for i in range(1000)],
    "one prompt in most": lambda rng: [chat("poem" if i < 1000 else f"q{i}", f"{i}" * 10) for i in range(1200)],
    "two prompts": lambda rng: [chat(f"q{i % 2}", f"{i}" * 10) for i in range(1000)],
    "one prompt": lambda rng: [chat("poem", f"{i}" * 10) for i in range(1000)],
    "a long one first": lambda rng: [chat(f"q{i}", "x" * (5000 if i == 0 else 50)) for i in range(1000)],
    "every 33rd is long": lambda rng: [chat(f"q{i}", "x" * (900 if i % 33 == 0 else 50)) for i in range(2000)],
    "every 33rd is short": lambda rng: [chat(f"q{i}", "x" * (1 if i % 33 == 0 else 200)) for i in range(2000)],
    "long tail": lambda rng: long_tail(rng, 3000),
    "growing": lambda rng: [chat(f"q{i}", "x" * i) for i in range(1000)],
    "greetings first": lambda rng: [
        chat(f"q{i}", "x" * 50, (Message("assistant", "Hello, how can I help?"),)) for i in range(1000)
    ],
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("seed", range(3))
def test_the_share_is_within_a_point_of_what_was_asked_for(name, seed):
    chats = ODD[name](random.Random(seed))
    split = hold_out(chats, EVERY)
    assert abs(share(split) - 1 / EVERY) <= 0.01, share(split)
    assert sorted(map(id, split.learned + split.held_out)) == sorted(map(id, chats))
    if split.note:
        assert len(asked(chats)) <= 2 and "share theirs" in split.note
    else:
        assert not asked(split.learned) & asked(split.held_out)


def test_where_prompts_are_many_and_alike_every_nth_is_held_out():
    chats = [chat(f"q{i:04}", "x" * 50) for i in range(330)]
    assert hold_out(chats, EVERY).held_out == chats[::EVERY]


@pytest.mark.parametrize("count", [2, 3, 5, 20])
def test_few_records_leave_something_on_both_sides(count):
    for chats in ([chat(f"q{i}", "x" * 50) for i in range(count)], [chat("q", "x" * (i + 1)) for i in range(count)]):
        split = hold_out(chats, EVERY)
        assert split.learned and split.held_out
        assert len(split.held_out) < len(split.learned) or count == 2


def test_pairs_of_one_prompt_stay_together_while_there_are_others():
    def pair(prompt: str, good: str) -> Preference:
        return Preference((Message("user", prompt),), (Message("assistant", good),), (Message("assistant", "no"),))

    split = hold_out([pair(f"q{i % 100}", f"{i}") for i in range(1000)], 16)
    assert not {p.prompt for p in split.learned} & {p.prompt for p in split.held_out}
    assert not split.note


def test_of_a_large_and_a_small_one_the_small_one_is_held_out():
    assert choose_held_out([1000.0, 40.0], [0], 0.02) == set()  # neither is near a fiftieth
    assert choose_held_out([1000.0, 20.0, 500.0], [0], 0.02) == {1}
