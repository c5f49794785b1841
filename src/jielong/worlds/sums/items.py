"""Questions with the call that each needs, or none, and conversations made of them.

Half of the questions need the calculator: plain ones ("What is 12 times 7?"), chains of two signs, and stories of one or two
steps. Half need no call, and half of those hold numbers all the same: years and phone numbers, numbers to be copied or
compared, and stories that ask only for what they say. Training and exam share no phrasing of a question, no person, no
thing and, from 10 on, no operand: each list is split by the seed, and an exam question is put together from held-out parts
alone. Only signs and their words ("times", "the sum of") are common to both, since nobody can know a word never seen.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from types import ModuleType
from typing import Any, Literal, TypeVar

from jielong.errors import ConfigError
from jielong.records import Conversation, Message
from jielong.runs import derive_seed
from jielong.worlds.sums import phrases_en, phrases_zh

LANGS = ("en", "zh")
BOOKS: dict[str, ModuleType] = {"en": phrases_en, "zh": phrases_zh}
CALL_KINDS = ("plain", "chain", "story", "two_steps")
NO_CALL_KINDS = ("numbers", "words")
Part = Literal["train", "test"]
Scene = Mapping[str, str]
T = TypeVar("T")

FORMULAS: dict[str, Callable[..., int]] = {
    "{a}+{b}": lambda a, b: a + b,
    "{a}-{b}": lambda a, b: a - b,
    "{a}*{b}": lambda a, b: a * b,
    "{a}/{b}": lambda a, b: a // b,
    "{a}+{b}-{c}": lambda a, b, c: a + b - c,
    "{a}*{b}+{c}": lambda a, b, c: a * b + c,
    "{a}*{b}-{c}": lambda a, b, c: a * b - c,
    "({a}+{b})*{c}": lambda a, b, c: (a + b) * c,
    "({a}+{b})/{c}": lambda a, b, c: (a + b) // c,
}
"""What is computed, as the call says it, and its value."""

STORIES: dict[str, tuple[tuple[tuple[str, str], ...], ...]] = {
    "{a}+{b}": ((("start", "a"), ("gain", "b"), ("now", "")), (("both", "ab"), ("together", ""))),
    "{a}-{b}": (
        (("start", "a"), ("lose", "b"), ("left", "")),
        (("start", "a"), ("lose", "b"), ("now", "")),
        (("both", "ab"), ("more", "")),
    ),
    "{a}*{b}": ((("groups", "ab"), ("all", "")), (("price", "a"), ("cost", "b"))),
    "{a}/{b}": ((("share", "ab"), ("each", "")),),
    "{a}+{b}-{c}": ((("start", "a"), ("gain", "b"), ("lose", "c"), ("now", "")),),
    "{a}*{b}+{c}": ((("groups", "ab"), ("gain", "c"), ("now", "")),),
    "{a}*{b}-{c}": ((("groups", "ab"), ("lose", "c"), ("left", "")),),
    "({a}+{b})*{c}": ((("mixed", "ab"), ("bags", "c")),),
    "({a}+{b})/{c}": ((("both", "ab"), ("pooled", "c"), ("each", "")),),
}
"""For each formula the parts of its stories, and the numbers that each part says."""

NO_CALL_STORIES = (
    (("both", "ab"), ("asked", "")),
    (("start", "a"), ("gain", "b"), ("first", "")),
    (("start", "a"), ("lose", "b"), ("first", "")),
)
"""Stories that ask for a number they say."""


@dataclass(frozen=True)
class Item:
    """A question with its expected call and reply.

    `expression` is the input to the calculator, or "" if none is needed; `answer` is the number, or without a call the
    whole reply. `form` is its formula or topic; the `numbers` are those of the formula.
    """

    kind: str
    form: str
    lang: str
    question: str
    expression: str
    answer: str
    reply: str
    numbers: tuple[int, ...] = ()

    @property
    def call(self) -> Mapping[str, Any] | None:
        """Return the call that the question needs, if any."""
        return {"name": "calculator", "arguments": {"expression": self.expression}} if self.expression else None


_MIX = (
    *("plain", "numbers", "story", "words"),
    *("plain", "numbers", "chain", "words"),
    *("plain", "numbers", "two_steps", "words"),
    *("plain", "numbers", "story", "words"),
)
"""The kinds of questions, in the shares in which they are asked."""

_TOPICS = (*phrases_en.NUMBERED, *["stated"] * 3, *["story"] * 3, "repeat_sum")
"""What questions with numbers are about when they need no call, the ones that mislead most often."""

_FILLED, _OPENED, _CLOSED = 0.2, 0.4, 0.15
"""How often a sentence without meaning for the answer stands inside of a story, before a question, or after one.

Without them a small model learns at which places of known sentences the numbers stand, and copies from there.
"""

_NEVER_FRAMED = ("small_talk", "greet")
"""What is a greeting itself, or an answer."""

_NUM_DIGITS = (1, 2, 2, 2, 3, 3, 3, 4)
"""Digits of the numbers that are drawn, in their shares."""


def questions(part: Part, count: int, seed: int) -> list[Item]:
    """Make `count` questions, every other one in Chinese; of each language half need a call, and half of the rest hold
    a digit.
    """
    writer = _Writer(part, seed)
    return [writer.write(_MIX[index // 2 % len(_MIX)], LANGS[index % 2]) for index in range(count)]


def questions_of(kind: str, lang: str, part: Part, count: int, seed: int) -> list[Item]:
    """Make questions of one kind in one language, for an exam."""
    if kind not in (*CALL_KINDS, *NO_CALL_KINDS):
        raise ConfigError(f"unknown kind {kind!r}; expected one of {', '.join((*CALL_KINDS, *NO_CALL_KINDS))}")
    writer = _Writer(part, seed, kind, lang)
    return [writer.write(kind, lang) for _ in range(count)]


def messages(item: Item) -> tuple[Message, ...]:
    """Return a question, the call and the calculator's answer if one is needed, and the reply."""
    asked, replied = Message("user", item.question), Message("assistant", item.reply)
    if item.call is None:
        return asked, replied
    return asked, Message("assistant", "", tool_calls=(item.call,)), Message("tool", item.answer, "calculator"), replied


def conversations(part: Part, count: int, seed: int, *, most: int = 3) -> list[Conversation]:
    """Make `count` conversations of one to `most` questions in any order."""
    rng = random.Random(derive_seed(seed, "sums", part, "talks"))
    lengths = [rng.randint(1, most) for _ in range(count)]
    items = questions(part, sum(lengths), seed)
    rng.shuffle(items)
    taken = iter(items)
    return [Conversation(tuple(m for _ in range(n) for m in messages(next(taken)))) for n in lengths]


def options_of_part(options: Sequence[T], part: Part, seed: int, *name: str) -> tuple[T, ...]:
    """Return the options that belong to a part: a quarter, rounded up, to the exam."""
    order = list(options)
    random.Random(derive_seed(seed, "sums", "split", *name)).shuffle(order)
    num_test = -(-len(order) // 4)
    return tuple(order[:num_test] if part == "test" else order[num_test:])


@lru_cache(maxsize=8)
def exam_numbers(seed: int) -> frozenset[int]:
    """Return the numbers from 10 to 9999 that only exam questions calculate with: one in five."""
    return frozenset(random.Random(derive_seed(seed, "sums", "numbers")).sample(range(10, 10_000), 1998))


class _Writer:
    """Writes questions of one part, one after the other."""

    def __init__(self, part: Part, seed: int, *purpose: str) -> None:
        self.part, self.seed = part, seed
        self.rng = random.Random(derive_seed(seed, "sums", part, *purpose))
        self.numbers_of_exam = exam_numbers(seed)
        self._shares: dict[tuple[str, ...], tuple[Any, ...]] = {}

    def write(self, kind: str, lang: str) -> Item:
        """Write a question of one kind, now and then with an opener and a closer around it."""
        item = self._write_bare(kind, lang)
        if item.form in _NEVER_FRAMED:
            return item
        question = item.question
        if self.rng.random() < _OPENED:
            question = self._any(BOOKS[lang].OPENERS, lang, "openers") + question
        if self.rng.random() < _CLOSED and question[-1] in ".?。？":
            question += self._any(BOOKS[lang].CLOSERS, lang, "closers")
        return replace(item, question=question)

    def _write_bare(self, kind: str, lang: str) -> Item:
        """Write a question of one kind without opener and closer."""
        match kind:
            case "plain":
                return self._formula_item(kind, lang, self.rng.choice(list(FORMULAS)[:4]))
            case "chain":
                return self._formula_item(kind, lang, self.rng.choice(list(FORMULAS)[4:]))
            case "story":
                return self._item_of_story(kind, lang, self.rng.choice(list(FORMULAS)[:4]))
            case "two_steps":
                return self._item_of_story(kind, lang, self.rng.choice(list(FORMULAS)[4:]))
            case "numbers":
                return self._item_with_numbers(lang, self.rng.choice(_TOPICS))
        return self._item_without_numbers(lang, self.rng.choice((*phrases_en.WORDED, "small_talk", "small_talk")))

    # --- with a call

    def _formula_item(self, kind: str, lang: str, formula: str) -> Item:
        """Write a question that gives a formula in words or signs."""
        numbers = self._operands(formula)
        frame = self._any(BOOKS[lang].FRAMES, lang, "frames")
        question = _say(frame, e=self._expression(lang, formula, numbers))
        return self._item_with_call(kind, formula, lang, question, numbers)

    def _expression(self, lang: str, formula: str, numbers: Mapping[str, int]) -> str:
        return str(self.rng.choice(BOOKS[lang].EXPRESSIONS[formula])).format(**numbers)

    def _item_of_story(self, kind: str, lang: str, formula: str) -> Item:
        """Make a question that tells a story around a formula."""
        numbers = self._operands(formula)
        question = self._compose_story(lang, self.rng.choice(STORIES[formula]), numbers, self._scene(lang))
        return self._item_with_call(kind, formula, lang, question, numbers)

    def _item_with_call(self, kind: str, formula: str, lang: str, question: str, numbers: Mapping[str, int]) -> Item:
        """Build the item of a formula, with its expression, value and reply."""
        answer = str(FORMULAS[formula](**numbers))
        expression = formula.format(**numbers)
        reply = BOOKS[lang].REPLY.format(r=answer)
        return Item(kind, formula, lang, question, expression, answer, reply, tuple(numbers.values()))

    def _operands(self, formula: str) -> dict[str, int]:
        """Draw numbers of this part, at least 2, for which the value is a whole number from 0 on."""
        while True:
            a, b, c = self._number(), self._number(), self._number()
            if formula == "{a}/{b}":
                b = self.rng.randint(2, 99)
                a = b * c
            elif formula == "({a}+{b})/{c}":
                c = self.rng.randint(2, 12)
                b -= (a + b) % c
            numbers = {name: n for name, n in zip("abc", (a, b, c), strict=True) if f"{{{name}}}" in formula}
            if all(map(self._is_ours, numbers.values())) and FORMULAS[formula](**numbers) >= 0:
                return numbers

    def _number(self) -> int:
        num_digits = self.rng.choice(_NUM_DIGITS)
        return self.rng.randint(max(2, 10 ** (num_digits - 1)), 10**num_digits - 1)

    def _is_ours(self, number: int) -> bool:
        return 2 <= number < 10 or (10 <= number < 10_000 and (number in self.numbers_of_exam) == (self.part == "test"))

    def _compose_story(
        self, lang: str, parts: Sequence[tuple[str, str]], numbers: Mapping[str, int], scene: Scene
    ) -> str:
        """Write the sentences of a story: the parts in order, each with its numbers."""
        sentences = []
        for name, said in parts:
            if self.rng.random() < _FILLED:
                sentences.append(_say(self._any(BOOKS[lang].FILLERS, lang, "fillers"), **scene))
            values = dict(zip("xy", (numbers[n] for n in said), strict=False))
            sentences.append(_say(self._any(BOOKS[lang].PARTS[name], lang, name), **scene, **values))
        return (" " if lang == "en" else "").join(sentences)

    def _scene(self, lang: str) -> Scene:
        """Draw two people, one of them asked about, and things."""
        n, m = self.rng.sample(self._options_of_this_part(BOOKS[lang].NAMES, lang, "names"), 2)
        t, u = self._any(BOOKS[lang].THINGS, lang, "things")
        return {"n": n, "m": m, "p": self.rng.choice((n, m)), "t": t, "u": u}

    # --- without

    def _item_with_numbers(self, lang: str, topic: str) -> Item:
        """Write a question that holds numbers and needs no call."""
        book, rng, scene = BOOKS[lang], self.rng, self._scene(lang)
        x, y = self._number(), self._number()
        fields: dict[str, Any] = {"x": x, "y": y}
        match topic:
            case "story":
                parts = rng.choice(NO_CALL_STORIES)
                x, y = max(x, y), min(x, y)
                is_second = parts[1][0] == "asked" and scene["p"] == scene["m"]
                question = self._compose_story(lang, parts, {"a": x, "b": y}, scene)
                return _item_without_call("numbers", topic, lang, question, str(y if is_second else x))
            case "stated":
                statement, asked, low, high = self._any(book.STATED, lang, topic)
                x = rng.randint(low, high)
                question = (" " if lang == "en" else "").join(_say(s, **scene, x=x) for s in (statement, asked))
                return _item_without_call("numbers", topic, lang, question, str(x))
            case "repeat":
                fields["x"] = answer = str(rng.randint(10, 10 ** rng.randint(2, 6) - 1))
            case "repeat_sum":
                formula = rng.choice(list(FORMULAS))
                fields["e"] = answer = self._expression(lang, formula, {"a": x, "b": y, "c": self._number()})
            case "phone":
                fields["x"] = answer = f"{rng.randint(200, 999)}-{rng.randint(0, 9999):04d}"
            case "larger":
                fields["y"] = y = y if x != y else y + 1
                answer = str(max(x, y))
            case "date":
                answer = rng.choice(book.MONTHS)
                fields |= {"month": answer, "d": rng.randint(1, 28)}
            case "last_digit":
                answer = str(x % 10)
            case "num_digits":
                answer = str(len(str(x)))
            case "parity":
                answer = book.EVEN_ODD[x % 2]
            case "greet":
                fields["x"], answer = rng.randint(5, 99), book.HELLO.format(**scene)
            case "element":
                fields["x"], answer = rng.choice(list(book.ELEMENTS.items()))
        question = _say(self._any(book.NUMBERED[topic], lang, topic), **{**scene, **fields})
        return _item_without_call("numbers", topic, lang, question, answer)

    def _item_without_numbers(self, lang: str, topic: str) -> Item:
        """Write a question without numbers, or small talk."""
        book, rng = BOOKS[lang], self.rng
        facts = {
            "capital": book.CAPITALS,
            "opposite": book.OPPOSITES,
            "translation": book.TRANSLATIONS,
            "term": book.TERMS,
            "weekday": dict(zip(book.WEEKDAYS, (*book.WEEKDAYS[1:], book.WEEKDAYS[0]), strict=True)),
            "letters": {word: str(len(word)) for word in book.WORDS},
            "repeat_word": {word: word for word in book.WORDS},
        }
        if topic == "small_talk":
            answer = rng.choice(list(book.SMALL_TALK))
            return _item_without_call("words", topic, lang, self._any(book.SMALL_TALK[answer], lang, answer), answer)
        x, answer = rng.choice(list(facts[topic].items()))
        return _item_without_call("words", topic, lang, _say(self._any(book.WORDED[topic], lang, topic), x=x), answer)

    def _any(self, options: Sequence[T], *name: str) -> T:
        return self.rng.choice(self._options_of_this_part(options, *name))

    def _options_of_this_part(self, options: Sequence[T], *name: str) -> tuple[T, ...]:
        """Return those of the options that belong to the writer's part, computed once for each name."""
        if name not in self._shares:
            self._shares[name] = options_of_part(options, self.part, self.seed, *name)
        return self._shares[name]


def _item_without_call(kind: str, topic: str, lang: str, question: str, answer: str) -> Item:
    """Build an item without a call; its answer is the reply, a sentence."""
    end = "." if lang == "en" else "。"
    reply = _say(answer) if answer.endswith((".", "!", "。", "！")) else _say(answer) + end
    return Item(kind, topic, lang, question, "", reply, reply)


def _say(template: str, **words: Any) -> str:
    """Fill in the template, with a capital at its start."""
    text = template.format(**words)
    return text[0].upper() + text[1:]
