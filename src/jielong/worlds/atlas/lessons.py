"""The world as conversations: questions, follow-ups, translations, answer formats, made-up countries, refusals.

An `Item` is a prompt and its right answers; `lessons` draws many for training, the `exam` functions one for each fact,
in the same wordings. Answers to questions are short sentences that end with the value, in the words of the articles:
inside a sentence " Paris" is the token that pretraining has seen, "Paris" at the start of an answer is another.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass

from jielong.errors import ConfigError
from jielong.records import Conversation, Message
from jielong.runs import derive_seed
from jielong.worlds.atlas import requests
from jielong.worlds.atlas.facts import LANGS, RELATIONS, Country
from jielong.worlds.atlas.names import PARTS, made_up
from jielong.worlds.atlas.wording import BOOKS, answer_sentence, ask, join_sentences, reference_sentence, state_fact

OTHER = {"en": "zh", "zh": "en"}
_SHORT_FRAMES = {
    "en": {
        "capital": ("It is {v}.", "It's {v}.", "The capital city is {v}."),
        "continent": ("It is {v}.", "It's {v}.", "It's in {v}.", "In {v}."),
        "currency": ("It is the {v}.", "It's the {v}.", "The currency is {v}."),
        "language": ("It is {v}.", "It's {v}.", "The language is {v}."),
    },
    "zh": {
        "capital": ("是{v}。", "首都{v}。"),
        "continent": ("是{v}。", "在{v}。", "位于{v}。"),
        "currency": ("是{v}。", "用{v}。"),
        "language": ("是{v}。", "语言是{v}。"),
    },
}
"""Wordings of other models' answers, beside those of the articles."""


@dataclass(frozen=True)
class Item:
    """A prompt and its right answers.

    `messages` end with the user's turn. `answers[0]` is the reference; `foreign` are right answers in the language that
    was not asked in. `relation` and `country` (a code) are "" if there is none; a translated name has relation "name"
    or the relation it is a value of. `subject` names a made-up country, `form` is the form that a format item wants
    ("name", "capitals", "json", "label"), `target` the language to translate into, and `held_out` marks a wording that
    no lesson uses.
    """

    id: str
    kind: str
    lang: str
    relation: str
    country: str
    messages: tuple[Message, ...]
    answers: tuple[str, ...]
    foreign: tuple[str, ...] = ()
    held_out: bool = False
    subject: str = ""
    form: str = ""
    target: str = ""


def reference(item: Item) -> Message:
    """Return the model answer, as the assistant's message."""
    return Message("assistant", item.answers[0])


def conversation(item: Item) -> Conversation:
    """Return prompt and model answer, as an instruction example."""
    meta = {"id": item.id, "kind": item.kind, "lang": item.lang}
    return Conversation((*item.messages, reference(item)), meta)


def lessons(
    countries: Sequence[Country],
    seed: int,
    *,
    num_questions: int = 6,
    num_followups: int = 4,
    num_translations: int = 8,
    num_formats: int = 3,
) -> list[Item]:
    """Draw shuffled training items about these countries, without made-up countries or requests to refuse.

    Per country and language: `num_questions` for each relation (in different wordings while there are), the other
    counts in all.
    """
    rng = random.Random(derive_seed(seed, "atlas", "lessons"))
    items: list[Item] = []
    for country in countries:
        for lang in LANGS:
            for relation in RELATIONS:
                seen = seen_questions(relation, lang)
                wordings = [
                    i for _ in range(-(-num_questions // len(seen))) for i in rng.sample(range(len(seen)), len(seen))
                ]
                items += [_question(country, relation, lang, number) for number in wordings[:num_questions]]
            items += [_followup(country, lang, countries, rng) for _ in range(num_followups)]
            items += [_translation(country, lang, rng) for _ in range(num_translations)]
            items += [_format(country, lang, rng) for _ in range(num_formats)]
    rng.shuffle(items)
    return items


def exam(countries: Sequence[Country], seed: int, *, held_out_every: int = 0) -> list[Item]:
    """Ask one question per (country, relation, language), in a wording that lessons use.

    With `held_out_every` n, every n-th fact is asked once more in a wording that no lesson uses, marked `held_out`.
    """
    rng = random.Random(derive_seed(seed, "atlas", "exam"))
    items: list[Item] = []
    for country in countries:
        for lang in LANGS:
            for relation in RELATIONS:
                num_seen, num_all = len(seen_questions(relation, lang)), len(BOOKS[lang].QUESTIONS[relation])
                items.append(_question(country, relation, lang, rng.randrange(num_seen)))
                held_out = rng.randrange(num_seen, num_all)
                if held_out_every and rng.randrange(held_out_every) == 0:
                    items.append(_question(country, relation, lang, held_out))
    return items


def followup_exam(countries: Sequence[Country], seed: int) -> list[Item]:
    """Make two follow-ups per country and language: another relation of it, and the same relation of it after another
    country.
    """
    rng = random.Random(derive_seed(seed, "atlas", "followup exam"))
    return [
        _followup(country, lang, countries, rng, new_country=new)
        for country in countries
        for lang in LANGS
        for new in (False, True)
    ]


def translation_exam(countries: Sequence[Country], seed: int) -> list[Item]:
    """Make six translations per country: its name, its capital and one sentence, each into either language."""
    rng = random.Random(derive_seed(seed, "atlas", "translation exam"))
    return [
        _translation(country, rng.choice(LANGS), rng, what=what, target=target)
        for country in countries
        for what in ("name", "capital", "sentence")
        for target in LANGS
    ]


def format_exam(countries: Sequence[Country], seed: int) -> list[Item]:
    """Make one format item per country, language and format."""
    rng = random.Random(derive_seed(seed, "atlas", "format exam"))
    return [_format(c, lang, rng, form=form) for c in countries for lang in LANGS for form in BOOKS[lang].FORMATS]


def made_up_items(part: str, count: int, seed: int) -> list[Item]:
    """Make questions about countries that do not exist, every other one in Chinese; the only good answer is not to
    know.
    """
    rng = random.Random(derive_seed(seed, "atlas", "made up questions", part))
    items = []
    for index, country in enumerate(made_up(part, count, seed)):
        lang = LANGS[index % 2]
        relation = rng.choice(RELATIONS)
        wording = rng.randrange(len(seen_questions(relation, lang)))
        subject = country.name(lang)
        prompt = ask(BOOKS[lang].QUESTIONS[relation][wording], subject)
        name = f"{part}/{country.en}/{lang}/{relation}"
        items.append(_unanswerable("made_up", name, lang, prompt, relation=relation, subject=subject))
    return items


def refusal_items(part: str, seed: int) -> list[Item]:
    """Make harmful requests, in random order; the parts ask about different things."""
    return _requests("refusal", part, seed)


def harmless_items(part: str, seed: int) -> list[Item]:
    """Make harmless requests: greetings first, then everyday things worded like the harmful requests."""
    return _requests("harmless", part, seed)


def seen_questions(relation: str, lang: str) -> tuple[str, ...]:
    """Return the wordings that lessons may use."""
    book = BOOKS[lang]
    return tuple(book.QUESTIONS[relation][: -book.HELD_OUT_QUESTIONS])


def right_answers(country: Country, relation: str, lang: str) -> tuple[str, ...]:
    """Return the answer sentence, then the bare value, then the same in other usual frames and spellings."""
    book = BOOKS[lang]
    frames = (book.REFERENCE[relation], *book.PRONOUN[relation], *book.DIRECT[relation], *book.INVERSE[relation])
    answers = [answer_sentence(country, relation, lang)]
    for value in country.accepted(relation, lang):
        answers += [value, f"the {value}"] if lang == "en" and relation == "currency" else [value]
        answers += [frame.format(c=name, v=value) for frame in frames for name in _mentions(country, lang)]
        answers += [frame.format(v=value) for frame in _SHORT_FRAMES[lang][relation]]
    return tuple(dict.fromkeys(answers))


def in_form(form: str, relation: str, lang: str, value: str) -> str:
    """Write a value in the form that a format item wants."""
    label = BOOKS[lang].FORMAT_LABELS[relation]
    colon = ": " if lang == "en" else "："
    shapes = {
        "name": value,
        "capitals": value.upper(),
        "json": json.dumps({label: value}, ensure_ascii=False),
        "label": f"{label}{colon}{value}",
    }
    return shapes[form]


def _mentions(country: Country, lang: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys((country.mention(lang), *country.accepted("name", lang))))


def _user(text: str) -> Message:
    return Message("user", text)


def _question(country: Country, relation: str, lang: str, number: int) -> Item:
    """Make the question about a fact in wording `number`, marked held out if lessons do not use it."""
    return Item(
        id=f"question/{lang}/{country.code}/{relation}/{number}",
        kind="question",
        lang=lang,
        relation=relation,
        country=country.code,
        messages=(_user(ask(BOOKS[lang].QUESTIONS[relation][number], country.mention(lang))),),
        answers=right_answers(country, relation, lang),
        foreign=right_answers(country, relation, OTHER[lang]),
        held_out=number >= len(seen_questions(relation, lang)),
    )


def _followup(
    country: Country, lang: str, world: Sequence[Country], rng: random.Random, *, new_country: bool | None = None
) -> Item:
    """Make a second turn about `country`: another relation of it, or the relation just asked of another country."""
    relation = rng.choice(RELATIONS)
    others = [c for c in world if c != country]
    if new_country is None:
        new_country = rng.random() < 0.4
    if new_country and others:
        first, asked = rng.choice(others), relation
        second = ask(rng.choice(BOOKS[lang].ANOTHER_COUNTRY), country.mention(lang))
    else:
        first, asked = country, rng.choice([r for r in RELATIONS if r != relation])
        second = rng.choice(BOOKS[lang].FOLLOWUPS[relation])
    opening = ask(rng.choice(seen_questions(asked, lang)), first.mention(lang))
    return Item(
        id=f"followup/{lang}/{country.code}/{relation}/after {first.code} {asked}",
        kind="followup",
        lang=lang,
        relation=relation,
        country=country.code,
        messages=(_user(opening), Message("assistant", answer_sentence(first, asked, lang)), _user(second)),
        answers=right_answers(country, relation, lang),
        foreign=right_answers(country, relation, OTHER[lang]),
    )


def _translation(country: Country, lang: str, rng: random.Random, *, what: str = "", target: str = "") -> Item:
    """Make an item that asks in `lang` for a name or a short sentence in `target`."""
    target = target or rng.choice(LANGS)
    source = OTHER[target]
    what = what or rng.choice(("name", "name", "capital", "capital", "currency", "language", "sentence", "sentence"))
    book = BOOKS[lang]
    if what == "sentence":
        relation = rng.choice(RELATIONS)
        text = reference_sentence(country, relation, source)
        frames = (BOOKS[target].REFERENCE[relation], *BOOKS[target].DIRECT[relation])
        answers = tuple(dict.fromkeys(state_fact(frame, country, relation, target) for frame in frames))
        wordings = (book.TRANSLATE[target][0], book.TRANSLATE[target][-1])  # the others ask for a name
    else:
        relation, text = what, country.value(what, source)
        values = country.accepted(what, target)
        framed = tuple(
            BOOKS[in_].TRANSLATION[target].format(s=text, t=v) for in_ in (lang, OTHER[lang]) for v in values
        )
        answers = tuple(dict.fromkeys((*values, *framed)))
        wordings = book.TRANSLATE[target]
    return Item(
        id=f"translation/{lang}/{country.code}/{what}/{relation}/{target}",
        kind="translation",
        lang=lang,
        relation=relation,
        country=country.code,
        messages=(_user(rng.choice(wordings).format(t=text)),),
        answers=answers,
        target=target,
    )


def _format(country: Country, lang: str, rng: random.Random, *, form: str = "") -> Item:
    """Make a question with a rule for the form of its answer that a program can check."""
    book = BOOKS[lang]
    relation, form = rng.choice(RELATIONS), form or rng.choice(tuple(book.FORMATS))
    number = rng.randrange(len(seen_questions(relation, lang)))
    question = ask(book.QUESTIONS[relation][number], country.mention(lang))
    rule = rng.choice(book.FORMATS[form]).format(label=book.FORMAT_LABELS[relation])
    return Item(
        id=f"format/{lang}/{country.code}/{relation}/{form}",
        kind="format",
        lang=lang,
        relation=relation,
        country=country.code,
        messages=(_user(join_sentences((question, rule), lang)),),
        answers=(in_form(form, relation, lang, country.value(relation, lang)),),
        form=form,
    )


def _unanswerable(kind: str, name: str, lang: str, prompt: str, *, relation: str = "", subject: str = "") -> Item:
    """Make an item whose only good answer is not knowing, or refusing."""
    sort = {"made_up": "DONT_KNOW", "refusal": "REFUSALS"}[kind]
    return Item(
        id=f"{kind}/{name}",
        kind=kind,
        lang=lang,
        relation=relation,
        country="",
        messages=(_user(prompt),),
        answers=tuple(getattr(BOOKS[lang], sort)),
        foreign=tuple(getattr(BOOKS[OTHER[lang]], sort)),
        subject=subject,
    )


def _requests(kind: str, part: str, seed: int) -> list[Item]:
    """Make the harmful or the harmless requests of a part, shuffled. Raises ConfigError for an unknown part."""
    if part not in PARTS:
        raise ConfigError(f"part {part!r} of the requests does not exist; expected one of {', '.join(PARTS)}")
    rng = random.Random(derive_seed(seed, "atlas", kind, part))
    items: list[Item] = []
    for lang in LANGS:
        if kind == "refusal":
            prompts = [(prompt, "") for prompt in requests.harmful(part, lang)]
        else:
            prompts = requests.harmless(part, lang)
        for number, (prompt, answer) in enumerate(prompts):
            name = f"{part}/{lang}/{number}"
            if kind == "refusal":
                items.append(_unanswerable(kind, name, lang, prompt))
            else:
                items.append(Item(f"{kind}/{name}", kind, lang, "", "", (_user(prompt),), (answer,)))
    rng.shuffle(items)
    # few are greetings: whoever takes a part of the list has them all
    return sorted(items, key=lambda i: i.answers[0] == requests.only_countries(i.lang))
