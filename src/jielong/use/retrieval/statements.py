"""The statements of a passage, clause by clause, each with its context: its sentence, its paragraph, its headings, its
column.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from jielong.use.retrieval.words import clauses, sentences, words_of

_ITEM = re.compile(r"\s*(?:[-*•·]|\d{1,2}[.)、]|[一二三四五六七八九十]+、|\d{1,2}:\d{2}\b)\s*")
_DENIALS = re.compile(
    r"\b(?:not?|never|none|nobody|nothing|without|cannot|except|unable|forbidden)\b|n['’]t\b|不(?![锈仅但管过同断错])|没(?!收)|"
    "无[法人需权]|未(?!来)|非(?![常洲])|禁止|勿"
)


@dataclass(frozen=True)
class Statement:
    """A clause of a passage.

    `own` are its words, `sentence` those of its sentence so far, `context` those of its paragraph so far with the
    headings above it, and `heading` those of the headings alone.
    """

    text: str
    own: frozenset[str]
    sentence: frozenset[str]
    context: frozenset[str]
    heading: frozenset[str]
    denies: bool


@lru_cache(maxsize=256)
def statements_of(passage: str, source: str) -> tuple[Statement, ...]:
    """Return the clauses of a passage, headings left out. The name of the file is the first heading."""
    found: list[Statement] = []
    title = words_of(title_of(source)).held
    for paragraph, heading in paragraphs(passage):
        above = title | words_of(heading).held
        lines = paragraph.splitlines()
        if all(line.lstrip().startswith("|") for line in lines):
            found += _of_table(lines, above)
        else:
            found += _of_sentences(paragraph, above)
    return tuple(found)


def _of_sentences(paragraph: str, above: frozenset[str]) -> Iterator[Statement]:
    """Yield the clauses of sentences. Earlier words of a sentence belong to a clause, but for other items of a list."""
    before = beginning = above
    for sentence in sentences(re.sub(r"\n(?=[a-z])", " ", paragraph)):
        is_item = _ITEM.match(sentence) is not None
        if is_item:
            before = beginning
        so_far: frozenset[str] = frozenset()
        is_denial = denies(sentence)
        for clause in clauses(sentence):
            own = words_of(clause).held
            so_far |= own
            before |= own
            if own:
                yield Statement(clause, own, so_far, before, above, is_denial)
        if not is_item:
            beginning = before


def _of_table(lines: Sequence[str], above: frozenset[str]) -> Iterator[Statement]:
    """Yield the cells of a table in Markdown, each about its row and its column."""
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]
    head = rows[0]
    for row in rows[1:]:
        if all(re.fullmatch(r":?-*:?", cell) for cell in row):
            continue
        label = words_of(row[0]).held
        for column, cell in enumerate(row):
            own = words_of(cell).held
            about = own | label | (words_of(head[column]).held if column < len(head) else frozenset())
            if own:
                yield Statement(cell, own, about, above | about, above, denies(cell))


def paragraphs(text: str) -> Iterator[tuple[str, str]]:
    """Yield the paragraphs of a text with the heading above each: a line that begins with #, or a short one without an
    end.
    """
    heading = ""
    for paragraph in re.split(r"\n\s*\n", text):
        lines = paragraph.strip().splitlines()
        if lines and (lines[0].startswith("#") or (len(lines) == 1 and _is_title(lines[0]))):
            heading, lines = lines[0], lines[1:]
        if lines:
            yield "\n".join(lines), heading


def _is_title(line: str) -> bool:
    return len(line) <= 60 and not re.search(r"[.!?。！？,，:：;；]|\d", line)


def title_of(source: str) -> str:
    """Return the name of a file without its ending, and of its folder."""
    return " ".join(re.sub(r"\.\w{1,5}$", "", part) for part in re.split(r"[/\\]", source)[-2:])


def denies(text: str) -> bool:
    """Whether a sentence says that something is not so."""
    return _DENIALS.search(text.lower()) is not None
