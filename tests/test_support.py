"""A citation stands only where a passage says what the answer says, in both languages."""

from __future__ import annotations

import pytest

from jielong.use.retrieval.support import is_supported, nearest, supporting
from jielong.use.retrieval.words import sentences, words_of

LEASE = (
    "LEASE\n\nThe rent is 1,150 euros a month. It is due on the third working day of the month.\n\n"
    "The deposit is 2,300 euros and is paid back within six months. The landlord is Mrs. Okafor. Pets are not allowed."
)
TEA = "# Tea\n\nGreen tea: 80 degrees, two minutes. Black tea: boiling water, four minutes."
ALARM = "The alarm is armed at 22:30 and its code is known to the porter."
房 = "租房合同\n\n房租每月四千二百元，每月五号以前交。押金是八千四百元。\n\n房东是何先生，电话138-0011-2277。家里不能养狗。"
网 = "# 网络\n\n访客的无线密码是青竹88。员工网络叫云杉。"


@pytest.mark.parametrize(
    ("question", "passage", "right", "wrong"),
    [
        ("How much is the rent?", LEASE, "It is 1150 euros.", "It is 2,300 euros."),
        ("How much is the deposit?", LEASE, "2,300", "six months"),
        ("When is the rent due?", LEASE, "On the third working day.", "On the fourth working day."),
        ("Who is the landlord?", LEASE, "The landlord is Mrs Okafor.", "The landlord is Mr Haddad."),
        ("Are pets allowed?", LEASE, "Pets are not allowed.", "Pets are allowed."),
        ("How long does green tea take?", TEA, "Two minutes.", "Four minutes."),
        ("How long does black tea take?", TEA, "It takes 4 minutes.", "It takes 2 minutes."),
        ("When is the alarm armed?", ALARM, "At 22:30.", "At 10 pm."),
        ("房租每月多少钱？", 房, "房租是4200元。", "房租是8400元。"),
        ("押金是多少？", 房, "八千四百元", "四千二百元"),
        ("房东的电话是多少？", 房, "电话是138-0011-2277。", "电话是138-0011-2278。"),
        ("可以养狗吗？", 房, "家里不能养狗。", "家里可以养狗。"),
        ("访客的无线密码是什么？", 网, "是青竹88。", "是云杉。"),
    ],
)
def test_a_statement_supports_the_right_answer_alone(question: str, passage: str, right: str, wrong: str) -> None:
    assert is_supported(right, question, passage, "notes.txt")
    assert not is_supported(wrong, question, passage, "notes.txt")


@pytest.mark.parametrize(
    ("question", "passage", "answer"),
    [
        ("What is the code of the alarm?", ALARM, "The code of the alarm is 22:30."),
        ("What is the phone number of the landlord?", LEASE, "2,300"),
        ("What is the staff password?", "The guest password is otter-lamp-42.", "otter-lamp-42"),
        ("员工的密码是什么？", 网, "青竹88"),
        ("狗叫什么名字？", "猫的名字叫团团，今年七岁。", "团团"),
    ],
)
def test_a_value_of_something_else_is_no_support(question: str, passage: str, answer: str) -> None:
    assert not is_supported(answer, question, passage, "notes.txt")


def test_headings_and_the_name_of_the_file_say_what_a_passage_is_about() -> None:
    assert is_supported("It is 3058.", "What is the code of the gate?", "# Gate\n\nThe code is 3058.")
    assert is_supported("It is 3058.", "What is the code of the gate?", "The code is 3058.", "club/gate.md")
    assert not is_supported("It is 3058.", "What is the code of the gate?", "The code is 3058.", "club/boat.md")
    assert not is_supported("Gate.", "What is the code of the gate?", "# Gate\n\nThe code is 3058.")


def test_the_first_passage_that_says_it_is_named() -> None:
    passages = [(TEA, "tea.md"), (LEASE, "lease.txt"), (LEASE, "copy.txt")]
    assert supporting("1,150 euros", ("How much is the rent?",), passages) == 1
    assert supporting("1,250 euros", ("How much is the rent?",), passages) is None


def test_a_question_after_others_is_answered_by_what_its_own_words_name() -> None:
    room = "大会议室在五楼，可以坐四十人。会议室晚上九点关门。"
    questions = ("大会议室在几楼？ 它晚上几点关门？", "它晚上几点关门？")
    assert supporting("晚上九点关门。", questions, [(room, "a.md")]) == 0
    assert supporting("大会议室在五楼。", questions, [(room, "a.md")]) is None


def test_the_nearest_sentence_is_quoted_as_it_stands() -> None:
    assert nearest("When is the rent due?", [(TEA, "tea.md"), (LEASE, "rent.txt")]) == (
        1,
        "It is due on the third working day of the month.",
    )
    assert nearest("Who won the match?", [(TEA, "tea.md")]) is None


def test_sentences_join_to_the_text_and_keep_numbers_and_titles_whole() -> None:
    text = "It costs 13.50. Ask Mr. Tanaka!\n\n水温八十度。泡3.5分钟"
    assert "".join(sentences(text)) == text
    assert [s.strip() for s in sentences(text) if s.strip()] == [
        "It costs 13.50.",
        "Ask Mr. Tanaka!",
        "水温八十度。",
        "泡3.5分钟",
    ]


def test_numbers_read_alike_however_they_are_written() -> None:
    for text in ("1,150", "1150", "一千一百五十", "eleven hundred fifty", "1150.0"):
        assert words_of(text).numbers == {"1150"}
