"""Planting bugs: which are made, which are not, and what is remembered of them."""

from __future__ import annotations

import json
from pathlib import Path

from bench.bite import TESTS, Mutation, chosen, is_other, mutations, read_journal, read_reasons, rows_of
from bench.environments import ROOT

SOURCE = b'''
"""Says 1 < 2."""
__all__ = ["f"]
Kind = int | str
def f(a: int = 3, *, b: bool = True) -> int | None:
    """Say 1 + 1."""
    if a < 2 and not b:
        raise ValueError(f"{a + 1} is not {1 + 2}" + "!")
    assert a < 100
    total: int = max(a, 7)
    total += 2 * a
    for pair in zip(rows, rows[a:], strict=True):
        use(pair, key=-0.5)
    return total - 1
'''  # fmt: skip


def made(source: bytes = SOURCE) -> list[Mutation]:
    return [m for place in mutations("x.py", source) for m in place if is_other(m, source)]


def test_each_kind_of_bug_is_one_change_of_one_line() -> None:
    found = {(m.kind, m.after) for m in made()}
    assert {
        ("comparison", "if a <= 2 and not b:"), ("comparison", "if a > 2 and not b:"),
        ("and, or", "if a < 2 or not b:"), ("not left out", "if a < 2 and (b):"),
        ("number", "if a < 3 and not b:"), ("number", "if a < (1) and not b:"),
        ("min, max", "total: int = min(a, 7)"), ("number", "total: int = max(a, (-7))"),
        ("operator", "total -= 2 * a"), ("operator", "total += 2 / a"), ("statement left out", "pass"),
        ("lower end of a slice", "for pair in zip(rows, rows[a + 1:], strict=True):"),
        ("option left out", "use(pair, )"), ("sign", "use(pair, key=(0.5))"), ("number", "use(pair, key=-(0.5 / 2))"),
        ("sign", "return -(total - 1)"), ("operator", "return total + 1"),
        ("default left out", "def f(a: int, *, b: bool = True) -> int | None:"),
        ("True, False", "def f(a: int = 3, *, b: bool = False) -> int | None:"),
    } <= found  # fmt: skip
    for mutation in made():
        lines, changed = SOURCE.decode().splitlines(), mutation.apply(SOURCE).decode().splitlines()
        other = [n for n, (old, new) in enumerate(zip(lines, changed, strict=True), start=1) if old != new]
        assert other == [mutation.line]


def test_words_types_assertions_and_errors_are_left_alone() -> None:
    touched = {m.before for m in made()}
    assert not {line for line in touched if line.startswith(('"', "__all__", "Kind", "raise", "assert"))}
    after = {m.after for m in made()}
    assert not any("int & None" in line or "strict=False" in line or "rows[a:])" in line for line in after)


def test_the_choice_follows_from_the_seed_and_is_spread_over_the_modules() -> None:
    modules = ["losses.py", "train/checks.py", "model/cache.py"]
    one, again, other = (chosen(9, seed, ROOT, modules) for seed in (0, 0, 1))
    assert one == again != other
    assert [m.file for m in one] == [module for module in modules for _ in range(3)]
    alone = chosen(3, 0, ROOT, modules[:1])
    assert [m for m in one if m.file == modules[0]] == alone, "what other modules hold changes nothing"


def test_a_journal_that_a_kill_cut_short_is_read_and_the_last_word_counts(tmp_path: Path) -> None:
    journal = tmp_path / "bite.jsonl"
    assert read_journal(journal) == {}
    entries = [{"key": "a", "outcome": "lived"}, {"key": "b", "outcome": "killed"}, {"key": "a", "outcome": "killed"}]
    journal.write_text("\n\n".join(json.dumps(e) for e in entries) + '\n{"key": "c", "outc')
    assert {key: e["outcome"] for key, e in read_journal(journal).items()} == {"a": "killed", "b": "killed"}


def test_what_changes_nothing_is_counted_apart() -> None:
    planted = [m for m in made() if m.kind == "number"][:4]
    done = {m.key: {"outcome": o} for m, o in zip(planted, ("killed", "timed out", "lived", "lived"), strict=True)}
    rows = {row.measure: row for row in rows_of(planted, done, {planted[3].key: "because"}, 0)}
    got = {name: rows[name].got for name in ("bugs planted", "killed", "timed out", "changes nothing", "lived")}
    assert got == {"bugs planted": 4, "killed": 1, "timed out": 1, "changes nothing": 1, "lived": 1}
    assert not rows["lived"].ok and rows["lived"].wanted == "at most 0"


def test_every_module_and_every_reason_is_of_code_that_is_there() -> None:
    package = ROOT / "src" / "jielong"
    known = {m.key for file in TESTS for place in mutations(file, (package / file).read_bytes()) for m in place}
    assert all(reason for reason in read_reasons().values())
    assert not set(read_reasons()) - known, "the line has changed: is the reason still one?"
    for words in TESTS.values():
        files = [word.partition("::")[0] for word in words.split() if word.startswith("tests/")]
        assert files and all((ROOT / file).is_file() for file in files)
