"""The circle of learning as a person goes it, on a tiny model: judge, learn, watch, decide blind, ask what was learned, undo."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect
from tests.browsing import CHROMIUM, Tab, ask, chromium, violations
from tests.learning import pairs
from tests.serving import Served, serving, tiny_model

from jielong.learning import asking, standing
from jielong.learning import attempt as attempts
from jielong.learning.deciding import LEAST
from jielong.serve.models import Memory
from jielong.serve.store import open_store

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here (apt-get install chromium)")

GIVEN, JUDGED = 78, 2
"""Judgements that the store has before, and those that are given on the page."""

WAIT_MS, TRAINS_MS = 60_000, 400_000
"""A child gives way to everything else on the machine, and the press reads the model's shape."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("circle") / "tiny")


@pytest.fixture
def served(base: Path, tmp_path: Path) -> Iterator[Served]:
    """A server whose store has nearly all judgements that are needed."""
    with open_store(tmp_path / "conversations.db") as store:
        store.judgements.add_nouns(pairs(GIVEN))
    with serving((str(base),), tmp_path, memory=Memory(slots=4, length=512)) as found:
        found.open_page()
        yield found


def judge_on_the_page(page: Page) -> None:
    """Give the judgements that are missing, by the keyboard."""
    cards = page.locator(".card")
    for n in range(JUDGED):
        expect(cards).to_have_count(2, timeout=WAIT_MS)
        page.keyboard.press("ArrowLeft")
        expect(page.locator(".progress")).to_contain_text(f"{n + 1} judged in this sitting")


def decide_on_the_page(page: Page, panel: Locator, folder: Path) -> None:
    """Vote for the candidate's answer in each blind pair, by the keyboard, until it is decided."""
    shown = asking.pairs_of(folder)
    for n in range(LEAST):
        expect(page.locator(".progress")).to_have_text(f"{n + 1} of 20 to 100 pairs", timeout=WAIT_MS)
        expect(page.locator(".card").first).to_contain_text(re.compile(r"\S"))
        expect(panel).not_to_contain_text("Figures")  # whoever votes should not know them
        page.keyboard.press("ArrowLeft" if shown[n].is_candidate_left else "ArrowRight")


def test_the_whole_circle_on_the_page(base: Path, served: Served, tmp_path: Path) -> None:
    home = attempts.home_of(tmp_path / "runs", base)
    with chromium() as browser:
        tab = Tab(browser, served.address, {"judging": {"other": ""}})
        page = tab.go("#/judge")
        panel = page.get_by_role("region", name="Learning")
        judge_on_the_page(page)
        expect(panel).to_contain_text(f"{GIVEN + JUDGED} judgements")
        expect(panel).to_contain_text("enough to learn from, by dpo")
        panel.get_by_role("button", name="Learn from them").click()
        expect(panel).to_contain_text("It learns beside your chats", timeout=WAIT_MS)
        expect(panel.get_by_role("progressbar", name="Progress of learning")).to_be_visible()
        expect(panel.locator(".state")).to_have_text("asks you", timeout=TRAINS_MS)
        folder = attempts.newest(home)
        assert folder is not None
        decide_on_the_page(page, panel, folder)
        expect(panel.locator(".state")).to_have_text("kept", timeout=WAIT_MS)
        expect(panel.locator(".why")).to_contain_text(f"it won {LEAST} of {LEAST} decided votes")
        assert standing.standing(home) == folder.name and not violations(page)
        tab.go()
        page.get_by_role("button", name=re.compile("^Model: +tiny$")).click()
        page.get_by_role("menuitemradio", name="tiny-learned").click()
        expect(ask(page, "What is the capital of Peru?")).to_contain_text("tiny-learned")
        tab.go("#/judge")
        panel.get_by_role("button", name="Undo what was learned").click()
        page.get_by_role("dialog").get_by_role("button", name="Undo what was learned").click()
        expect(panel.locator(".state")).to_have_text("undone", timeout=WAIT_MS)
        assert standing.standing(home) == ""
        tab.go()
        page.reload()
        expect(page.get_by_role("button", name=re.compile("^Model: +tiny$"))).to_be_visible()
        expect(ask(page, "And of France?")).not_to_contain_text("tiny-learned")
        assert not tab.errors
        tab.close()
