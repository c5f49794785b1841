"""Every page of docs/log is a question with an answer, and LOG.md lists all of them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs" / "log").glob("*.md"))
ROW = re.compile(r"\| (\S+) \| \[(.*)\]\(docs/log/(\S+)\) \| (.*) \|")
ROWS = [
    match.groups() for match in map(ROW.fullmatch, (ROOT / "LOG.md").read_text(encoding="utf-8").splitlines()) if match
]


def lines(page: Path) -> list[str]:
    return page.read_text(encoding="utf-8").splitlines()


def test_the_index_lists_each_page_once_and_nothing_else() -> None:
    assert sorted(name for _, _, name, _ in ROWS) == [page.name for page in PAGES]


def test_a_page_is_titled_by_its_date_and_a_question_and_so_is_its_row() -> None:
    listed = {name: (date, question) for date, question, name, _ in ROWS}
    for page in PAGES:
        title = re.fullmatch(r"# (\d{4}-\d\d-\d\d) (.+\?)", lines(page)[0])
        assert title is not None, page.name
        assert page.name.startswith(title[1] + "-"), page.name
        assert listed[page.name] == title.groups(), page.name


def test_a_page_has_at_most_80_lines() -> None:
    for page in PAGES:
        assert len(lines(page)) <= 80, page.name


def test_a_verdict_of_the_index_has_at_most_twelve_words() -> None:
    for _, _, name, verdict in ROWS:
        assert 1 <= len(re.findall(r"\w\S*", verdict.replace("*(negative)*", ""))) <= 12, name


def test_the_newest_page_of_a_subject_stands_first() -> None:
    for subject in (ROOT / "LOG.md").read_text(encoding="utf-8").split("\n## ")[1:]:
        dates = [match[1] for match in map(ROW.fullmatch, subject.splitlines()) if match]
        assert dates == sorted(dates, reverse=True), subject.splitlines()[0]


def test_links_between_pages_lead_to_pages() -> None:
    for page in PAGES:
        for name in re.findall(r"\]\(([\w-]+\.md)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / name).exists(), f"{page.name}: {name}"
