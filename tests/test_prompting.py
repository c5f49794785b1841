"""Prompts: every one in both languages, with the same values to fill in."""

from __future__ import annotations

import re
import string
from importlib import resources
from pathlib import Path

import pytest

from jielong.errors import ConfigError, DataError
from jielong.use.answers import is_same, says_yes
from jielong.use.prompting import fill, fill_file, language_of, names

HAN = "[\u3400-\u9fff]"
FILES = {
    path.name: path.read_text(encoding="utf-8") for path in (resources.files("jielong.use") / "templates").iterdir()
}


def values(text: str) -> set[str]:
    return set(string.Template(text).get_identifiers())


@pytest.mark.parametrize("name", names(""))
def test_every_prompt_is_there_in_both_languages_with_the_same_values(name: str) -> None:
    english, chinese = FILES[f"{name}.en.txt"], FILES[f"{name}.zh.txt"]
    assert values(english) == values(chinese)
    assert re.search(HAN, chinese) and not re.search(HAN, english)
    for language in ("en", "zh"):
        assert "$" not in fill(name, language, **dict.fromkeys(values(english), "x")).replace("$200", "")


def test_there_is_nothing_else_among_the_prompts_but_the_constitution() -> None:
    prompts = sorted(f"{name}.{language}.txt" for name in names("") for language in ("en", "zh"))
    assert sorted(FILES) == sorted([*prompts, "constitution.toml"])


def test_a_language_is_that_of_most_letters() -> None:
    assert language_of("What does 大海 mean?") == "en"
    assert language_of("用 Python 怎么读文件？") == "zh"
    assert language_of("1 + 1 = ?") == language_of("") == "en"


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no prompt thinks\.en\.txt"):
        fill("thinks", "en")
    with pytest.raises(ConfigError, match=r"think\.zh\.txt needs a value for 'question'"):
        fill("think", "zh")
    with pytest.raises(DataError, match="cannot read the prompt"):
        fill_file(tmp_path / "none.txt")


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("Yes.", True),
        ("yes, it is not wrong", True),
        ("The answer is correct.", True),
        ("No", False),
        ("That is not right.", False),
        ("It is incorrect!", False),
        ("是的，没有问题。", True),
        ("正确", True),
        ("没错", True),
        ("不正确。", False),
        ("不对，应该是五。", False),
        ("否", False),
        ("没有违反", False),
        ("答案是错的", False),
        ("对不起，我说不清楚", False),
        ("Nobody knows", None),
        ("", None),
    ],
)
def test_a_yes_and_a_no_are_heard_in_both_languages(text: str, verdict: bool | None) -> None:
    assert says_yes(text) is verdict


@pytest.mark.parametrize(
    ("text", "right", "is_so"),
    [
        ("7 + 8 = 15", "15", True),
        ("It is 15.\nSo 16", "15", False),
        ("1,024", "1024", True),
        ("The capital of France is Paris.", "Paris", True),
        ("Parisian cafés", "Paris", False),
        ("法国的首都是巴黎。", "巴黎", True),
        ("", "Paris", False),
    ],
)
def test_an_answer_is_the_same_where_it_says_the_same(text: str, right: str, is_so: bool) -> None:
    assert is_same(text, right) is is_so
