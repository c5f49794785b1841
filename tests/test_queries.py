"""What is looked for in documents when somebody says something in the middle of a talk."""

from __future__ import annotations

import pytest

from jielong.records import Message
from jielong.use.retrieval.queries import is_talk, leans, with_turns_before, without_sources


@pytest.mark.parametrize(
    "text",
    [
        "hi", "Hello there!", "thanks!", "Thank you very much.", "Good morning", "ok", "bye", "how are you today?", "Who are you?",
        "Please say that in Chinese.", "Shorter, please.", "go on", "in one sentence", "!!", "你好", "谢谢你！", "再见", "好的。",
        "你是谁？", "请继续", "用英语再说一遍", "说短一点", "什么意思？",
    ],
)  # fmt: skip
def test_greetings_and_words_about_the_talk_ask_nothing_of_documents(text: str) -> None:
    assert is_talk(text)


@pytest.mark.parametrize(
    "text",
    ["hi, what is the gate code?", "Thanks. And the deposit?", "Is the printer ok?", "Good tea, where from?", "help for the boiler",
     "谢谢，押金呢？", "你好，房租多少？", "好的茶在哪里买？"],
)  # fmt: skip
def test_a_question_with_a_greeting_is_a_question(text: str) -> None:
    assert not is_talk(text)


@pytest.mark.parametrize(
    "text",
    [
        "And when is it due?", "How much?", "What about glass?", "Who conducts it?", "On which day?",
        "什么时候交？", "他的电话呢？", "那泡多久？", "一份多少钱？",
    ],
)  # fmt: skip
def test_a_question_that_makes_no_sense_alone_leans(text: str) -> None:
    assert leans(text)


@pytest.mark.parametrize(
    "text", ["What is the guest password?", "Who is the landlord of Paul?", "访客的无线密码是什么？"]
)
def test_a_whole_question_stands_by_itself(text: str) -> None:
    assert not leans(text)


def talk(*turns: str) -> list[Message]:
    return [Message("user" if i % 2 == 0 else "assistant", text) for i, text in enumerate(turns)]


def test_the_last_whole_question_comes_before_the_one_that_leans_on_it() -> None:
    turns = talk(
        "What is the gate code?", "3058.", "How much is the rent?", "1,150.", "thanks!", "Welcome.", "When is it due?"
    )
    assert with_turns_before(turns) == (
        "How much is the rent? When is it due?",
        ("How much is the rent? When is it due?", "What is the gate code? When is it due?"),
    )


def test_an_answer_with_a_source_may_be_what_is_meant() -> None:
    turns = talk("Who is the landlord?", "Mrs Okafor. [1] No pets.\n\n[1] lease.txt, lines 1-3", "What is her number?")
    assert with_turns_before(turns) == (
        "Who is the landlord? What is her number?",
        ("Who is the landlord? Mrs Okafor. What is her number?",),
    )
    guessed = talk("Who is the landlord?", "Mr Smith.", "What is his number?")
    assert with_turns_before(guessed) == (
        "Who is the landlord? What is his number?",
        ("Who is the landlord? What is his number?",),
    )


def test_the_first_question_stands_alone() -> None:
    assert with_turns_before(talk("And when is it due?")) == ("And when is it due?", ("And when is it due?",))


def test_sources_are_taken_off_an_answer() -> None:
    assert without_sources("White. [2] Cold. [1]\n\n[2] b.md\n[1] a.md") == "White. Cold."
    assert without_sources("No source [here].") == "No source [here]."
