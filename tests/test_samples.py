"""Samples for people begin at whole words and end at sentences, in English and in Chinese."""

from __future__ import annotations

import pytest

from jielong.records import Document, Message
from jielong.stages.samples import as_written, opening
from jielong.use.port import Answer


@pytest.mark.parametrize(
    ("text", "begins"),
    [
        ("The mitochondria of a cell, also called its powerhouses, make energy. " * 4,
         "The mitochondria of a cell, also called its powerhouses,"),
        ("北京是中国的首都，人口超过两千万。它位于华北平原的北部。" * 6,
         "北京是中国的首都，人口超过两千万。它位于华北平原的北部。北京是中国的首都，人口超过两千万。"),
        ("使用Python编写程序时需要注意缩进问题和编码问题" * 4, "使用Python编写程序时需要注意缩进问题和编码问题使用"),
        ("a" * 300, "a" * 60),
        ("Short.", "Short."),
    ],
)  # fmt: skip
def test_an_opening_ends_with_a_word_and_in_chinese_rather_with_a_pause(text: str, begins: str) -> None:
    assert opening(Document(text)).startswith(begins)
    assert len(opening(Document(text))) <= 60


@pytest.mark.parametrize(
    ("text", "stop", "shown"),
    [
        (" the cell divides. It then", "length", " the cell divides."),
        (' he said "no." Then', "length", ' he said "no."'),
        (" it costs 3.5 and is", "length", " it costs 3.5 and…"),
        ("细胞分裂。然后它们", "length", "细胞分裂。"),
        ("细胞分裂然后它", "length", "细胞分裂然后…"),
        ("细胞分裂然后它\ufffd", "length", "细胞分裂然后…"),
        (" the cell divides. It then", "stop", " the cell divides. It then"),
        ("", "length", ""),
    ],
)
def test_what_was_cut_ends_with_a_sentence_or_says_that_it_was_cut(text: str, stop: str, shown: str) -> None:
    assert as_written(Answer(Message("assistant", text), stop=stop)) == shown
