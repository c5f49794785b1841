"""Judging as people do it: Chromium against a real server with two small models, by mouse, by keyboard alone, in Chinese."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from tests.browsing import CHROMIUM, Tab, ask, chromium, overflow, violations, wait_for_end
from tests.serving import Served, serving, tiny_model

from jielong.serve.models import Memory

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here (apt-get install chromium)")

PERU = "What is the capital of Peru?"
WAIT_MS = 30_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("judging")
    tiny_model(folder / "tiny", length=512, is_endless=True)
    tiny_model(folder / "other", seed=1, length=512, is_endless=True)
    return folder


@pytest.fixture
def served(folder: Path, tmp_path: Path) -> Iterator[Served]:
    """A server whose store is empty."""
    models = (str(folder / "tiny"), str(folder / "other"))
    with serving(models, tmp_path, memory=Memory(slots=4, length=512)) as found:
        found.open_page()
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def tab(browser: Browser, served: Served) -> Iterator[Tab]:
    """A tab in which nothing may go wrong."""
    tab = Tab(browser, served.address, {"judging": {"other": "other"}})
    yield tab
    tab.close()
    assert not wrong(tab)


def wrong(tab: Tab) -> list[str]:
    """Return what went wrong in a tab, but for the browser's note that it was offline."""
    return [error for error in tab.errors if "DISCONNECTED" not in error]


def stats(served: Served) -> Any:
    return served.page.get("/api/judgements/stats").json()


def first_pair(page: Page) -> Locator:
    cards = page.locator(".card")
    expect(cards).to_have_count(2, timeout=WAIT_MS)
    return cards


def texts(cards: Locator) -> list[str]:
    return [card.text_content() or "" for card in cards.all()]


def next_pair(page: Page, before: list[str]) -> Locator:
    """The answers of the pair that comes after this one."""
    expect(page.locator(".card").first).not_to_have_text(before[0], timeout=WAIT_MS)
    return first_pair(page)


def thumb(answer: Locator, name: str) -> Locator:
    return answer.get_by_role("button", name=f"{name} answer")


# --- below an answer


def test_a_thumb_is_given_changed_and_taken_back(tab: Tab, served: Served) -> None:
    page = tab.go()
    answer = ask(page, PERU)
    thumb(answer, "Good").click()
    expect(thumb(answer, "Good")).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("link", name="Judge")).to_contain_text("1")
    thumb(answer, "Bad").click()
    expect(thumb(answer, "Bad")).to_have_attribute("aria-pressed", "true")
    expect(thumb(answer, "Good")).to_have_attribute("aria-pressed", "false")
    assert not violations(page)
    page.reload()
    expect(thumb(answer, "Bad")).to_have_attribute("aria-pressed", "true")
    assert stats(served)["counts"]["rating"] == 1
    thumb(answer, "Bad").focus()
    page.keyboard.press("Enter")
    expect(thumb(answer, "Bad")).to_have_attribute("aria-pressed", "false")
    expect(thumb(answer, "Bad")).to_be_focused()
    assert stats(served)["num"] == 0


def test_stars_take_a_reason_and_stand_below_the_answer(tab: Tab, served: Served) -> None:
    page = tab.go()
    answer = ask(page, PERU)
    answer.get_by_role("button", name="More").click()
    page.get_by_role("menuitem", name="Stars and a reason").click()
    dialog = page.get_by_role("dialog")
    page.keyboard.press("Tab")
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    dialog.get_by_label("Reason").fill("no unit")
    assert not violations(page)
    dialog.get_by_role("button", name="Save").click()
    expect(answer.locator(".numbers")).to_contain_text("4 of 5 stars")
    expect(answer.get_by_text("4 of 5 stars")).to_have_attribute("title", "no unit")
    assert stats(served)["counts"]["rating"] == 1


def test_an_answer_is_said_to_be_better_than_its_sibling_and_that_is_taken_back(tab: Tab, served: Served) -> None:
    page = tab.go()
    ask(page, PERU).get_by_role("button", name="Answer again").click()
    answer = page.locator(".answer")
    expect(answer.get_by_text("2 of 2")).to_be_visible()
    wait_for_end(answer)

    def pick(item: str) -> None:
        answer.get_by_role("button", name="More").click()
        page.get_by_role("menuitem", name=item).click()

    pick("Better than version 1")
    expect(answer.locator(".numbers")).to_contain_text("better than version 1")
    assert stats(served)["counts"]["preference"] == 1
    answer.get_by_role("button", name="Version before").click()
    pick("Better than version 2")
    expect(answer.locator(".numbers")).to_contain_text("better than version 2")
    expect(page.get_by_role("link", name="Judge")).to_contain_text("1")
    pick("Not better than version 2 after all")
    expect(answer.locator(".numbers")).not_to_contain_text("better than")
    assert stats(served)["num"] == 0


def test_an_answer_written_better_becomes_a_version_and_goes_with_its_conversation(tab: Tab, served: Served) -> None:
    page = tab.go()
    answer = ask(page, PERU)
    answer.get_by_role("button", name="Write it better").click()
    page.get_by_role("dialog").get_by_role("textbox").fill("The capital is Lima.")
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    expect(answer.locator(".text")).to_have_text("The capital is Lima.")
    expect(answer.get_by_text("2 of 2")).to_be_visible()
    assert stats(served)["counts"]["demonstration"] == 1
    page.get_by_role("button", name=f"Menu of {PERU}").click()
    page.get_by_role("menuitem", name="Delete").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("your judgement of them will be gone")
    dialog.get_by_role("button", name="Delete").click()
    expect(page.locator(".conversations", has_text=PERU)).to_have_count(0)
    expect(page.locator(".nav-count")).to_be_empty()
    assert stats(served)["num"] == 0


# --- blind pairs


def test_a_blind_pair_is_voted_on_told_and_taken_back(tab: Tab, served: Served) -> None:
    page = tab.go("#/judge")
    cards = first_pair(page)
    shown = texts(cards)
    assert not any(name in page.locator(".pairs").inner_text() for name in ("tiny", "other"))
    page.get_by_role("button", name="Right", exact=True).click()
    expect(page.locator(".last")).to_contain_text(
        re.compile("You said: right. Left was (tiny|other), right (tiny|other).")
    )
    next_pair(page, shown)
    assert stats(served)["blind"] == {"left": 0, "right": 1, "tie": 0, "bad": 0}
    expect(page.get_by_role("region", name="Learning")).to_contain_text("1 judgement: 1 pair")
    expect(page.get_by_role("table", name="Models by your votes").get_by_role("row")).to_have_count(3)
    assert not violations(page)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".last")).to_contain_text("Taken back")
    assert texts(first_pair(page)) == shown and stats(served)["num"] == 0
    page.get_by_role("button", name="Both bad").click()
    expect(page.locator(".last")).to_contain_text("You said: both bad.")
    assert stats(served)["counts"]["preference"] == 1 and stats(served)["blind"]["bad"] == 0  # the names were told


def test_pairs_are_judged_by_the_keyboard_alone(tab: Tab, served: Served) -> None:
    page = tab.go()
    page.keyboard.press("Shift+Tab")  # out of the box, in which letters are letters
    for _ in range(30):
        if page.evaluate("document.activeElement.getAttribute('href') === '#/judge'"):
            break
        page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    cards = first_pair(page)
    for n, key in enumerate(("ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown")):
        before = texts(cards)
        page.keyboard.press(key)
        next_pair(page, before)
        expect(page.locator(".progress")).to_contain_text(f"{n + 1} judged in this sitting")
    assert stats(served)["blind"] == {"left": 1, "right": 1, "tie": 1, "bad": 1}
    before = texts(cards)
    page.keyboard.press("n")
    next_pair(page, before)
    page.keyboard.press("e")
    dialog = page.get_by_role("dialog", name="Write better")
    expect(dialog.get_by_role("textbox")).to_be_focused()
    assert not violations(page)
    page.keyboard.press("Control+a")
    page.keyboard.type("Better.")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".last")).to_contain_text("You wrote a better answer.")
    assert stats(served)["counts"]["demonstration"] == 1 and stats(served)["num"] == 5
    for left in (4, 3):
        page.keyboard.press("z")
        expect(page.locator(".progress")).to_contain_text(f"{left} judged in this sitting")
    assert stats(served)["num"] == 3


def test_the_next_pair_lies_ready_and_one_that_was_not_judged_comes_again(tab: Tab) -> None:
    page = tab.go("#/judge")
    before = texts(first_pair(page))
    for _ in range(300):
        if page.evaluate("JSON.parse(sessionStorage['jielong.ahead.pairs']).ready.length") == 2:
            break
        page.wait_for_timeout(100)
    page.context.set_offline(True)
    page.keyboard.press("n")
    shown = texts(next_pair(page, before))
    page.context.set_offline(False)
    page.get_by_role("link", name="Put in order").click()
    expect(page.locator(".ranked li")).to_have_count(3, timeout=WAIT_MS)
    page.get_by_role("link", name="Pairs").click()
    assert texts(first_pair(page)) == shown
    page.reload()
    assert texts(first_pair(page)) == shown


def test_questions_that_are_pasted_come_first(tab: Tab) -> None:
    page = tab.go("#/judge")
    first_pair(page)
    page.get_by_text("Questions", exact=True).click()
    page.get_by_label("Your own, one a line").fill("Why is the sea salty?\n\n海水为什么是咸的？\n")
    page.get_by_label("Questions that come along").uncheck()
    # a question to which both answers are the same is passed over, so either may be the first
    pasted = re.compile("^(Why is the sea salty\\?|海水为什么是咸的？)$")
    expect(page.locator(".asked")).to_have_text(pasted, timeout=WAIT_MS)
    first_pair(page)
    assert not violations(page)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Tie").click()
    expect(page.locator(".last")).to_contain_text("You said: tie.")
    expect(page.locator(".asked")).to_have_text(pasted, timeout=WAIT_MS)


def test_another_model_is_chosen_for_the_pairs(tab: Tab, served: Served) -> None:
    page = tab.go("#/judge")
    first_pair(page)
    page.get_by_role("button", name="Compared with: other").click()
    page.get_by_role("menuitemradio", name="itself").click()
    first_pair(page)
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".last")).to_have_text("You said: left.")


# --- in order, and written


def test_answers_are_put_in_order_by_keys_and_by_buttons(tab: Tab, served: Served) -> None:
    page = tab.go("#/judge/order")
    cards = page.locator(".ranked li")
    expect(cards).to_have_count(3, timeout=WAIT_MS)
    page.keyboard.press("3")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    expect(cards.first).to_have_attribute("aria-label", "Answer C: place 1")
    expect(cards.first).to_be_focused()
    cards.nth(2).get_by_role("button", name="As good as the one above").click()
    expect(cards.nth(2)).to_have_attribute("aria-label", "Answer B: place 2")
    assert not violations(page)
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".last")).to_contain_text(re.compile(r"Order kept: C \(\w+\) > A \(\w+\) = B \(\w+\)\."))
    expect(cards).to_have_count(3, timeout=WAIT_MS)
    assert stats(served)["counts"]["ranking"] == 1
    page.keyboard.press("z")
    expect(page.locator(".last")).to_contain_text("Taken back")
    assert stats(served)["num"] == 0
    page.get_by_role("group", name="Answers", exact=True).get_by_role("button", name="4").click()
    expect(cards).to_have_count(4, timeout=WAIT_MS)
    page.locator("body").click(position={"x": 400, "y": 5})
    page.keyboard.press("Enter")
    expect(page.locator(".last")).to_contain_text("Order kept")


def test_an_answer_is_written_for_a_question_and_the_next_one_comes(tab: Tab, served: Served) -> None:
    page = tab.go("#/judge/write")
    question, answer = page.get_by_label("Question", exact=True), page.get_by_label("The answer that you would give")
    expect(question).to_have_value(PERU)
    answer.fill("Lima.")
    page.reload()
    expect(answer).to_have_value("Lima.")
    assert not violations(page)
    answer.press("Control+Enter")
    expect(page.locator(".last")).to_contain_text("1 written in this sitting")
    expect(answer).to_have_value("")
    expect(answer).to_be_focused()
    expect(question).not_to_have_value(PERU)
    assert stats(served)["counts"]["demonstration"] == 1
    answer.press("Control+Enter")
    expect(page.locator(".last")).to_contain_text("Both a question and an answer are needed")
    page.get_by_role("button", name="Undo").click()
    expect(answer).to_have_value("Lima.")
    assert stats(served)["num"] == 0


# --- languages, sizes, accessibility


def test_judging_speaks_chinese(browser: Browser, served: Served) -> None:
    tab = Tab(browser, served.address, {"language": "zh", "theme": "dark", "judging": {"other": "other"}})
    try:
        page = tab.go("#/judge")
        first_pair(page)
        expect(page.locator(".asked")).to_have_text("秘鲁的首都是哪里？")
        page.get_by_role("button", name="平手").click()
        expect(page.locator(".last")).to_contain_text(re.compile("你选了：平手。左边是 (tiny|other)，右边是"))
        expect(page.get_by_role("region", name="学习")).to_contain_text("1 条评判：1 对")
        expect(page.get_by_role("region", name="学习")).to_contain_text("评判太少：请再比较约")
        assert not violations(page)
        for view in ("order", "write"):
            tab.go(f"#/judge/{view}")
            expect(page.locator(".ranked li").or_(page.locator("#write-answer")).first).to_be_visible(timeout=WAIT_MS)
            assert not violations(page)
    finally:
        tab.close()
    assert not wrong(tab)


@pytest.mark.parametrize(
    "size",
    [
        {"viewport": {"width": 360, "height": 740}},
        {"viewport": {"width": 640, "height": 400}, "device_scale_factor": 2},
    ],
    ids=["phone", "twice the size"],
)
def test_judging_fits_small_screens(browser: Browser, served: Served, size: dict[str, Any]) -> None:
    tab = Tab(browser, served.address, {"judging": {"other": "other"}}, **size)
    try:
        page = tab.go("#/judge")
        first_pair(page)
        assert overflow(page) <= 0 and not violations(page)
        page.get_by_role("button", name="Left", exact=True).click()
        expect(page.locator(".last")).to_contain_text("You said: left.")
        tab.go("#/judge/order")
        expect(page.locator(".ranked li")).to_have_count(3, timeout=WAIT_MS)
        assert overflow(page) <= 0 and not violations(page)
        tab.go("#/judge/write")
        page.get_by_label("The answer that you would give").fill("Lima.")
        assert overflow(page) <= 0 and not violations(page)
        tab.go()
        thumb(ask(page, PERU), "Good").click()
        assert overflow(page) <= 0 and not violations(page)
    finally:
        tab.close()
    assert not wrong(tab)
