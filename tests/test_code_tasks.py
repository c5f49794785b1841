"""Code that is run: each built-in problem has a right program that passes, and nothing else does."""

from __future__ import annotations

import asyncio

import pytest

from jielong.errors import ResourceError
from jielong.evaluate.built_in import built_in
from jielong.evaluate.code import extract_code
from jielong.evaluate.scoring import DetailedScore, ScoringServices, score_answer
from jielong.use.tools.bubblewrap import Bubblewrap
from jielong.use.tools.sandbox import Monty, Ran, Sandbox

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


def bubblewrap() -> Bubblewrap:
    sandbox = Bubblewrap(seconds=5.0)
    try:
        asyncio.run(sandbox.run("1"))
    except ResourceError as error:
        pytest.skip(str(error))
    return sandbox


@pytest.fixture(params=["monty", "bubblewrap"])
def sandbox(request: pytest.FixtureRequest) -> Sandbox:
    return Monty(seconds=2.0) if request.param == "monty" else bubblewrap()


def outcome(sandbox: Sandbox, answer: str, tests: str) -> Ran:
    return asyncio.run(sandbox.examine(extract_code(answer), tests))


@pytest.mark.parametrize("name", RIGHT)
def test_the_right_program_passes_and_one_that_does_nothing_fails(name: str, sandbox: Sandbox) -> None:
    tests = ITEMS[f"{name}-en"].tests
    assert tests == ITEMS[f"{name}-zh"].tests
    assert outcome(sandbox, f"Here it is:\n```python\n{RIGHT[name]}\n```\nGood luck!", tests).is_fine
    head = RIGHT[name].splitlines()[0]
    assert head.split()[1].split("(")[0] in ITEMS[f"{name}-zh"].question
    assert not outcome(sandbox, f"{head}\n    return None", tests).is_fine


def test_there_is_a_right_program_for_every_problem() -> None:
    assert {id.rpartition("-")[0] for id in ITEMS} == set(RIGHT) and len(RIGHT) == 12


def test_an_answer_that_ends_before_its_tests_or_says_that_it_passed_fails(sandbox: Sandbox) -> None:
    tests = "assert double(2) == 4"
    right, early = "def double(x):\n    return 2 * x", "print('passed')\nraise SystemExit(0)"
    for answer, is_right in (
        (right, True),
        (early, False),
        (f"{right}\nprint(double(2))", True),
        ("1 / 0", False),
        ("", False),
        ("def double(:", False),
    ):
        assert outcome(sandbox, answer, tests).is_fine == is_right, answer
    assert outcome(sandbox, "print('hi')\ndef double(x): return 4", tests) == Ran("hi", True)


def test_plain_data_goes_to_a_program_and_back_as_it_is(sandbox: Sandbox) -> None:
    values = "[None, True, 3, 2 ** 70, -0.5, 'Ж\\n', b'a\\x00', (1, 'a'), {1: [2], 'k': (3,)}, {1, 2}, [[], {}]]"
    tests = (
        f"for value in {values}:\n    got = same(value)\n    assert got == value and type(got) == type(value), value"
    )
    assert outcome(sandbox, "def same(x):\n    return x", tests).is_fine
    assert outcome(sandbox, "def same(*x, **y):\n    return x, y", "assert same(1, b=2) == ((1,), {'b': 2})").is_fine
    assert outcome(sandbox, "RATE = {'a': 1}\ndef f(): return RATE", "assert RATE == f() == {'a': 1}").is_fine


def test_the_errors_of_a_program_are_caught_by_its_tests_as_what_they_are(sandbox: Sandbox) -> None:
    answer = "def f(x):\n    if x < 0:\n        raise ValueError('below zero')\n    return [][x]"
    tests = """
try:
    f(-1)
except ValueError as error:
    assert str(error) == "below zero"
else:
    raise AssertionError
try:
    f(1)
except LookupError as error:
    assert isinstance(error, IndexError)
else:
    raise AssertionError
"""
    assert outcome(sandbox, answer, tests).is_fine
    assert "ValueError: below zero" in outcome(sandbox, answer, "f(-1)").output


def test_what_a_program_does_to_a_list_it_is_given_its_tests_see(sandbox: Sandbox) -> None:
    answer = "def order(a, seen=None):\n    a.sort()\n    if seen is not None:\n        seen['n'] = len(a)"
    tests = "a, seen = [3, 1, 2], {}\nassert order(a, seen=seen) is None\nassert a == [1, 2, 3] and seen == {'n': 3}"
    assert outcome(sandbox, answer, tests).is_fine
    assert not outcome(sandbox, answer.replace("a.sort()", "pass"), tests).is_fine


def test_tests_with_helpers_of_their_own_call_the_program() -> None:
    tests = "def check(f):\n    for x in range(3):\n        assert f(x) == x + 1\ncheck(after)\nassert all(after(x) for x in (1, 2))"
    assert outcome(bubblewrap(), "def after(x): return x + 1", tests).is_fine
    assert not outcome(bubblewrap(), "def check(candidate): pass\ndef after(x): return 0", tests).is_fine


def test_a_task_about_a_name_of_python_takes_it_from_the_program(sandbox: Sandbox) -> None:
    assert outcome(sandbox, "def sum(a, b): return a * b", "assert sum(3, 4) == 12").is_fine
    cheat = "def all(x): return True\ndef isinstance(*x): return True\ndef f(x): return 'no'"
    assert not outcome(sandbox, cheat, "assert isinstance(f(1), int) and all([f(1) == 2])").is_fine


OBJECTS = """
class Stack:
    def __init__(self, *items):
        self.items = list(items)
    def push(self, item):
        self.items.append(item)
        return self
    def pop(self):
        if not self.items:
            raise Empty("no item")
        return self.items.pop()
    def __len__(self):
        return len(self.items)
    def __eq__(self, other):
        return self.items == other.items
    def __repr__(self):
        return f"Stack({self.items})"
class Empty(LookupError):
    pass
def count(n):
    yield from range(n)
def adder(n):
    return lambda x: x + n
"""
USED = """
s = Stack(1)
assert s.push(2).push(3) == s and len(s) == 3 and s.items == [1, 2, 3] and repr(s) == "Stack([1, 2, 3])"
s.items = [5]
assert s.pop() == 5 and isinstance(s, Stack) and not isinstance(5, Stack) and s != None
try:
    s.pop()
except Empty as error:
    assert str(error) == "no item" and isinstance(error, LookupError)
else:
    raise AssertionError
assert list(count(3)) == [0, 1, 2] and sum(count(4)) == 6 and next(count(1)) == 0
assert adder(3)(4) == 7 and sorted([3, 1, 2], key=adder(1)) == [1, 2, 3]
"""


def test_objects_stay_in_the_program_and_their_methods_can_be_called() -> None:
    ran = outcome(bubblewrap(), OBJECTS, USED)
    assert ran.is_fine, ran


@pytest.mark.parametrize(
    ("tests", "sentence"),
    [
        ("assert Stack(1) == 4", "an object of the program (Stack) cannot be compared with a int"),
        ("assert [Stack(1)] == [4]", "an object of the program (Stack) cannot be compared with a int"),
        ("assert 0 in count(3)", "an object of the program (generator) cannot be asked what it holds"),
        ("assert adder(lambda: 3)", "the tests hand the program a function, and only plain data goes to it"),
        (
            "try:\n    Stack(1) == 4\nexcept:\n    pass",
            "an object of the program (Stack) cannot be compared with a int",
        ),
    ],
)
def test_what_cannot_go_across_is_refused_by_name(tests: str, sentence: str) -> None:
    ran = outcome(bubblewrap(), OBJECTS, tests)
    assert not ran.is_fine and ran.refused == sentence
    assert sentence in ran.output


def test_the_score_of_an_answer_says_what_was_refused(sandbox: Sandbox) -> None:
    item = ITEMS["evens-en"]
    right = asyncio.run(score_answer(item, RIGHT["evens"], ScoringServices(examine=sandbox.examine)))
    assert right == DetailedScore(1.0, {"output": "(nothing was printed)"})
    foreign = asyncio.run(
        score_answer(
            item, "class A:\n    pass\ndef sum_of_evens(x): return A()", ScoringServices(examine=sandbox.examine)
        )
    )
    assert foreign.score == 0.0 and "A" in foreign.details["refused"]
    wrong = asyncio.run(score_answer(item, "def sum_of_evens(x): return -1", ScoringServices(examine=sandbox.examine)))
    assert wrong.score == 0.0 and "refused" not in wrong.details and "AssertionError" in wrong.details["output"]


def test_the_interpreter_refuses_objects_by_name() -> None:
    assert (
        outcome(Monty(), "class A:\n    pass", "A()").refused
        == "A returns a A, and only plain data goes from a program to its tests"
    )
    ran = outcome(Monty(), "class A:\n    pass\ndef f(): return A()\ndef g(): return f", "f()")
    assert not ran.is_fine and ran.refused == "f returns a A, and only plain data goes from a program to its tests"
    assert (
        "returns a function"
        in outcome(
            Monty(), "def g(): return len\ndef h(): return g", "try:\n    h()\nexcept Exception:\n    pass"
        ).refused
    )


def test_the_program_of_an_answer_is_its_last_fence_or_all_of_it() -> None:
    assert extract_code("So:\n```py\na = 1\n```\nBetter:\n```python\na = 2\n```") == "a = 2"
    assert extract_code("a = 3\n") == "a = 3" and extract_code("```python\na = 4") == "a = 4"
