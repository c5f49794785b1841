"""Judging through the page's API: answers drawn blind, votes kept and taken back, and nothing told before the vote."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.serving import Served, serving, tiny_model

from jielong.records import Demonstration, Preference, Rating
from jielong.serve.models import Memory
from jielong.serve.store import open_store

PERU = "What is the capital of Peru?"
SHORT = {"max_tokens": 12, "min_p": 0.1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("judging")
    tiny_model(folder / "tiny", is_endless=True)
    tiny_model(folder / "other", seed=1, is_endless=True)
    return folder


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Served]:
    models = (str(folder / "tiny"), str(folder / "other"))
    with serving(models, folder, memory=Memory(slots=4, length=512, weights="float32")) as found:
        found.open_page()
        yield found


def sent(served: Served, method: str, path: str, body: dict[str, Any] | None = None, status: int = 200) -> Any:
    response = served.page.request(method, f"/api/{path}", json=body)
    assert response.status_code == status, response.text
    return response.json()


def drawn(served: Served, prompt: str = PERU, **fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = sent(served, "POST", "judging/pairs", {"prompt": prompt, "sampling": dict(SHORT), **fields})
    return found


def ids_of(pair: dict[str, Any]) -> list[str]:
    return [answer["id"] for answer in pair["answers"]]


def voted(served: Served, pair: dict[str, Any], outcome: str = "left", **fields: Any) -> dict[str, Any]:
    body = {"kind": "preference", "answers": ids_of(pair), "value": {"outcome": outcome}, **fields}
    found: dict[str, Any] = sent(served, "POST", "judgements", body)
    return found


def answered(served: Served, text: str = PERU) -> tuple[str, dict[str, Any]]:
    """A conversation of the page, and the answer in it when it is over."""
    talk = sent(served, "POST", "conversations", {"sampling": SHORT})["id"]
    both = sent(served, "POST", f"conversations/{talk}/turns", {"text": text})
    return talk, served.events(both["answer"]["id"])[-1][1]


def judgements(served: Served, talk: str) -> Any:
    return sent(served, "GET", f"conversations/{talk}")["judgements"]


# --- pairs


def test_a_blind_pair_is_kept_with_its_tokens_and_who_wrote_it(served: Served, folder: Path) -> None:
    pair = drawn(served, models=["tiny", "other"])
    assert len({answer["text"] for answer in pair["answers"]}) == 2
    told = voted(served, pair, "right")
    assert sorted(told["wrote"].values()) == ["other", "tiny"] and told["num"] == 1
    assert told["judgement"]["value"] == {"outcome": "right", "is_blind": True}
    assert told["judgement"]["by"] == "person" and told["judgement"]["question"] == pair["question"]
    with open_store(folder / "conversations.db") as store:
        [noun] = store.judgements.nouns([store.judgements.get(told["judgement"]["id"])])
    left, right = pair["answers"]
    assert isinstance(noun, Preference) and noun.chosen[0].text == right["text"] and noun.vote.shown_first == 0
    assert noun.rejected[0].text == left["text"] and all(source.ids for source in noun.vote.answers)
    assert [source.model for source in noun.vote.answers] == [told["wrote"][id] for id in ids_of(pair)[::-1]]


def test_nothing_tells_who_wrote_a_pair_before_it_is_judged(served: Served, folder: Path) -> None:
    pair = drawn(served, models=["tiny", "other"])
    assert set(pair) == {"question", "prompt", "answers"}
    assert all(set(answer) == {"id", "text", "html"} for answer in pair["answers"])
    with open_store(folder / "conversations.db") as store:
        talk = store.turn(pair["question"]).talk
    ways = [
        f"turns/{id}/{what}" for id in ids_of(pair) for what in ("events", "tokens", "redraw", "layers?n=0", "calls")
    ]
    for path in [*ways, f"conversations/{talk}", f"conversations/{talk}/export"]:
        refused = sent(served, "GET", path, status=409)["error"]
        assert refused["code"] == "sealed" and "tiny" not in json.dumps(refused), path
    sent(served, "PATCH", f"turns/{ids_of(pair)[0]}", {"text": "Lima."}, status=409)
    sent(served, "POST", f"turns/{pair['question']}/answers", {}, status=409)
    told = voted(served, pair)
    opened = sent(served, "GET", f"conversations/{talk}")
    assert {turn["model"] for turn in opened["turns"] if turn["role"] == "assistant"} == {"tiny", "other"}
    assert opened["judgements"] == [told["judgement"]]


def test_sides_are_at_random_between_two_models(served: Served) -> None:
    lefts = []
    for n in range(12):
        pair = drawn(served, f"Question {n}?", models=["tiny", "other"], sampling={**SHORT, "max_tokens": 3})
        lefts.append(voted(served, pair)["wrote"][ids_of(pair)[0]])
    assert set(lefts) == {"tiny", "other"}  # by chance of one in 2,048 they are not


def test_a_vote_that_is_taken_back_is_gone_and_a_second_one_is_not_blind(served: Served) -> None:
    pair = drawn(served)
    first = voted(served, pair)
    assert sent(served, "DELETE", f"judgements/{first['judgement']['id']}") == {"num": first["num"] - 1}
    assert sent(served, "DELETE", f"judgements/{first['judgement']['id']}", status=404)
    assert voted(served, pair, "tie")["judgement"]["value"] == {"outcome": "tie", "is_blind": False}


def test_two_models_that_do_not_fit_into_memory_together_still_make_a_pair(folder: Path, tmp_path: Path) -> None:
    models = (str(folder / "tiny"), str(folder / "other"))
    with serving(models, tmp_path, memory=Memory(slots=2, length=256)) as served:
        served.open_page()
        drawn(served, models=["tiny"])
        used = sent(served, "GET", "state")["memory"]["used_bytes"]
    with serving(models, tmp_path, memory=Memory(slots=2, length=256, limit_bytes=int(1.5 * used))) as served:
        served.open_page()
        assert len(drawn(served, models=["tiny", "other"])["answers"]) == 2


def test_answers_that_are_all_the_same_are_refused_and_leave_nothing(served: Served, folder: Path) -> None:
    with open_store(folder / "conversations.db") as store:
        before = store.newest_talk("judging")
        greedy = {"prompt": PERU, "sampling": {**SHORT, "temperature": 0}}
        refused = sent(served, "POST", "judging/pairs", greedy, status=409)["error"]
        assert refused["code"] == "same_answers" and "temperature" in refused["message"]
        assert store.newest_talk("judging") == before


def test_one_model_is_drawn_hotter_until_its_answers_differ_and_two_models_never(served: Served, folder: Path) -> None:
    def temperatures(*models: str) -> set[float]:
        found = set()
        for seed in range(0, 8000, 1000):
            sampling = {"max_tokens": 1, "temperature": 0.15, "seed": seed}
            body = {"prompt": PERU, "models": models, "sampling": sampling}
            answers = served.page.post("/api/judging/pairs", json=body).json().get("answers", [])
            with open_store(folder / "conversations.db") as store:
                found |= {store.turn(one["id"]).sampling["temperature"] for one in answers}
        return found

    # a first token at 0.15 is nearly always the same one
    assert temperatures("tiny") & {0.15 * 1.25, 0.15 * 1.5, 0.15 * 1.75}
    assert temperatures("tiny", "other") == {0.15}


def test_a_seed_draws_the_same_answers_again(served: Served) -> None:
    pairs = [drawn(served, sampling={**SHORT, "seed": 5}) for _ in range(2)]
    texts = [sorted(answer["text"] for answer in pair["answers"]) for pair in pairs]
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"prompt": "  "}, "the prompt is empty"),
        ({"prompt": PERU, "models": ["nobody"]}, "there is no model 'nobody'"),
        ({"prompt": PERU, "num": 5}, "num"),
        ({"prompt": PERU, "models": ["tiny", "other", "tiny"]}, "models"),
    ],
)
def test_pairs_that_cannot_be_drawn_are_refused_in_a_sentence(served: Served, body: dict[str, Any], said: str) -> None:
    assert said in sent(served, "POST", "judging/pairs", body, status=400)["error"]["message"]


# --- other judgements


def test_a_thumb_is_given_replaced_and_taken_back(served: Served) -> None:
    talk, answer = answered(served)
    for score in (1, 0):
        body = {"kind": "rating", "answers": [answer["id"]], "value": {"score": score}}
        told = sent(served, "POST", "judgements", body)
        assert judgements(served, talk) == [told["judgement"]]
        assert told["judgement"]["value"] == {"score": score, "reason": "", "scale": "thumbs"}
    sent(served, "DELETE", f"judgements/{told['judgement']['id']}")
    assert judgements(served, talk) == []


def test_stars_keep_their_reason(served: Served, folder: Path) -> None:
    _, answer = answered(served)
    value = {"score": 0.75, "reason": "too long", "scale": "stars"}
    told = sent(
        served, "POST", "judgements", {"kind": "rating", "answers": [answer["id"]], "value": value, "by": "ada"}
    )
    with open_store(folder / "conversations.db") as store:
        [noun] = store.judgements.nouns([store.judgements.get(told["judgement"]["id"])])
    assert isinstance(noun, Rating) and (noun.score, noun.reason, noun.by) == (0.75, "too long", "ada")


def test_regenerated_answers_are_a_pair_that_is_not_blind(served: Served) -> None:
    talk, answer = answered(served)
    other = sent(served, "POST", f"turns/{answer['parent']}/answers", {})["answer"]
    served.events(other["id"])
    body = {"kind": "preference", "answers": [answer["id"], other["id"]], "value": {"outcome": "right"}}
    told = sent(served, "POST", "judgements", body)
    assert told["judgement"]["value"] == {"outcome": "right", "is_blind": False}
    assert judgements(served, talk) == [told["judgement"]]
    assert sent(served, "GET", f"judgements?talk={talk}") == {"judgements": [told["judgement"]]}


def test_three_answers_are_put_in_order_with_a_tie(served: Served) -> None:
    three = drawn(served, num=3)
    assert len(three["answers"]) == 3
    body = {"kind": "ranking", "answers": ids_of(three), "value": {"places": [1, 0, 1]}}
    told = sent(served, "POST", "judgements", body)
    assert told["judgement"]["value"] == {"places": [1, 0, 1], "is_blind": True} and len(told["wrote"]) == 3


def test_an_answer_written_better_is_its_sibling_and_a_demonstration(served: Served, folder: Path) -> None:
    talk, answer = answered(served)
    told = sent(served, "POST", "judgements/demonstrations", {"rejected": answer["id"], "answer": "Lima."})
    written = told["answer"]
    assert written["is_edited"] and written["parent"] == answer["parent"] and written["html"]
    assert judgements(served, talk) == [told["judgement"]]
    with open_store(folder / "conversations.db") as store:
        [noun] = store.judgements.nouns([store.judgements.get(told["judgement"]["id"])])
    assert isinstance(noun, Demonstration) and noun.answer[0].text == "Lima."
    assert noun.rejected[0].text == answer["text"]


def test_a_demonstration_of_its_own_stands_in_no_list_and_goes_when_it_is_taken_back(
    served: Served, folder: Path
) -> None:
    body = {"prompt": "Who are you?", "answer": "A small model.", "system": "Be brief."}
    told = sent(served, "POST", "judgements/demonstrations", body)
    listed = sent(served, "GET", "conversations?search=who+are+you")["conversations"]
    assert listed == []
    with open_store(folder / "conversations.db") as store:
        [noun] = store.judgements.nouns([store.judgements.get(told["judgement"]["id"])])
        assert isinstance(noun, Demonstration)
        assert [m.text for m in (*noun.prompt, *noun.answer)] == ["Be brief.", "Who are you?", "A small model."]
        talk = store.turn(told["judgement"]["question"]).talk
        sent(served, "DELETE", f"judgements/{told['judgement']['id']}")
        assert store.newest_talk("feedback") is None or store.newest_talk("feedback").id != talk


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"kind": "opinion", "answers": ["a"], "value": {}}, "kind"),
        ({"kind": "rating", "answers": ["nothing"], "value": {"score": 1}}, "there is no answer 'nothing'"),
        ({"kind": "rating", "answers": ["a"], "value": {"score": 2}}, "score"),
        ({"kind": "preference", "answers": ["a", "b"], "value": {"outcome": "maybe"}}, "outcome"),
        ({"kind": "rating", "answers": ["a"], "value": {"score": 1}, "purpose": "decide"}, "purpose"),
        ({"kind": "rating", "answers": ["a"], "value": {"score": 1}, "by": "x" * 65}, "by"),
    ],
)
def test_judgements_that_are_none_are_refused(served: Served, body: dict[str, Any], said: str) -> None:
    response = served.page.post("/api/judgements", json=body)
    assert response.status_code in (400, 404) and said in response.json()["error"]["message"], response.text


def test_answers_of_two_questions_are_no_pair(served: Served) -> None:
    ids = [answered(served)[1]["id"] for _ in range(2)]
    body = {"kind": "preference", "answers": ids, "value": {"outcome": "left"}}
    assert "different questions" in sent(served, "POST", "judgements", body, status=400)["error"]["message"]
    body = {"kind": "demonstration", "answers": ids[:1], "value": {"rejected": ids[1]}}
    assert "no other answer" in sent(served, "POST", "judgements", body, status=400)["error"]["message"]


# --- what is asked, and what is counted


def test_questions_that_were_judged_least_come_first(folder: Path, tmp_path: Path) -> None:
    with serving((str(folder / "tiny"),), tmp_path, memory=Memory(slots=4, length=512)) as served:
        served.open_page()
        for text in ("First?", "Second?", "Second?"):
            answered(served, text)
        found = sent(served, "GET", "judging/prompts")
        assert found["own"] == ["Second?", "First?"]
        assert len(found["built_in"]["en"]) == len(found["built_in"]["zh"]) > 20
        voted(served, drawn(served, "Second?"))
        voted(served, drawn(served, found["built_in"]["zh"][0]))
        again = sent(served, "GET", "judging/prompts")
        assert again["own"] == ["First?", "Second?"]
        assert again["built_in"]["zh"] == [*found["built_in"]["zh"][1:], found["built_in"]["zh"][0]]


def test_judgements_are_counted_by_kind_and_by_side(folder: Path, tmp_path: Path) -> None:
    with serving((str(folder / "tiny"),), tmp_path, memory=Memory(slots=4, length=512)) as served:
        served.open_page()
        for outcome in ("left", "left", "right", "bad"):
            voted(served, drawn(served), outcome)
        _, answer = answered(served)
        sent(served, "POST", "judgements", {"kind": "rating", "answers": [answer["id"]], "value": {"score": 1}})
        assert sent(served, "GET", "judgements/stats") == {
            "num": 5,
            "counts": {"rating": 1, "preference": 4, "ranking": 0, "demonstration": 0},
            "blind": {"left": 2, "right": 1, "tie": 0, "bad": 1},
            "models": [],
        }
        assert sent(served, "GET", "state")["num_judgements"] == 5


def test_models_are_tallied_by_the_votes(folder: Path, tmp_path: Path) -> None:
    with serving((str(folder / "tiny"), str(folder / "other")), tmp_path, memory=Memory(slots=4, length=512)) as served:
        served.open_page()
        outcomes = []
        for n in range(4):
            pair = drawn(served, f"Question {n}?", models=["tiny", "other"])
            told = voted(served, pair, "left" if n else "tie")
            outcomes.append(0.5 if not n else float(told["wrote"][ids_of(pair)[0]] == "tiny"))
        [group] = sent(served, "GET", "judgements/stats")["models"]
        won = {model["name"]: model["won"] for model in group["models"]}
        assert won["tiny"] == pytest.approx(sum(outcomes) / 4) and won["other"] == pytest.approx(1 - sum(outcomes) / 4)


def test_a_deleted_conversation_takes_its_judgements_along(served: Served) -> None:
    talk, answer = answered(served)
    body = {"kind": "rating", "answers": [answer["id"]], "value": {"score": 1}}
    num = sent(served, "POST", "judgements", body)["num"]
    sent(served, "DELETE", f"conversations/{talk}")
    assert sent(served, "GET", "state")["num_judgements"] == num - 1


def test_pairs_that_nobody_judged_are_deleted_after_a_while(served: Served, folder: Path) -> None:
    judged, left_alone = drawn(served), drawn(served)
    voted(served, judged)
    with open_store(folder / "conversations.db") as store:
        talks = [store.turn(pair["question"]).talk for pair in (judged, left_alone)]
        assert store.judgements.delete_sealed(before=store.talk(talks[1]).created) >= 0
        assert store.talk(talks[1])
        assert store.judgements.delete_sealed(before=store.talk(talks[1]).created + 1) >= 1
        assert store.talk(talks[0])
    assert (
        "deleted with its conversation"
        in sent(
            served,
            "POST",
            "judgements",
            {"kind": "preference", "answers": ids_of(left_alone), "value": {"outcome": "left"}},
            status=404,
        )["error"]["message"]
    )
