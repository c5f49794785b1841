"""Is a right fact cited, and a wrong one never? Answers by hand, and every other fact of the document as a wrong answer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from bench.first_hour.material import SETS, Material, Question, material
from bench.rows import Row
from jielong.use.retrieval.support import is_supported
from jielong.use.retrieval.words import sentences

_CLAUSE = re.compile(r"[,;，；：|]|:(?!\d)|\band\b")
_FACT = re.compile(r"\d[\d,.:-]*\d|\d|[A-Z][a-z]+ [A-Z][a-z]+|[A-Z][a-z]+")


def rows(folder: Path, models: tuple[str, ...]) -> list[Row]:
    found = []
    for name in SETS:
        of = material(name)
        found += _rows(of)
    return found


def _rows(of: Material) -> list[Row]:
    right = [(a, q) for q in of.questions if q.file for a in (*_values(of, q), *q.right)]
    cited = sum(is_supported(a, q.text, of.files[q.file], q.file) for a, q in right)
    others = [(a, q, file) for q in of.questions for file in _files(of, q) for a in _other_facts(of, q, file)]
    wrong = sum(is_supported(a, q.text, of.files[file], file) for a, q, file in others)
    made = [
        Row(f"{of.name}: right answers that are cited", "at least 0.8", cited / len(right), cited >= 0.8 * len(right)),
        Row(
            f"{of.name}: other facts of the document, taken as answers, that are cited",
            "at most 0.002",
            wrong / len(others),
            wrong <= 0.002 * len(others),
        ),
    ]
    careless = [(a, q) for q in of.questions for a in q.wrong]
    if careless:
        told = sum(any(is_supported(a, q.text, of.files[f], f) for f in _files(of, q)) for a, q in careless)
        share = told / len(careless)
        made.append(Row(f"{of.name}: wrong answers by hand that are cited", "at most 0.02", share, share <= 0.02))
    return made


def _values(of: Material, question: Question) -> Iterator[str]:
    value = next((v for v in question.values if v in of.files[question.file]), "")
    if value:
        yield value


def _files(of: Material, question: Question) -> list[str]:
    return [question.file] if question.file else list(of.files)


def _other_facts(of: Material, question: Question, file: str) -> set[str]:
    found: set[str] = set()
    for sentence in sentences(of.files[file]):
        for clause in _CLAUSE.split(sentence):
            found |= {clause.strip(" .。\n#-*"), *_FACT.findall(clause)}
    known = (*question.values, *question.right)
    return {f for f in found if f and not any(v in f or f in v for v in known)}
