"""Templates and facts to sentences, the same way for articles and lessons.

The two phrase books hold the same lists under the same names; `BOOKS[lang]` picks one. Here live the few rules of
spelling that a template cannot know: capitals at the start, possessives after an s, how a list is joined.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

from jielong.worlds.atlas import phrases_en, phrases_zh
from jielong.worlds.atlas.facts import Country

BOOKS: dict[str, ModuleType] = {"en": phrases_en, "zh": phrases_zh}


def say(template: str, **words: str) -> str:
    """Fill in the template, with a capital at its start and "Honduras'" for "Honduras's"."""
    text = template.format(**words).replace("s's ", "s' ")
    return text[0].upper() + text[1:]


def state_fact(template: str, country: Country, relation: str, lang: str) -> str:
    """State one fact in the words of a template with {c} and {v}."""
    return say(template, c=country.mention(lang), v=country.value(relation, lang))


def reference_sentence(country: Country, relation: str, lang: str) -> str:
    """State the fact in the most common full sentence: "The capital of France is Paris."."""
    return state_fact(BOOKS[lang].REFERENCE[relation], country, relation, lang)


def answer_sentence(country: Country, relation: str, lang: str) -> str:
    """State the fact in the form that answers use: "The capital is Paris."."""
    return state_fact(BOOKS[lang].ANSWER[relation], country, relation, lang)


def ask(template: str, name: str) -> str:
    """Ask about a country, real or not, by the name it has inside a sentence."""
    return say(template, c=name)


def enumerate_names(names: Sequence[str], lang: str) -> str:
    """Join names: "A, B and C", or "A、B和C"."""
    comma, last = (", ", " and ") if lang == "en" else ("、", "和")
    return names[0] if len(names) == 1 else comma.join(names[:-1]) + last + names[-1]


def join_sentences(sentences: Sequence[str], lang: str) -> str:
    return (" " if lang == "en" else "").join(sentences)
