"""Code that is run: each built-in problem has a right program that passes, and nothing else does."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from jielong.evaluate.built_in import built_in
from jielong.evaluate.code import passes, program
from jielong.use.tools.sandbox import Monty, Ran

RIGHT = {
    "evens": "def sum_of_evens(numbers):\n    return sum(n for n in numbers if n % 2 == 0)",
    "vowels": "def count_vowels(text):\n    return sum(c in 'aeiou' for c in text.lower())",
    "palindrome": (
        "def is_palindrome(text):\n    kept = [c for c in text.lower() if c.isalnum()]\n    return kept == kept[::-1]"
    ),
    "fizz": "def fizz(n):\n    return ['Fizz' * (i % 3 == 0) + 'Buzz' * (i % 5 == 0) or str(i) for i in range(1, n + 1)]",
    "prime": "def is_prime(n):\n    return n > 1 and all(n % d for d in range(2, int(n ** 0.5) + 1))",
    "words": "def most_frequent(text):\n    words = text.split()\n    return max(words, key=lambda word: words.count(word))",
    "flatten": (
        "def flatten(nested):\n    out = []\n    for x in nested:\n"
        "        if isinstance(x, list):\n            out += flatten(x)\n        else:\n            out.append(x)\n    return out"
    ),
    "caesar": (
        "def shift(text, k):\n    out = ''\n    for c in text:\n        if 'a' <= c <= 'z':\n"
        "            out += chr((ord(c) - 97 + k) % 26 + 97)\n        elif 'A' <= c <= 'Z':\n"
        "            out += chr((ord(c) - 65 + k) % 26 + 65)\n        else:\n            out += c\n    return out"
    ),
    "brackets": (
        "def is_balanced(text):\n    stack = []\n    for c in text:\n        if c in '([{':\n            stack.append(c)\n"
        "        elif c in ')]}':\n            if not stack or stack.pop() + c not in ('()', '[]', '{}'):\n"
        "                return False\n    return not stack"
    ),
    "merge": "def merge(a, b):\n    return sorted(a + b)",
    "roman": (
        "def roman(n):\n    out = ''\n    for value, sign in [(1000, 'M'), (900, 'CM'), (500, 'D'), (400, 'CD'), (100, 'C'), "
        "(90, 'XC'), (50, 'L'), (40, 'XL'), (10, 'X'), (9, 'IX'), (5, 'V'), (4, 'IV'), (1, 'I')]:\n"
        "        while n >= value:\n            out += sign\n            n -= value\n    return out"
    ),
    "change": (
        "def fewest_coins(coins, amount):\n    best = [0] + [10 ** 9] * amount\n    for total in range(1, amount + 1):\n"
        "        for coin in coins:\n            if coin <= total:\n"
        "                best[total] = min(best[total], best[total - coin] + 1)\n"
        "    return best[amount] if best[amount] < 10 ** 9 else -1"
    ),
}
ITEMS = {item.id: item for item in built_in("code").items}


def outcome(answer: str, tests: str) -> tuple[bool, str]:
    return asyncio.run(passes(answer, tests, Monty().run))


@pytest.mark.parametrize("name", RIGHT)
def test_the_right_program_passes_and_one_that_does_nothing_fails(name: str) -> None:
    tests = ITEMS[f"{name}-en"].tests
    assert tests == ITEMS[f"{name}-zh"].tests
    assert outcome(f"Here it is:\n```python\n{RIGHT[name]}\n```\nGood luck!", tests)[0]
    head = RIGHT[name].splitlines()[0]
    assert head.split()[1].split("(")[0] in ITEMS[f"{name}-zh"].question
    assert not outcome(f"{head}\n    return None", tests)[0]


def test_there_is_a_right_program_for_every_problem() -> None:
    assert {id.rpartition("-")[0] for id in ITEMS} == set(RIGHT) and len(RIGHT) == 12


async def bare(code: str) -> Ran:
    """The whole language, for programs of this file."""
    done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", code], capture_output=True, text=True)
    return Ran(done.stdout + done.stderr, done.returncode == 0)


def test_an_answer_that_ends_before_its_tests_or_says_that_it_passed_fails() -> None:
    tests = "assert double(2) == 4"
    right, early = "def double(x):\n    return 2 * x", "print('passed')\nraise SystemExit(0)"
    for answer, is_right in (
        (right, True),
        (early, False),
        (f"{right}\nprint(double(2))", True),
        ("1 / 0", False),
        ("", False),
    ):
        assert asyncio.run(passes(answer, tests, bare))[0] == is_right, answer
    assert asyncio.run(passes("print('hi')\ndef double(x): return 4", tests, bare)) == (True, "hi")


def test_the_program_of_an_answer_is_its_last_fence_or_all_of_it() -> None:
    assert program("So:\n```py\na = 1\n```\nBetter:\n```python\na = 2\n```") == "a = 2"
    assert program("a = 3\n") == "a = 3" and program("```python\na = 4") == "a = 4"
