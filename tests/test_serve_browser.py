"""The page as people use it: Chromium against a real server with small models, a library, a tool that asks, and a run."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bench.strategies.calibrated import Calibrated, Known
from bench.strategies.calibrated import serve as serve_calibrated
from playwright.sync_api import Browser, Locator, Page, expect
from tests.browsing import CHROMIUM, SAMPLING, Tab, ask, chromium, overflow, violations, wait_for_end
from tests.serving import Served, free_port, serving, tiny_model

from jielong.cli.main import main
from jielong.opening.tools import Equipment
from jielong.records import Conversation, Message
from jielong.serve.models import Memory
from jielong.use.retrieval.library import Library

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here (apt-get install chromium)")

MEMORY = Memory(slots=4, length=2048)
PERU = "What is the capital of Peru?"
DIARY = '''
from mcp.server.mcpserver import MCPServer

server = MCPServer("home")

@server.tool()
def write(text: str) -> str:
    """Write a line into the diary."""
    open({path!r}, "a").write(text)
    return "written"

server.run()
'''


def react(conversation: Conversation, known: Known | None, dice: Any) -> Message | str | None:
    """A model that writes into the diary when it is asked to, and says so."""
    last = conversation.messages[-1]
    if last.role == "tool":
        return f"The diary says: {last.text.splitlines()[-1]}"
    if "diary" in last.text:
        return Message("assistant", "", tool_calls=({"name": "home_write", "arguments": {"text": "It rained."}},))
    return None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    tiny_model(folder / "tiny", length=2048, is_endless=True)
    tiny_model(folder / "other", seed=1, length=2048, is_endless=True)
    tiny_model(folder / "heavy", width=1024, length=2048, is_endless=True)
    (folder / "peru.md").write_text(
        "# Peru\n\nThe capital of Peru is Lima. Its currency is the sol.\n", encoding="utf-8"
    )
    Library(folder / "notes.db").close()
    (folder / "home.py").write_text(DIARY.format(path=str(folder / "diary.txt")))
    diary = {"command": sys.executable, "args": [str(folder / "home.py")]}
    (folder / "mcp.json").write_text(json.dumps({"mcpServers": {"home": diary}}))
    echoes = str(Path(__file__).parent / "toys" / "echoes.py")
    assert main(["run", echoes, "--runs", str(folder / "runs")]) == 0
    return folder


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Served]:
    known = [Known(PERU, "The capital of Peru is Lima.", ())]
    with serve_calibrated(Calibrated(known, 1.0, react=react)) as model:
        models = (str(folder / "tiny"), str(folder / "other"), str(folder / "heavy"), f"{model.url}#calibrated")
        means = Equipment(library=folder / "notes.db", mcp=folder / "mcp.json")
        with serving(models, folder, memory=MEMORY, means=means) as found:
            found.open_page()
            yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def tab(browser: Browser, served: Served) -> Iterator[Tab]:
    """A tab in which nothing may go wrong."""
    tab = Tab(browser, served.address)
    yield tab
    tab.close()
    assert not tab.errors


def tokens_of(served: Served, answer: Locator) -> list[dict[str, Any]]:
    response = served.page.get(f"/api/turns/{answer.get_attribute('data-turn')}/tokens")
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["tokens"]
    return found


def choose(page: Page, pill: str, item: str | re.Pattern[str]) -> None:
    page.get_by_role("button", name=re.compile(f"^{pill}")).click()
    page.get_by_role("menuitemradio", name=item).click()


# --- chat


def test_a_question_is_answered_and_is_there_after_a_reload(tab: Tab) -> None:
    page = tab.go()
    answer = ask(page, PERU)
    expect(answer.locator(".numbers")).to_contain_text("40 tokens")
    expect(page).to_have_title(f"{PERU} · Jielong")
    expect(page.locator(".conversations [aria-current]")).to_have_text(PERU)
    text = answer.locator(".text").inner_text()
    page.reload()
    expect(page.locator(".answer .text")).not_to_be_empty()
    assert page.locator(".answer .text").inner_text() == text
    expect(page.locator(".bubble")).to_have_text(PERU)


def test_a_model_that_is_read_into_memory_is_named_until_it_answers(tab: Tab) -> None:
    page = tab.go()
    choose(page, "Model", "heavy")
    answer = ask(page, PERU, is_over=False)
    expect(answer.get_by_text("Reading heavy into memory…")).to_be_visible()
    wait_for_end(answer)
    expect(answer.get_by_text("Reading heavy into memory…")).to_be_hidden()


def test_an_answer_is_stopped_and_goes_on_where_it_ended(tab: Tab, served: Served) -> None:
    page = tab.go()
    page.get_by_role("button", name=re.compile("System prompt and sampling")).click()
    page.get_by_label("max tokens").fill("2000")
    page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    answer = ask(page, "Tell a long story.", is_over=False)
    expect(answer.locator(".text")).not_to_be_empty()
    page.get_by_role("button", name="Stop").click()
    wait_for_end(answer)
    expect(answer).to_contain_text("Stopped.")
    before = tokens_of(served, answer)
    assert len(before) < 2000
    text = answer.locator(".text").inner_text()
    answer.get_by_role("button", name="Continue").click()
    expect(answer.get_by_text("2 of 2")).to_be_visible()
    expect(answer.locator(".text")).to_contain_text(re.compile(r"\S"))
    expect(answer.locator(".text")).not_to_have_text(text)
    page.keyboard.press("Escape")
    wait_for_end(answer)
    after = tokens_of(served, answer)
    assert len(after) > len(before) and [t["id"] for t in after[: len(before)]] == [t["id"] for t in before]


def test_a_question_is_edited_and_sent_again_and_both_branches_stay(tab: Tab) -> None:
    page = tab.go()
    ask(page, "Which river is the longest?")
    question = page.locator(".question")
    question.hover()
    question.get_by_role("button", name="Edit and send again").click()
    page.get_by_role("textbox", name="Edit and send again").fill("Which mountain is the highest?")
    page.keyboard.press("Enter")
    expect(question.get_by_text("2 of 2")).to_be_visible()
    wait_for_end(page.locator(".answer"))
    question.get_by_role("button", name="Version before").click()
    expect(page.locator(".bubble")).to_have_text("Which river is the longest?")
    page.get_by_role("button", name="Answer again").click()
    expect(page.locator(".answer .versions")).to_have_text("2 of 2")
    wait_for_end(page.locator(".answer"))
    page.reload()
    expect(page.locator(".bubble")).to_have_text("Which river is the longest?")
    expect(page.locator(".answer .versions")).to_have_text("2 of 2")


def test_a_second_tab_sees_the_question_and_the_whole_answer(tab: Tab) -> None:
    page = tab.go()
    ask(page, "One?")
    other = tab.opened()
    other.goto(page.url)
    expect(other.locator(".answer")).to_have_count(1)
    answer = ask(page, "Two?")
    expect(other.locator(".answer")).to_have_count(2)
    wait_for_end(other.locator(".answer").last)
    expect(other.locator(".answer .text").last).to_have_text(answer.locator(".text").inner_text())


def test_a_conversation_is_renamed_exported_deleted_and_imported(tab: Tab, tmp_path: Path) -> None:
    page = tab.go()
    ask(page, "Which sea is the saltiest?")
    text = page.locator(".answer .text").inner_text()
    menu = page.get_by_role("button", name="Menu of Which sea is the saltiest?")

    def pick(item: str) -> None:
        page.locator(".conversations [aria-current]").hover()
        page.locator(".conversations li", has=page.locator("[aria-current]")).get_by_role("button").click()
        page.get_by_role("menuitem", name=item).click()

    expect(menu).to_be_attached()
    pick("Rename")
    page.get_by_role("textbox", name="Rename").fill("The Dead Sea")
    page.keyboard.press("Enter")
    expect(page.locator(".conversations [aria-current]")).to_have_text("The Dead Sea")
    with page.expect_download() as waited:
        pick("Export")
    waited.value.save_as(tmp_path / "talk.json")
    pick("Delete")
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator(".conversations", has_text="The Dead Sea")).to_have_count(0)
    with page.expect_file_chooser() as chosen:
        page.get_by_role("button", name="Import a conversation").click()
    chosen.value.set_files(tmp_path / "talk.json")
    expect(page.locator(".conversations [aria-current]")).to_have_text("The Dead Sea")
    expect(page.locator(".answer .text")).to_have_text(text)
    page.get_by_role("searchbox").fill("saltiest")
    expect(page.locator(".conversations a")).to_have_text(["The Dead Sea"])


def test_a_failed_answer_says_why_and_is_asked_for_again(tab: Tab) -> None:
    page = tab.go()
    choose(page, "Model", "calibrated")
    answer = ask(page, "What does nobody know?")
    expect(answer.get_by_role("alert")).to_contain_text("known questions")
    answer.get_by_role("button", name="Try again").click()
    expect(answer.get_by_text("2 of 2")).to_be_visible()


# --- the lens


def test_another_token_is_taken_in_the_lens_and_the_panel_follows(tab: Tab, served: Served) -> None:
    page = tab.go()
    answer = ask(page, PERU)
    page.get_by_role("button", name=re.compile("^lens")).click()
    expect(answer.locator(".t")).to_have_count(40)
    before = tokens_of(served, answer)
    place = next(n for n, token in enumerate(before) if n >= 3 and token["num_left"] > 1)
    answer.locator(f'[data-n="{place}"]').click()
    panel = page.get_by_role("complementary", name="Lens")
    expect(panel).to_contain_text(f"token {place + 1} of 40")
    expect(panel).to_contain_text(re.compile("The number .* fell between"))
    panel.get_by_text("Layer by layer").click()
    expect(panel.locator(".layers tbody tr")).to_have_count(3)
    panel.get_by_role("button", name=re.compile("^Take .* instead")).first.click()
    expect(answer.get_by_text("2 of 2")).to_be_visible()
    wait_for_end(answer)
    expect(panel).to_contain_text("A tool or a person wrote this token")
    expect(panel).to_contain_text(f"token {place + 1} of")
    expect(answer.locator(f'[data-n="{place}"]')).to_have_class(re.compile("chosen.*selected"))
    after = tokens_of(served, answer)
    assert [t["id"] for t in after[:place]] == [t["id"] for t in before[:place]]
    assert after[place]["id"] != before[place]["id"]


def test_the_prompt_is_shown_exactly_and_an_answer_drawn_again_is_equal(tab: Tab) -> None:
    page = tab.go()
    answer = ask(page, PERU)
    answer.get_by_role("button", name="More").click()
    page.get_by_role("menuitem", name="The exact prompt").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("<|im_start|>").first).to_be_visible()
    page.keyboard.press("Escape")
    answer.get_by_role("button", name="More").click()
    page.get_by_role("menuitem", name="Draw again").click()
    expect(dialog).to_contain_text(re.compile("Equal: all 40 tokens|is the first that differs"))


# --- the library and tools


def test_a_file_is_added_and_its_passage_opens_from_the_answer(tab: Tab, folder: Path) -> None:
    page = tab.go()
    choose(page, "Model", "calibrated")
    choose(page, "Strategy", re.compile("^library"))
    with page.expect_file_chooser() as chosen:
        page.get_by_role("button", name="Add files to the library").click()
    chosen.value.set_files(folder / "peru.md")
    expect(page.locator(".uploads")).to_contain_text("in the library")
    answer = ask(page, PERU)
    expect(answer.locator(".looked")).to_contain_text("1 passage")
    answer.locator("a[data-passage='1']").first.click()
    passage = page.get_by_role("dialog", name="Passage 1")
    expect(passage).to_contain_text("The capital of Peru is Lima. Its currency is the sol.")
    page.keyboard.press("Escape")
    page.get_by_role("link", name="Library").click()
    page.get_by_role("button", name="Remove peru.md").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(page.get_by_text("The library is empty")).to_be_visible()


@pytest.mark.parametrize(("button", "said"), [("Refuse", "did not allow"), ("Allow", "written")])
def test_a_tool_that_changes_something_runs_after_a_yes_alone(tab: Tab, folder: Path, button: str, said: str) -> None:
    page = tab.go()
    choose(page, "Model", "calibrated")
    choose(page, "Strategy", re.compile("^tools"))
    answer = ask(page, "Write into the diary.", is_over=False)
    card = answer.get_by_role("group", name="May home_write run?")
    expect(card).to_contain_text("It rained.")
    assert not violations(page)
    card.get_by_role("button", name=button).click()
    wait_for_end(answer)
    expect(answer).to_contain_text(said)
    assert (folder / "diary.txt").exists() is (button == "Allow")


# --- other views


def test_models_are_compared_token_by_token(tab: Tab) -> None:
    page = tab.go("#/compare")
    page.get_by_label("Prompt", exact=True).fill(PERU)
    page.get_by_label("Prompt", exact=True).press("Enter")
    columns = page.locator(".compared-column")
    expect(columns).to_have_count(3)
    expect(columns.first).to_contain_text("nats a token away")
    expect(columns.last).to_contain_text("the measure")
    columns.first.locator(".t").nth(2).click()
    expect(page.get_by_role("region", name="All models at one token").get_by_role("row")).to_have_count(4)
    assert not violations(page)


def test_a_run_shows_its_stages_curves_and_family(tab: Tab) -> None:
    page = tab.go("#/runs")
    page.get_by_role("link", name="echoes-default-0").click()
    expect(page.get_by_role("heading", level=2)).to_contain_text(["proverbs", "tokenizer", "parrot", "Family"])
    chart = page.locator(".stage", has=page.get_by_role("heading", name="parrot")).locator("svg").first
    expect(chart).to_be_visible()
    chart.focus()
    page.keyboard.press("Home")
    expect(page.locator(".stage").last).to_contain_text("step")
    assert not violations(page)


def test_a_server_with_a_key_asks_for_it(browser: Browser, folder: Path) -> None:
    with serving((str(folder / "tiny"),), folder / "locked", key="a-key-of-some-length", memory=MEMORY) as locked:
        tab = Tab(browser, locked.address)
        try:
            page = tab.page
            page.goto(locked.address)
            page.get_by_label("Key").fill("wrong")
            page.keyboard.press("Enter")
            expect(page.get_by_role("alert")).to_contain_text("not the key")
            assert not violations(page)
            page.get_by_label("Key").fill("a-key-of-some-length")
            page.keyboard.press("Enter")
            expect(page.get_by_role("heading", name="Ask tiny")).to_be_visible()
            ask(page, PERU)
        finally:
            tab.close()


# --- the server goes away


def test_a_server_killed_in_mid_answer_is_found_again_and_the_talk_goes_on(browser: Browser, folder: Path) -> None:
    port = free_port()
    words = ["serve", str(folder / "tiny"), "--port", str(port), "--store", str(folder / "killed.db"), "--no-browser"]
    command = [sys.executable, "-m", "jielong.cli.main", *words, "--slots", "2"]

    def started() -> subprocess.Popen[str]:
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        while "Ctrl-C" not in server.stdout.readline():
            assert server.poll() is None
        return server

    server = started()
    tab = Tab(browser, f"http://127.0.0.1:{port}", {"settings": {"sampling": {**SAMPLING, "max_tokens": 2000}}})
    try:
        page = tab.go()
        answer = ask(page, PERU, is_over=False)
        expect(answer.locator(".text")).not_to_be_empty()
        os.kill(server.pid, signal.SIGKILL)
        server.communicate()
        expect(page.locator("#notice")).to_have_text("Connection lost. Trying to connect again…")
        server = started()
        expect(answer).to_contain_text("The server was stopped while this was written.")
        expect(page.locator("#notice.shown")).to_have_count(0)
        answer.get_by_role("button", name="Answer again").click()
        expect(answer.get_by_text("2 of 2")).to_be_visible()
        expect(answer.locator(".text")).not_to_be_empty()
        page.keyboard.press("Escape")
        wait_for_end(answer)
    finally:
        tab.close()
        server.kill()
        server.communicate()


# --- languages, sizes, keyboard, accessibility


def test_the_page_speaks_chinese(tab: Tab) -> None:
    page = tab.go()
    page.get_by_role("button", name="Language").click()
    page.get_by_role("menuitemradio", name="中文").click()
    expect(page.get_by_role("heading", name="向 tiny 提问")).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", re.compile("^zh"))
    page.get_by_role("textbox", name="提问").fill("秘鲁的首都是哪里？")
    page.keyboard.press("Enter")
    answer = page.locator(".answer")
    expect(answer.locator(".numbers")).to_contain_text("40 个词元", timeout=30_000)
    page.get_by_role("button", name=re.compile("^透镜")).click()
    answer.locator(".t").nth(3).click()
    expect(page.get_by_role("complementary", name="透镜")).to_contain_text("第 4 / 40 个词元")
    assert not violations(page)
    page.reload()
    expect(page.get_by_role("link", name="新对话")).to_be_visible()


def test_everything_is_reached_on_a_screen_of_360_pixels(browser: Browser, served: Served) -> None:
    phone = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
    tab = Tab(browser, served.address, {"lens": True}, **phone)
    try:
        page = tab.go()
        answer = ask(page, PERU)
        expect(answer.locator(".t")).to_have_count(40)
        answer.locator(".t").nth(5).tap()
        panel = page.get_by_role("complementary", name="Lens")
        expect(panel).to_contain_text("token 6 of 40")
        box, token = panel.bounding_box(), answer.locator(".selected").bounding_box()
        assert box and token and box["width"] == 360 and token["y"] + token["height"] <= box["y"], (
            "the token is covered"
        )
        assert overflow(page) <= 0
        panel.get_by_role("button", name="Close the lens").tap()
        page.get_by_role("button", name="Open the navigation").tap()
        expect(page.get_by_role("navigation")).to_be_in_viewport(ratio=1)
        assert not violations(page)
        for view in ("Compare", "Library", "Runs"):
            page.get_by_role("navigation").get_by_role("link", name=view).tap()
            expect(page.get_by_role("navigation")).not_to_be_in_viewport()
            expect(page.get_by_role("heading", name=view, level=1)).to_be_visible()
            assert overflow(page) <= 0, view
            page.get_by_role("button", name="Open the navigation").tap()
    finally:
        tab.close()
    assert not tab.errors


def test_the_keyboard_alone_reaches_a_token_and_takes_another(tab: Tab) -> None:
    page = tab.go()
    expect(page.get_by_role("textbox", name="Ask")).to_be_focused()
    page.keyboard.type(PERU)
    page.keyboard.press("Enter")
    answer = page.locator(".answer")
    expect(answer.locator(".numbers")).to_contain_text("40 tokens", timeout=30_000)
    page.keyboard.press("Shift+Tab")  # out of the box, in which letters are letters
    page.keyboard.press("l")
    expect(answer.locator(".t")).to_have_count(40)
    for _ in range(20):
        if page.evaluate("document.activeElement.matches('.t')"):
            break
        page.keyboard.press("Shift+Tab")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    panel = page.get_by_role("complementary", name="Lens")
    expect(panel).to_contain_text("token 3 of 40")
    expect(panel).to_be_focused()
    for _ in range(30):
        if page.evaluate("/^Take/.test(document.activeElement.ariaLabel ?? '')"):
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(answer.get_by_text("2 of 2")).to_be_visible()
    wait_for_end(answer)
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("n")
    expect(page.get_by_role("heading", name="Ask tiny")).to_be_visible()
    page.reload()
    page.locator(".skip").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()


def test_the_page_is_usable_at_twice_its_size(browser: Browser, served: Served) -> None:
    tab = Tab(browser, served.address, {"lens": True}, viewport={"width": 640, "height": 400}, device_scale_factor=2)
    try:
        page = tab.go()
        answer = ask(page, PERU)
        answer.locator(".t").nth(2).click()
        panel = page.get_by_role("complementary", name="Lens")
        expect(panel).to_contain_text("token 3 of 40")
        expect(answer.locator(".selected")).to_be_in_viewport(ratio=1)
        panel.get_by_role("button", name="Close the lens").click()
        expect(page.get_by_role("textbox", name="Ask")).to_be_in_viewport(ratio=1)
        assert overflow(page) <= 0
    finally:
        tab.close()
    assert not tab.errors


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_in_any_view(browser: Browser, served: Served, theme: str) -> None:
    tab = Tab(browser, served.address, {"theme": theme})
    found: dict[str, list[str]] = {}
    try:
        page = tab.go()
        found["new"] = violations(page)
        answer = ask(page, PERU)
        found["answer"] = violations(page)
        page.get_by_role("button", name=re.compile("^lens")).click()
        answer.locator(".t").nth(7).click()
        expect(page.locator(".lens .candidates, .lens table").first).to_be_visible()
        page.get_by_text("Layer by layer").click()
        expect(page.locator(".layers tbody tr")).to_have_count(3)
        for colour in ("Surprise", "Probability", "Entropy"):
            page.get_by_role("button", name=colour, exact=True).click()
            found[colour] = violations(page)
        for name in ("Model", "Strategy", "System prompt and sampling"):
            page.get_by_role("button", name=re.compile(f"^{name}")).click()
            expect(page.locator(".popover")).to_be_visible()
            found[name] = violations(page)
            page.keyboard.press("Escape")
        answer.get_by_role("button", name="More").click()
        page.get_by_role("menuitem", name="The exact prompt").click()
        expect(page.get_by_role("dialog").get_by_text("<|im_start|>").first).to_be_visible()
        found["prompt"] = violations(page)
        for view in ("compare", "library", "runs", "runs/echoes-default-0"):
            tab.go(f"#/{view}")
            expect(page.locator("main .loading")).to_have_count(0)
            found[view] = violations(page)
    finally:
        tab.close()
    assert {view: ones for view, ones in found.items() if ones} == {}
    assert not tab.errors
