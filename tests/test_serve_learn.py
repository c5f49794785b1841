"""Learning through the server: the button, how far it is, the blind pairs, the model that stands, and the way back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.learning import pairs, until_over
from tests.serving import Served, serving, tiny_model

from jielong.learning import asking, standing
from jielong.learning import attempt as attempts
from jielong.serve.store import open_store


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """A folder with a model, a store of judgements, and an attempt about which a person is asked."""
    folder = tmp_path_factory.mktemp("serve-learn")
    tiny_model(folder / "tiny")
    store = open_store(folder / "conversations.db")
    store.judgements.add_nouns(pairs(80))
    store.close()
    with serving((str(folder / "tiny"),), folder) as served:
        served.open_page()
        told = served.page.post("/api/learn", json={"method": "dpo"})
        assert told.status_code == 200, told.text
        attempt = told.json()["attempt"]
        assert attempt["state"] == "training" and attempt["memory_bytes"] > 0 and attempt["base"] == "tiny"
        refused = served.page.post("/api/learn", json={})
        assert refused.status_code == 400 and "still open" in refused.json()["error"]["message"]
        paused = served.page.post(f"/api/learn/{attempt['id']}/pause", json={}).json()["attempt"]
        assert paused["is_paused"] and paused["state"] == "training"
        assert not served.page.post(f"/api/learn/{attempt['id']}/resume", json={}).json()["attempt"]["is_paused"]
        home = attempts.home_of(folder / "runs", folder / "tiny")
        assert until_over(home / attempt["id"])["state"] == "asking"
    return folder


@pytest.fixture
def served(prepared, tmp_path):
    """A server on a copy of the attempts, as votes change them; the model lies where it lay."""
    shutil.copytree(prepared / "runs", tmp_path / "runs", symlinks=True)
    shutil.copy(prepared / "conversations.db", tmp_path / "conversations.db")
    with serving((str(prepared / "tiny"),), tmp_path) as found:
        found.open_page()
        yield found


def attempt_of(served: Served) -> dict:
    return served.page.get("/api/learn").json()["attempt"]


def vote_all(served: Served, folder: Path, likes_candidate: bool) -> dict:
    """Vote until it is decided; the test knows which side is whose from the file that voters are not shown."""
    attempt = attempt_of(served)
    home = next(folder.glob("runs/learned/*"))
    sides = [pair.is_candidate_left for pair in asking.pairs_of(home / attempt["id"])]
    while (pair := served.page.get(f"/api/learn/{attempt['id']}/pair").json())["n"] is not None:
        assert (
            pair["prompt"].startswith("What is the capital of Peru?") and pair["left"]["text"] != pair["right"]["text"]
        )
        outcome = "left" if sides[pair["n"]] == likes_candidate else "right"
        told = served.page.post(f"/api/learn/{attempt['id']}/pairs/{pair['n']}", json={"outcome": outcome})
        attempt = told.json()["attempt"]
    return pair["attempt"]


def names(served: Served) -> list[str]:
    return [model["name"] for model in served.page.get("/api/state").json()["models"]]


def test_it_says_what_there_is_to_learn_from(served):
    told = served.page.get("/api/learn").json()
    assert told["base"] == "tiny" and told["standing"] is None and told["is_enough"] and told["method"] == "dpo"
    assert told["counts"]["pairs"] == 80 and told["advice"].startswith("enough to learn from, by dpo")
    assert [one["state"] for one in told["history"]] == ["asking"]


def test_a_pair_shows_no_sign_of_who_wrote_what(served):
    attempt = attempt_of(served)
    pair = served.page.get(f"/api/learn/{attempt['id']}/pair").json()
    assert set(pair) == {"n", "prompt", "messages", "left", "right"} and set(pair["left"]) == {"text", "html"}
    told = served.page.post(f"/api/learn/{attempt['id']}/pairs/0", json={"outcome": "tie"}).json()["attempt"]
    assert told["pairs"] == {"asked": 1, "least": 20, "most": 100, "won": None, "lost": None, "tied": 1}


def test_a_promoted_model_is_asked_where_none_is_named_until_it_is_undone(served, tmp_path):
    attempt = vote_all(served, tmp_path, likes_candidate=True)
    assert attempt["state"] == "promoted" and attempt["pairs"]["won"] == 20
    assert names(served) == ["tiny-learned", "tiny"]
    told = served.page.get("/api/learn").json()
    assert told["base"] == "tiny" and told["standing"]["name"] == "tiny-learned"
    assert told["standing"]["lineage"]["count"] == 80
    asked = {
        "model": "tiny-learned",
        "messages": [{"role": "user", "content": "What is the capital?"}],
        "max_tokens": 4,
    }
    assert served.api.post("/chat/completions", json=asked).status_code == 200
    undone = served.page.post("/api/learn/undo", json={}).json()
    assert undone["standing"] is None and undone["history"][0]["is_undone"] and names(served) == ["tiny"]
    assert served.api.post("/chat/completions", json={**asked, "model": "tiny"}).status_code == 200
    again = served.page.post("/api/learn/undo", json={})
    assert again.status_code == 400 and "nothing to undo" in again.json()["error"]["message"]


def test_a_model_that_stands_is_offered_by_a_new_server_too(prepared, tmp_path):
    shutil.copytree(prepared / "runs", tmp_path / "runs", symlinks=True)
    (home,) = tmp_path.glob("runs/learned/*")
    standing.promote(home, attempts.attempts(home)[0].name)
    with serving((str(prepared / "tiny"),), tmp_path) as served:
        served.open_page()
        assert names(served) == ["tiny-learned", "tiny"]


def test_a_worse_model_is_refused_with_the_reason(served, tmp_path):
    attempt = vote_all(served, tmp_path, likes_candidate=False)
    assert attempt["state"] == "refused" and "not clearly better" in attempt["why"] and names(served) == ["tiny"]
    late = served.page.post(f"/api/learn/{attempt['id']}/pairs/0", json={"outcome": "left"})
    assert late.status_code == 400 and "asks nobody now" in late.json()["error"]["message"]


def test_an_attempt_is_cancelled(served):
    attempt = attempt_of(served)
    told = served.page.post(f"/api/learn/{attempt['id']}/cancel", json={}).json()["attempt"]
    assert told["state"] == "cancelled" and served.page.get(f"/api/learn/{attempt['id']}/pair").json()["n"] is None
    assert served.page.post("/api/learn/9999/cancel", json={}).status_code == 404


def test_whoever_listens_hears_of_changes(served):
    attempt, found = attempt_of(served), []
    with served.page.stream("GET", "/api/learn/events") as response:
        for line in response.iter_lines():
            if line.startswith("data: "):
                found.append(json.loads(line[6:])["attempt"]["pairs"]["asked"])
                if len(found) == 2:
                    break
                served.page.post(f"/api/learn/{attempt['id']}/pairs/0", json={"outcome": "bad"})
    assert found == [0, 1]


def test_too_few_judgements_are_refused_in_a_sentence(prepared, tmp_path):
    with serving((str(prepared / "tiny"),), tmp_path) as served:
        served.open_page()
        told = served.page.get("/api/learn").json()
        assert not told["is_enough"] and told["advice"].startswith("too few judgements") and told["attempt"] is None
        refused = served.page.post("/api/learn", json={})
        assert refused.status_code == 400 and refused.json()["error"]["message"] == told["advice"]
