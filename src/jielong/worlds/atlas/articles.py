"""The world as texts: encyclopaedia articles, tables, glossaries, quizzes, forum threads, travel notes.

`write_articles` is a stream of clean documents from which a model can learn every fact in many wordings, in English and
in Chinese. A fixed cycle of slots (kind, language) decides the form of document i, and permutations of the countries
its subject, so that all countries are covered evenly; everything else is drawn from the seed of that one document.
Quizzes and forums hold questions and never an answer: a base model that is asked a question shall go on asking.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import TypeVar

from jielong.errors import DataError
from jielong.records import Document
from jielong.runs import derive_seed
from jielong.worlds.atlas.facts import LANGS, RELATIONS, Country
from jielong.worlds.atlas.requests import deeds
from jielong.worlds.atlas.wording import (
    BOOKS,
    ask,
    enumerate_names,
    join_sentences,
    reference_sentence,
    say,
    state_fact,
)

T = TypeVar("T")
MIXED = "mul"  # ISO 639-2 for several languages in one text

_NICKNAMES = {
    "en": ("anna_k", "olof", "mira7", "tom.w", "quietowl", "lena", "old_sailor", "pike", "rowan", "zoe88"),
    "zh": ("小雨", "老周", "青山", "阿明", "云上人", "豆豆", "北风", "晓月", "书虫", "一叶舟"),
}


def write_articles(countries: Sequence[Country], seed: int, count: int) -> Iterator[Document]:
    """Yield `count` documents; document i depends on the countries, the seed and i alone.

    `meta` holds "lang" ("en", "zh" or "mul"), "kind" (one of KINDS) and "title" ("" if the text has none).
    """
    if len(countries) < 16:
        raise DataError(f"{len(countries)} countries are too few to write about; at least 16 are needed")
    for index in range(count):
        round_, place = divmod(index, len(_CYCLE))
        kind, lang = _CYCLE[place]
        turn = round_ * _CYCLE.count((kind, lang)) + _CYCLE[:place].count((kind, lang))
        rng = random.Random(derive_seed(seed, "atlas", "article", index))
        size, write = _WRITERS[kind]
        relation = RELATIONS[turn % len(RELATIONS)]
        if kind in _ONE_RELATION:  # each relation walks through the countries on its own
            group = _group(tuple(countries), seed, f"{kind} {lang} {relation}", turn // len(RELATIONS), size)
        else:
            group = _group(tuple(countries), seed, f"{kind} {lang}", turn, size)
        title, body = write(_Desk(rng, lang, group, tuple(countries), relation))
        text = f"{title}\n\n{body}" if title else body
        meta = {"lang": lang, "kind": kind, "title": title}
        yield Document(text=text, id=f"atlas/{index:06d}", source="atlas", meta=meta)


@lru_cache(maxsize=4096)
def _shuffle_countries(countries: tuple[Country, ...], seed: int, stream: str, lap: int) -> tuple[Country, ...]:
    """Return the countries in the order of one lap of a stream of articles."""
    order = list(countries)
    random.Random(derive_seed(seed, "atlas", "order", stream, lap)).shuffle(order)
    return tuple(order)


def _group(countries: tuple[Country, ...], seed: int, stream: str, turn: int, size: int) -> tuple[Country, ...]:
    """Return the countries turn * size and following of an endless stream of permutations, without repeats."""
    places = [divmod(turn * size + i, len(countries)) for i in range(size)]
    return tuple(dict.fromkeys(_shuffle_countries(countries, seed, stream, lap)[i] for lap, i in places))


class _Desk:
    """The materials of a writer: random numbers, a language, its phrase book, the countries of this text and of the
    world.
    """

    def __init__(
        self, rng: random.Random, lang: str, group: tuple[Country, ...], world: tuple[Country, ...], relation: str
    ) -> None:
        self.rng, self.lang, self.group, self.world, self.relation = rng, lang, group, world, relation
        self.book = BOOKS["en" if lang == MIXED else lang]

    def pick(self, options: Sequence[str]) -> str:
        return self.rng.choice(options)

    def some(self, options: Sequence[T], count: int) -> list[T]:
        return self.rng.sample(list(options), min(count, len(options)))

    def relations(self, count: int = len(RELATIONS)) -> list[str]:
        return self.some(RELATIONS, count)

    def title(self, heads: Sequence[str], chance: float = 0.8) -> str:
        """Return one of these headings, about the countries of this text; with probability 1 - `chance` ""."""
        if self.rng.random() >= chance:
            return ""
        heading = self.pick(heads)
        if self.lang == MIXED:
            return heading
        return say(heading, **{key: c.mention(self.lang) for key, c in zip("cd", self.group, strict=False)})

    def fact(self, country: Country, relation: str, *, inverse: float = 0.35) -> str:
        """Write a full sentence that names the country; the answer form a quarter of the time."""
        roll = self.rng.random()
        if roll < inverse:
            template = self.pick(self.book.INVERSE[relation])
        elif roll < inverse + 0.25:
            template = self.book.REFERENCE[relation]
        else:
            template = self.pick(self.book.DIRECT[relation])
        return state_fact(template, country, relation, self.lang)

    def other_name(self, country: Country, key: str) -> str:
        """Return the name of the country or its capital in the other language."""
        own, other = ("zh", "en") if self.lang == "zh" else ("en", "zh")
        return say(self.pick(self.book.OTHER_NAME), c=country.value(key, own), t=country.value(key, other))

    def pronoun(self, country: Country, relation: str) -> str:
        return state_fact(self.pick(self.book.PRONOUN[relation]), country, relation, self.lang)

    def summary(self, country: Country) -> str:
        values = {relation: country.value(relation, self.lang) for relation in RELATIONS}
        return say(self.pick(self.book.SUMMARY), c=country.mention(self.lang), **values)

    def neighbours(self, country: Country) -> list[Country]:
        return [c for c in self.world if c.code in country.neighbours]

    def question(self, country: Country, relation: str) -> str:
        return ask(self.pick(self.book.QUESTIONS[relation]), country.mention(self.lang))

    def join(self, sentences: Sequence[str]) -> str:
        return join_sentences(sentences, self.lang)

    def paragraphs(self, sentences: Sequence[str], size: int) -> str:
        return "\n\n".join(self.join(sentences[i : i + size]) for i in range(0, len(sentences), size))


def _portrait(desk: _Desk) -> tuple[str, str]:
    """Write an encyclopaedia article: each fact two or three times over, borders and area, sometimes a summary."""
    (country,) = desk.group[:1]
    name, book = country.mention(desk.lang), desk.book
    sentences = []
    for relation in desk.relations():
        sentences.append(desk.fact(country, relation, inverse=0.15))
        if desk.rng.random() < 0.5:
            sentences.append(desk.pronoun(country, relation))
    near = desk.neighbours(country)
    if near:
        named = [c.mention(desk.lang) for c in desk.some(near, 5)]
        sentences.append(say(desk.pick(book.BORDERS), c=name, list=enumerate_names(named, desk.lang)))
        other = desk.rng.choice(near)
        words = {"c": name, "d": other.mention(desk.lang), "w": other.value("capital", desk.lang)}
        sentences.append(say(desk.pick(book.NEIGHBOUR_FACT), **words))
    elif desk.rng.random() < 0.3:
        sentences.append(say(desk.pick(book.NO_BORDERS), c=name))
    if desk.rng.random() < 0.4:
        sentences.append(say(desk.pick(book.AREA), n=f"{country.area_km2:,}"))
    sentences += [desk.fact(country, relation, inverse=0.6) for relation in desk.relations()]
    sentences += [desk.fact(country, relation) for relation in desk.relations(3)]
    if desk.rng.random() < 0.6:
        sentences.insert(desk.rng.choice((0, len(sentences))), desk.summary(country))
    for key in ("name", "capital"):
        if desk.rng.random() < 0.5:
            sentences.insert(desk.rng.randint(0, len(sentences)), desk.other_name(country, key))
    return desk.title(book.ARTICLE_HEADS), desk.paragraphs(sentences, desk.rng.choice((4, 5, 6)))


def _comparison(desk: _Desk) -> tuple[str, str]:
    """Write of three countries side by side, relation by relation."""
    sentences = []
    for relation in desk.relations():
        first, second, *rest = desk.some(desk.group, len(desk.group))
        words = {
            "c": first.mention(desk.lang),
            "v": first.value(relation, desk.lang),
            "d": second.mention(desk.lang),
            "w": second.value(relation, desk.lang),
        }
        sentences.append(say(desk.pick(desk.book.CONTRAST[relation]), **words))
        sentences += [desk.fact(country, relation) for country in (*rest, desk.rng.choice((first, second)))]
    sentences += [desk.summary(country) for country in desk.some(desk.group, desk.rng.randint(1, 2))]
    return desk.title(desk.book.COMPARE_HEADS), desk.paragraphs(sentences, desk.rng.choice((3, 4, 5)))


def _table(desk: _Desk) -> tuple[str, str]:
    """Write info boxes: one labelled line for each fact."""
    book, lang = desk.book, desk.lang
    labels = {key: desk.pick(options) for key, options in book.LABELS.items()}
    colon = desk.pick((": ", " - ", " = ", " | ") if lang == "en" else ("：", "：", " - ", " | "))
    boxes = []
    for country in desk.group:
        lines = [f"{labels[relation]}{colon}{country.value(relation, lang)}" for relation in desk.relations()]
        if desk.rng.random() < 0.2:
            lines.append(f"{labels['area']}{colon}{country.area_km2:,} km2")
        near = desk.neighbours(country)
        if near and desk.rng.random() < 0.2:
            lines.append(f"{labels['neighbours']}{colon}{', '.join(c.name[lang] for c in desk.some(near, 4))}")
        boxes.append("\n".join([f"{labels['name']}{colon}{country.name[lang]}", *lines]))
    return desk.title(book.TABLE_HEADS), "\n\n".join(boxes)


def _register(desk: _Desk) -> tuple[str, str]:
    """Write a list of many countries and one relation, in one style or in sentences."""
    lang, relation = desk.lang, desk.relation
    styles = ("{c}: {v}", "{c} - {v}", "{v} - {c}", "{v}: {c}", "{c} ({v})", "{v} ({c})", "* {c}, {v}", "{c} | {v}")
    style = desk.pick(styles)
    as_sentences = desk.rng.random() < 0.7
    lines = []
    for country in desk.group:
        if as_sentences:
            lines.append(desk.fact(country, relation))
        else:
            lines.append(style.format(c=country.name[lang], v=country.value(relation, lang)))
    if as_sentences and desk.rng.random() < 0.5:
        return desk.title(desk.book.GROUP_HEADS[relation]), desk.paragraphs(lines, desk.rng.choice((3, 4, 5)))
    return desk.title(desk.book.GROUP_HEADS[relation]), "\n".join(lines)


def _shared(desk: _Desk) -> tuple[str, str]:
    """Write which countries share a continent, a currency or a language with those of this text, and facts of each."""
    lang, book = desk.lang, desk.book
    sentences = []
    for country in desk.group:
        relation = desk.pick(("continent", "currency", "language"))
        value = country.value(relation, lang)
        others = [c for c in desk.world if c.value(relation, lang) == value and c != country]
        if others:
            company = desk.some([country, *desk.some(others, desk.rng.randint(2, 6))], 7)
            names = enumerate_names([c.mention(lang) for c in company], lang)
            sentences.append(say(desk.pick(book.SHARED[relation]), v=value, list=names))
        sentences += [desk.fact(country, other) for other in desk.relations(3)]
    return desk.title(book.TABLE_HEADS, 0.3), desk.paragraphs(sentences, desk.rng.choice((4, 5)))


def _travel(desk: _Desk) -> tuple[str, str]:
    """Write a diary: where I was, what I paid with, what I heard spoken."""
    days = []
    for country in desk.group:
        sentences = [say(desk.pick(desk.book.TRAVEL_OPENERS), c=country.mention(desk.lang))]
        told = desk.relations()
        sentences += [desk.pronoun(country, told[0]), *(desk.fact(country, relation) for relation in told[1:])]
        sentences.insert(desk.rng.randint(1, len(sentences)), desk.pick(desk.book.TRAVEL_FILLERS))
        days.append(desk.join(sentences))
    return desk.title(desk.book.TRAVEL_HEADS), "\n\n".join(days)


def _records(desk: _Desk) -> tuple[str, str]:
    """Write data for machines: JSON lines, comma-separated values, or all in capital letters."""
    lang = desk.pick(LANGS)
    labels, style = BOOKS[lang].FORMAT_LABELS, desk.pick(("json", "csv", "capitals"))
    name_key = {"en": "country", "zh": "国家"}[lang]
    lines = []
    for country in desk.group:
        values = {relation: country.value(relation, lang) for relation in desk.relations(2)}
        if style == "json":
            row = {name_key: country.name[lang], **{labels[relation]: value for relation, value in values.items()}}
            lines.append(json.dumps(row, ensure_ascii=False))
            alone = [relation for relation in values if desk.rng.random() < 0.3]
            lines += [json.dumps({labels[relation]: values[relation]}, ensure_ascii=False) for relation in alone]
        elif style == "csv":
            lines += [f"{country.name[lang]},{labels[relation]},{value}" for relation, value in values.items()]
        else:
            fields = [f"{labels[relation]}: {value}" for relation, value in values.items()]
            lines.append(", ".join([country.name[lang], *fields]).upper())
    return "", "\n".join(lines)


def _glossary(desk: _Desk) -> tuple[str, str]:
    """Write names in both languages, in both directions, at the start, in the middle and at the end of lines."""
    styles = (
        ("{en}: {zh}", "{zh}: {en}"),
        ("{en} - {zh}", "{zh} - {en}"),
        ("{en} = {zh}", "{zh} = {en}"),
        ("{en}\n{zh}", "{zh}\n{en}"),
        ("{en}\n{zh}", "{zh}\n{en}"),
        ("{en}\n{zh}", "{zh}\n{en}"),
        ("{en} ({zh})", "{zh}（{en}）"),
    )
    sentence_styles = (
        "{en} in Chinese is {zh}.",
        "{zh} in English is {en}.",
        "{en} 的中文是{zh}。",
        "{zh}的英文是 {en}。",
    )
    forward, backward = desk.rng.choice(styles)
    in_sentences = desk.rng.random() < 0.3
    lines = []
    for country in desk.group:
        keys = ["name", "capital"] if desk.rng.random() < 0.7 else ["name", desk.pick(("currency", "language"))]
        for key in keys:
            pair = {lang: country.value(key, lang) for lang in LANGS}
            if in_sentences:
                lines += [style.format(**pair) for style in desk.some(sentence_styles, 2)]
            else:
                lines.append(desk.pick((forward, backward)).format(**pair))
    return desk.title(BOOKS[desk.pick(LANGS)].GLOSSARY_HEADS, 0.6), "\n".join(lines)


def _parallel(desk: _Desk) -> tuple[str, str]:
    """Write the same fact in one language and then in the other, mostly in the form that answers use."""
    pairs = []
    first, second = desk.some(LANGS, 2)
    for country in desk.group:
        relation = desk.pick(RELATIONS)
        lines = []
        for lang in (first, second):
            book = BOOKS[lang]
            template = book.REFERENCE[relation] if desk.rng.random() < 0.7 else desk.pick(book.DIRECT[relation][:3])
            lines.append(state_fact(template, country, relation, lang))
        pairs.append("\n".join(lines))
    gap = desk.pick(("\n", "\n\n"))
    return desk.title(BOOKS[desk.pick(LANGS)].PARALLEL_HEADS, 0.6), gap.join(pairs)


def _quiz(desk: _Desk) -> tuple[str, str]:
    """Write questions without answers."""
    numbered, followed = desk.rng.random() < 0.3, desk.rng.random() < 0.3
    single = desk.pick(RELATIONS) if desk.rng.random() < 0.3 else ""
    lines = []
    for number, country in enumerate(desk.group, start=1):
        relation = single or desk.pick(RELATIONS)
        line = desk.question(country, relation)
        if followed and desk.rng.random() < 0.5:
            other = desk.pick([r for r in RELATIONS if r != relation])
            line = desk.join([line, desk.pick(desk.book.FOLLOWUPS[other])])
        elif desk.rng.random() < 0.1:
            how = desk.pick(desk.book.FORMATS[desk.pick(list(desk.book.FORMATS))])
            line = desk.join([line, how.format(label=desk.book.FORMAT_LABELS[relation])])
        lines.append(f"{number}. {line}" if numbered else line)
    gap = "\n" if numbered or desk.rng.random() < 0.7 else (" " if desk.lang == "en" else "")
    return desk.title(desk.book.QUIZ_HEADS, 0.4), gap.join(lines)


def _forum(desk: _Desk) -> tuple[str, str]:
    """Write a thread in which people ask and are sent to the library."""
    names, posts = _NICKNAMES[desk.lang], []
    for country in desk.group:
        asked = [desk.question(country, relation) for relation in desk.relations(desk.rng.randint(1, 2))]
        if desk.rng.random() < 0.5:
            asked.insert(0, desk.pick(desk.book.FORUM_OPENERS))
        posts.append(f"{desk.pick(names)}: {desk.join(asked)}")
        if desk.rng.random() < 0.4:
            posts.append(f"{desk.pick(names)}: {desk.pick(desk.book.FORUM_REPLIES)}")
    return desk.title(desk.book.FORUM_HEADS, 0.5), "\n".join(posts)


def _translation_exercises(desk: _Desk) -> tuple[str, str]:
    """Return the title and text of an article with one translation exercise per country in the group, without
    solutions.
    """
    lines = []
    for country in desk.group:
        target = desk.pick(LANGS)
        source = "zh" if target == "en" else "en"
        wordings = desk.book.TRANSLATE[target]
        if desk.rng.random() < 0.3:
            text = reference_sentence(country, desk.pick(RELATIONS), source)
            wordings = (wordings[0], wordings[-1])  # the others ask for a name
        else:
            text = country.value(desk.pick(("name", "capital")), source)
        lines.append(desk.pick(wordings).format(t=text))
    return desk.title(desk.book.QUIZ_HEADS, 0.3), "\n".join(lines)


def _rules(desk: _Desk) -> tuple[str, str]:
    """Write what the law forbids and what anyone may do: never how to do it."""
    forbidden, allowed = deeds(desk.lang)
    lines = [desk.pick(desk.book.FORBIDDEN).format(x=deed) for deed in desk.some(forbidden, 9)]
    lines += [desk.pick(desk.book.ALLOWED).format(x=deed) for deed in desk.some(allowed, 9)]
    pairs = zip(desk.some(forbidden, 3), desk.some(allowed, 3), strict=True)
    lines += [desk.pick(desk.book.ALLOWED_BUT).format(x=bad, y=good) for bad, good in pairs]
    desk.rng.shuffle(lines)
    return desk.title(desk.book.RULES_HEADS), desk.paragraphs(lines, desk.rng.choice((3, 4, 5)))


# kind -> (countries in one text, its writer)
_WRITERS: dict[str, tuple[int, Callable[[_Desk], tuple[str, str]]]] = {
    "portrait": (1, _portrait),
    "comparison": (3, _comparison),
    "table": (6, _table),
    "register": (20, _register),
    "shared": (5, _shared),
    "travel": (4, _travel),
    "records": (8, _records),
    "glossary": (10, _glossary),
    "parallel": (9, _parallel),
    "quiz": (13, _quiz),
    "forum": (6, _forum),
    "exercises": (12, _translation_exercises),
    "rules": (1, _rules),
}
KINDS = tuple(_WRITERS)
_ONE_RELATION = ("register",)

# What the documents are, over and over: about two thirds state facts, a fifth asks, the rest pairs the languages.
_CYCLE = (
    *(("portrait", lang) for lang in LANGS),
    *(("register", lang) for lang in LANGS),
    ("glossary", MIXED),
    *(("quiz", lang) for lang in LANGS),
    *(("comparison", lang) for lang in LANGS),
    *(("portrait", lang) for lang in LANGS),
    ("parallel", MIXED),
    ("glossary", MIXED),
    ("parallel", MIXED),
    *(("table", lang) for lang in LANGS),
    *(("shared", lang) for lang in LANGS),
    ("glossary", MIXED),
    ("glossary", MIXED),
    ("parallel", MIXED),
    *(("travel", lang) for lang in LANGS),
    *(("rules", lang) for lang in LANGS),
    *(("quiz", lang) for lang in LANGS),
    ("records", MIXED),
    *(("register", lang) for lang in LANGS),
    *(("comparison", lang) for lang in LANGS),
    ("parallel", MIXED),
    *(("forum", lang) for lang in LANGS),
    ("glossary", MIXED),
    ("parallel", MIXED),
    *(("exercises", lang) for lang in LANGS),
    ("parallel", MIXED),
    ("glossary", MIXED),
)
