"""The page in a browser: a long conversation opened and scrolled, what axe finds, and Lighthouse's marks.

Needs chromium, playwright and axe-playwright-python; Lighthouse is fetched by npm. Chromium draws in software where a machine
has no graphics card, so frames are timed at their worst.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import statistics
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.environments import Unavailable
from bench.rows import Row
from bench.serve.server import Server
from bench.serve.setting import Setting

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NUM_EXCHANGES, ANSWER_TOKENS = 100, 200
"""A conversation of 200 messages whose answers have 20,000 tokens."""
NUM_WRITTEN = 10
"""Answers that a model writes; each stands in the conversation several times, with its trace."""
LIGHTHOUSE = "lighthouse@12.2.3"
SUBJECTS = (
    "the sea",
    "a market",
    "winter",
    "bread",
    "a long journey",
    "two brothers",
    "a clock",
    "the moon",
    "rain",
    "a library",
)

WATCH_OPENING = """
window.opened = new Promise((resolve) => {
  const look = () => {
    const turns = document.querySelectorAll(".turn");
    if (turns.length < %d) return requestAnimationFrame(look);
    requestAnimationFrame(() => setTimeout(() => resolve(performance.now()))); // after they are painted
  };
  look();
});
"""
SCROLL = """
async () => {
  const tasks = [];
  const observer = new PerformanceObserver((list) => tasks.push(...list.getEntries().map((task) => task.duration)));
  observer.observe({ type: "longtask" });
  const talk = document.querySelector(".talk");
  const frame = () => new Promise(requestAnimationFrame);
  const frames = [];
  let before = await frame();
  for (const [from, to] of [[1, 0], [0, 1]]) {
    for (let n = 0; n <= 250; n += 1) {
      talk.scrollTop = (from + ((to - from) * n) / 250) * (talk.scrollHeight - talk.clientHeight);
      const now = await frame();
      frames.push(now - before);
      before = now;
    }
  }
  await new Promise((resolve) => setTimeout(resolve, 200));
  tasks.push(...observer.takeRecords().map((task) => task.duration));
  return { frames, tasks };
}
"""


@dataclass(frozen=True)
class Seen:
    """Opening and scrolling, with the lens on or off. Times are in milliseconds."""

    opened_ms: list[float]
    frames_ms: list[float]
    tasks_ms: list[float]
    """Of 50 ms or more, on the page's own thread."""


def rows(setting: Setting) -> Iterator[Row]:
    """Each figure as a row; Unavailable without a browser."""
    with Server(setting.model, setting.folder, "--slots", "8") as server:
        talk = long_talk(server)
        with chromium() as browser:
            for name, has_lens in (("plain", False), ("lens on", True)):
                seen = look(browser, server, talk, has_lens, setting.rounds)
                yield from timed(name, seen)
            found = shut_out(browser, server, talk)
            yield Row("axe: violations in all views, light and dark", "0", len(found), not found)
            for one in found:
                print(one)
        for category, mark in lighthouse(server, setting.peers).items():
            yield Row(f"Lighthouse: {category}", "at least 95", mark, mark >= 95)


def timed(name: str, seen: Seen) -> Iterator[Row]:
    """Yield rows for the time to open and for the frames of scrolling."""
    opened_ms = statistics.median(seen.opened_ms)
    size = f"{2 * NUM_EXCHANGES} messages, {NUM_EXCHANGES * ANSWER_TOKENS:,} tokens, {name}"
    yield Row(f"opens: {size}", "at most 1000", opened_ms, opened_ms <= 1000, "ms")
    slowest_ms = max(seen.frames_ms)
    yield Row(f"slowest of {len(seen.frames_ms)} frames: {size}", "at most 50", slowest_ms, slowest_ms <= 50, "ms")
    late = sum(frame > 50 for frame in seen.frames_ms)
    yield Row(f"frames above 50 ms: {size}", "0", late, not late)
    task_ms = max(seen.tasks_ms, default=0.0)
    yield Row(f"longest task of 50 ms or more: {size}", "none", task_ms or "none", not task_ms, "ms" if task_ms else "")


# --- the conversation


def long_talk(server: Server) -> str:
    """A conversation of real answers with their traces, put into the store while the server is away; its id."""
    from jielong.serve.store import open_store

    written = answers(server)
    server.kill(signal.SIGTERM)
    with open_store(server.folder / "conversations.db") as store:
        talk = store.add_talk(title="A long conversation", model=server.name)
        parent = ""
        for n in range(NUM_EXCHANGES):
            answer = store.turn(written[n % len(written)])
            question = store.add_turn(talk.id, parent, "user", f"{n + 1}. {store.turn(answer.parent).content}")
            names = ("model", "seed", "sampling", "usage", "stop")
            fields = {name: getattr(answer, name) for name in names}
            added = store.add_turn(talk.id, question.id, "assistant", answer.content, **fields)
            parent = store.change_turn(added.id, trace=store.trace(answer.id)).id
    server.start()
    return talk.id


def answers(server: Server) -> list[str]:
    """Ids of answers that were cut at their last token, so that all are as long."""
    server.open_page()
    found: list[str] = []
    for seed in range(10):
        begun = []
        for subject in SUBJECTS:
            sampling = {"max_tokens": ANSWER_TOKENS, "seed": seed}
            talk = server.page.post("/api/conversations", json={"sampling": sampling}).raise_for_status().json()
            question = {"text": f"Write a long story about {subject}, with a list of its people in Markdown."}
            said = server.page.post(f"/api/conversations/{talk['id']}/turns", json=question).raise_for_status().json()
            begun.append(said["answer"]["id"])
        for answer in begun:
            text = server.page.get(f"/api/turns/{answer}/events").raise_for_status().text
            done = json.loads(text.rpartition("data: ")[2])
            if done["stop"] == "length" and len(found) < NUM_WRITTEN:
                found.append(answer)
        if len(found) == NUM_WRITTEN:
            return found
    raise Unavailable(f"the model ends most of its answers before {ANSWER_TOKENS} tokens")


# --- the browser


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's browser without a window."""
    path = shutil.which("chromium")
    if path is None:
        raise Unavailable("there is no chromium here; apt-get install chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise Unavailable(f"{error.name} is missing; pip install 'jielong[test]'") from error
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def page_with(browser: Browser, choices: dict[str, Any]) -> Iterator[Page]:
    """A page of a browser that was never here, but for these choices."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-GB")
    try:
        context.add_init_script(f"localStorage.jielong = {json.dumps(json.dumps(choices))}")
        context.add_init_script(WATCH_OPENING % (2 * NUM_EXCHANGES))
        yield context.new_page()
    finally:
        context.close()


def look(browser: Browser, server: Server, talk: str, has_lens: bool, rounds: int) -> Seen:
    """Open the conversation some times, each time as a stranger would, and scroll through it once."""
    opened_ms: list[float] = []
    for number in range(rounds):
        with page_with(browser, {"lens": has_lens}) as page:
            page.goto(f"{server.address}/#/c/{talk}")
            opened_ms.append(page.evaluate("window.opened"))
            if number == rounds - 1:
                page.wait_for_load_state("networkidle")
                found = page.evaluate(SCROLL)
    return Seen(opened_ms, found["frames"], found["tasks"])


def shut_out(browser: Browser, server: Server, talk: str) -> list[str]:
    """Count axe's violations in each view, in both themes."""
    from axe_playwright_python.sync_playwright import Axe

    found: list[str] = []
    for theme in ("light", "dark"):
        with page_with(browser, {"theme": theme, "lens": True}) as page:

            def check(view: str, page: Page = page, theme: str = theme) -> None:
                for one in Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]:
                    found.extend(f"{theme}, {view}: {one['id']}: {node['html'][:160]}" for node in one["nodes"])

            page.goto(server.address)
            page.wait_for_selector(".welcome")
            check("new")
            page.goto(f"{server.address}/#/c/{talk}")
            page.locator(".answer .t").last.click()
            page.wait_for_selector(".candidates")
            check("lens")
            for view in ("compare", "runs"):
                page.goto(f"{server.address}/#/{view}")
                page.wait_for_selector("main h1.view-title")
                check(view)
    return found


# --- Lighthouse


def lighthouse(server: Server, peers: Path) -> dict[str, int]:
    """Its marks for the page, of 100."""
    if shutil.which("npm") is None:
        raise Unavailable("Lighthouse needs npm")
    home = peers / "lighthouse"
    program = home / "node_modules" / ".bin" / "lighthouse"
    if not program.exists():
        home.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "install", "--silent", "--no-fund", "--prefix", str(home), LIGHTHOUSE], check=True)
    options = ["--output=json", "--quiet", "--only-categories=accessibility,best-practices"]
    flags = "--chrome-flags=--no-sandbox --headless=new"
    environment = os.environ | {"CHROME_PATH": str(shutil.which("chromium"))}
    command = [str(program), server.address, *options, flags]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=300).stdout
    return {name: round(100 * one["score"]) for name, one in json.loads(told)["categories"].items()}
