"""The page in Debian's Chromium, against a real server: contexts with choices, conditions to wait for, and axe."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium")
SAMPLING = {"min_p": 0.1, "max_tokens": 40}
"""What endless models are asked with: their answers end at 40 tokens."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window, closed at the end of the block."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


class Tab:
    """A tab of a browser of its own, and what went wrong in it. `choices` are those that the page keeps over a reload."""

    def __init__(self, browser: Browser, address: str, choices: dict[str, Any] | None = None, **context: Any) -> None:
        self.address = address
        context = {"viewport": {"width": 1280, "height": 800}, "locale": "en-GB", "reduced_motion": "reduce", **context}
        self.context = browser.new_context(**context)
        self.context.set_default_timeout(20_000)
        kept = json.dumps({"settings": {"sampling": SAMPLING}, **(choices or {})})
        self.context.add_init_script(f"localStorage.jielong ??= {json.dumps(kept)}")
        self.errors: list[str] = []
        self.page = self.opened()

    def opened(self) -> Page:
        """Another page that shares cookies and storage."""
        page = self.context.new_page()
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        return page

    def go(self, view: str = "#/") -> Page:
        """Load the page at a view, and wait until it has asked for the server's state."""
        self.page.goto(f"{self.address}/{view}")
        expect(self.page.locator("main").locator("h1, h2, .turn, .problem").first).to_be_attached()
        return self.page

    def close(self) -> None:
        self.context.close()


def ask(page: Page, text: str, *, is_over: bool = True) -> Locator:
    """Write a question and send it; the answer that is shown for it, when it is over."""
    before = page.locator(".answer").count()
    page.get_by_role("textbox", name="Ask").fill(text)
    page.keyboard.press("Enter")
    answer = page.locator(".answer").nth(before)
    expect(answer).to_be_visible()
    if is_over:
        wait_for_end(answer)
    return answer


def wait_for_end(answer: Locator) -> None:
    expect(answer).to_have_attribute("aria-busy", "false", timeout=30_000)


def violations(page: Page) -> list[str]:
    """What axe finds against the page as it is shown, each with the element that it is about."""
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [
        f"{one['id']}: {node['html'][:160]} {node['failureSummary'][:200]}" for one in found for node in one["nodes"]
    ]


def overflow(page: Page) -> int:
    """By how many pixels the page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - innerWidth"))
