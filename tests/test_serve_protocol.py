"""OpenAI's protocol as clients speak it, against a real server with a small model of random weights."""

from __future__ import annotations

import json
import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.serving import Served, serving, tiny_model

from jielong.serve.models import Memory

TALK = [{"role": "user", "content": "What is the capital of Peru?"}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("serve")


@pytest.fixture(scope="module")
def served(folder):
    models = (str(tiny_model(folder / "tiny")), str(tiny_model(folder / "other", seed=1)))
    with serving(models, folder) as found:
        yield found


def ask(served: Served, **fields):
    response = served.api.post(
        "/chat/completions", json={"model": "tiny", "messages": TALK, "max_tokens": 12, **fields}
    )
    assert response.status_code == 200, response.text
    return response.json()


def pieces(served: Served, path: str = "/chat/completions", **fields) -> list[dict]:
    body = {"model": "tiny", "stream": True, "max_tokens": 12, **fields}
    with served.api.stream("POST", path, json=body) as response:
        assert response.status_code == 200, response.read()
        found = [line[6:] for line in response.iter_lines() if line.startswith("data: ")]
    assert found.pop() == "[DONE]"
    return [json.loads(one) for one in found]


def refusal(served: Served, path: str = "/chat/completions", **fields) -> dict:
    response = served.api.post(path, json={"model": "tiny", "messages": TALK, **fields})
    assert 400 <= response.status_code < 500, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "code", "param"}
    return {"status": response.status_code, **error}


def test_models_are_listed_and_found_by_name(served):
    names = [model["id"] for model in served.api.get("/models").json()["data"]]
    assert names[:2] == ["tiny", "other"]
    assert served.api.get("/models/tiny+vote:3").json()["id"] == "tiny+vote:3"
    assert served.api.get("/models/nobody").status_code == 404


def test_the_same_seed_gives_the_same_answer_and_another_one_another(served):
    said = [ask(served, seed=seed)["choices"][0]["message"]["content"] for seed in (5, 5, 6)]
    assert said[0] == said[1] != said[2]


def test_a_stream_says_what_the_whole_answer_says(served):
    whole = ask(served, seed=3)
    streamed = pieces(served, messages=TALK, seed=3, stream_options={"include_usage": True})
    text = "".join(p["choices"][0]["delta"].get("content", "") for p in streamed if p["choices"])
    assert text == whole["choices"][0]["message"]["content"]
    reasons = [p["choices"][0]["finish_reason"] for p in streamed if p["choices"]]
    assert reasons[-1] == whole["choices"][0]["finish_reason"] and not any(reasons[:-1])
    assert (
        streamed[-1]["choices"] == []
        and streamed[-1]["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"]
    )
    assert len({p["id"] for p in streamed}) == 1


def test_several_choices_differ_and_the_first_is_the_one_of_its_seed(served):
    found = ask(served, n=3, seed=4)["choices"]
    assert [choice["index"] for choice in found] == [0, 1, 2]
    assert found[0]["message"]["content"] == ask(served, seed=4)["choices"][0]["message"]["content"]
    assert len({choice["message"]["content"] for choice in found}) > 1


def test_logprobs_are_those_of_the_model_and_come_in_order(served):
    choice = ask(served, seed=3, temperature=0.5, logprobs=True, top_logprobs=5)["choices"][0]
    content = choice["logprobs"]["content"]
    said = b"".join(bytes(token["bytes"]) for token in content)
    assert choice["message"]["content"] in said.decode("utf-8", "replace") or choice["finish_reason"] == "stop"
    for token in content:
        tops = [top["logprob"] for top in token["top_logprobs"]]
        assert tops == sorted(tops, reverse=True) and len(tops) == 5
        assert token["logprob"] <= tops[0] + 1e-6
    tempered = ask(served, seed=3, temperature=0.5, logprobs=True, jielong={"logprobs": "tempered"})
    after = tempered["choices"][0]["logprobs"]["content"]
    assert [token["token"] for token in after] == [token["token"] for token in content]
    assert after[0]["logprob"] != pytest.approx(content[0]["logprob"], abs=1e-3)


def test_a_streams_logprobs_are_the_whole_ones_in_pieces(served):
    wanted = ask(served, seed=3, logprobs=True, top_logprobs=2)["choices"][0]["logprobs"]["content"]
    streamed = pieces(served, messages=TALK, seed=3, logprobs=True, top_logprobs=2)
    found = [t for p in streamed if (p["choices"][0]["logprobs"] or {}) for t in p["choices"][0]["logprobs"]["content"]]
    assert [t["token"] for t in found] == [t["token"] for t in wanted]
    assert [t["logprob"] for t in found] == pytest.approx([t["logprob"] for t in wanted], abs=1e-4)


def test_every_draw_can_be_seen_with_what_each_filter_cut(served):
    fields = {"temperature": 0.7, "top_k": 20, "top_p": 0.8, "min_p": 0.02, "jielong": {"draws": True}}
    choice = ask(served, seed=9, **fields)["choices"][0]
    for draw in choice["jielong"]["draws"]:
        assert draw["low"] <= draw["uniform"] < draw["high"]
        assert {cut["filter"] for cut in draw["cuts"]} - {"mask"} == {"top-k", "top-p", "min-p"}
        assert all(c["left"] > 0 for c in draw["likeliest"] if not c["cut"])
    streamed = pieces(served, messages=TALK, seed=9, **fields)
    drawn = [d["id"] for p in streamed for d in p["choices"][0].get("jielong", {}).get("draws", ())]
    assert drawn == [d["id"] for d in choice["jielong"]["draws"]]


def test_a_bias_forbids_tokens(served):
    seen = ask(served, seed=3, jielong={"draws": True})["choices"][0]["jielong"]["draws"]
    bias = {str(draw["id"]): -100 for draw in seen}
    after = ask(served, seed=3, jielong={"draws": True}, logit_bias=bias)["choices"][0]["jielong"]["draws"]
    assert not {d["id"] for d in seen} & {d["id"] for d in after}


def test_a_stop_string_ends_the_answer_before_it(served):
    text = ask(served, seed=3, max_tokens=40)["choices"][0]["message"]["content"]
    stop = text[len(text) // 2 : len(text) // 2 + 2]
    choice = ask(served, seed=3, max_tokens=40, stop=[stop])["choices"][0]
    assert choice["message"]["content"] == text[: text.index(stop)] and choice["finish_reason"] == "stop"


def test_bare_text_is_gone_on_with_and_scored(served):
    body = {"model": "tiny", "prompt": "The capital", "max_tokens": 6, "seed": 1, "logprobs": 2, "echo": True}
    choice = served.api.post("/completions", json=body).json()["choices"][0]
    columns = choice["logprobs"]
    assert choice["text"].startswith("The capital") and columns["token_logprobs"][0] is None
    assert "".join(columns["tokens"]) == choice["text"] or choice["finish_reason"] == "stop"
    whole = served.api.post("/completions", json={**body, "max_tokens": 0}).json()["choices"][0]
    assert (
        whole["text"] == "The capital"
        and whole["logprobs"]["tokens"] == columns["tokens"][: len(whole["logprobs"]["tokens"])]
    )
    text = "".join(
        p["choices"][0]["text"] for p in pieces(served, "/completions", prompt="The capital", max_tokens=6, seed=1)
    )
    assert "The capital" + text == choice["text"]


def test_many_prompts_of_text_or_ids_are_answered_in_order(served):
    body = {"model": "tiny", "prompt": ["The capital", "首都"], "max_tokens": 4, "temperature": 0}
    choices = served.api.post("/completions", json=body).json()["choices"]
    assert [choice["index"] for choice in choices] == [0, 1]
    ids = served.api.post("/completions", json={**body, "prompt": [[64, 65, 66]]})
    assert ids.status_code == 200
    assert "outside" in refusal(served, "/completions", prompt=[999_999])["message"]


def test_an_answer_fits_its_json_schema(served):
    schema = {
        "type": "object",
        "properties": {"city": {"enum": ["Lima", "利马"]}, "people": {"type": "integer"}},
        "required": ["city", "people"],
        "additionalProperties": False,
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "place", "schema": schema, "strict": True}}
    for seed in range(5):
        choice = ask(served, seed=seed, max_tokens=200, response_format=wanted)["choices"][0]
        if choice["finish_reason"] == "stop":
            found = json.loads(choice["message"]["content"])
            assert set(found) == {"city", "people"} and found["city"] in ("Lima", "利马")
            break
    else:
        pytest.fail("no answer came to its end")


def test_a_demanded_call_is_made_with_arguments_of_its_schema(served):
    tool = {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {"type": "object", "properties": {"city": {"enum": ["Lima"]}}, "required": ["city"]},
        },
    }
    choice = ask(served, seed=1, max_tokens=100, tools=[tool], tool_choice="required")["choices"][0]
    (call,) = choice["message"]["tool_calls"]
    assert call["function"]["name"] == "weather" and json.loads(call["function"]["arguments"])["city"] == "Lima"
    assert choice["finish_reason"] == "tool_calls" and not choice["message"]["content"]
    streamed = pieces(served, messages=TALK, seed=1, max_tokens=100, tools=[tool], tool_choice="required")
    calls = [c for p in streamed for c in p["choices"][0]["delta"].get("tool_calls", ())]
    assert [c["function"]["name"] for c in calls] == ["weather"]
    assert not any(p["choices"][0]["delta"].get("content") for p in streamed)
    answered = [
        *TALK,
        choice["message"] | {"content": None},
        {"role": "tool", "tool_call_id": call["id"], "content": "sunny"},
    ]
    assert ask(served, messages=answered, tools=[tool])["choices"][0]["message"]["role"] == "assistant"


def test_a_strategy_is_a_model_and_says_what_it_cost(served):
    found = ask(served, model="tiny+vote:3", seed=2)
    assert found["jielong"]["calls"][0]["num_calls"] == 3
    assert found["usage"]["completion_tokens"] > 3
    streamed = pieces(served, model="tiny+vote:3", messages=TALK, seed=2)
    happened = [p["jielong"]["happening"]["kind"] for p in streamed if "happening" in p.get("jielong", {})]
    assert happened.count("begins") == happened.count("ends") == 3
    text = "".join(p["choices"][0]["delta"].get("content", "") for p in streamed)
    assert text == found["choices"][0]["message"]["content"]


@pytest.mark.parametrize(
    "fields, told",
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "king", "content": "x"}]}, "role"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, "image_url"),
        ({"temperature": 3}, "temperature"),
        ({"top_logprobs": 3}, "logprobs"),
        ({"logit_bias": {"x": 1}}, "logit_bias"),
        ({"logit_bias": {"5": 1000}}, "logit_bias"),
        ({"presence_penalty": 1}, "presence_penalty"),
        ({"stop": ["a"] * 9}, "stop"),
        ({"n": 0}, "n"),
        ({"n": 128, "max_tokens": 1000}, "tokens"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"response_format": {"type": "json_schema"}}, "schema"),
        ({"model": "nobody"}, "nobody"),
        ({"model": "tiny+vote:x"}, "n=x"),
        ({"model": "tiny+tools"}, "--tools"),
    ],
)
def test_a_request_that_cannot_be_answered_is_refused_with_a_sentence(served, fields, told):
    error = refusal(served, **fields)
    assert told in f"{error['message']} {error['param']}"


def test_a_prompt_that_is_too_long_is_refused_with_both_lengths(served):
    error = refusal(served, messages=[{"role": "user", "content": "capital " * 2000}])
    assert error["code"] == "context_length_exceeded" and "512" in error["message"]


def test_no_json_and_no_path_are_refused_in_the_same_shape(served):
    response = served.api.post("/chat/completions", content=b"{not json", headers={"content-type": "application/json"})
    assert response.status_code == 400 and response.json()["error"]["message"]
    assert served.api.get("/nothing").json()["error"]["type"] == "invalid_request_error"
    assert "chat/completions" in served.api.post("/responses", json={}).json()["error"]["message"]


def test_a_client_that_hangs_up_frees_its_slot(served):
    for stream in (True, False):
        with served.api.stream("GET", "/models") as response:
            response.read()
        body = {
            "model": "tiny",
            "messages": TALK,
            "max_tokens": 400,
            "stream": stream,
            "logit_bias": {"0": -100, "3": -100},
        }
        client = threading.Thread(target=_hang_up, args=(served, body))
        client.start()
        client.join()
        until_s = time.monotonic() + 1.0
        while _under_way(served) and time.monotonic() < until_s:
            time.sleep(0.02)
        assert not _under_way(served)


def _hang_up(served: Served, body: dict) -> None:
    import httpx2

    with httpx2.Client(base_url=f"{served.address}/v1", timeout=0.15) as client:
        try:
            with client.stream("POST", "/chat/completions", json=body) as response:
                next(response.iter_bytes())
        except httpx2.TimeoutException:
            pass


def _under_way(served: Served) -> float:
    text = served.api.get(f"{served.address}/metrics").text
    found = [line for line in text.splitlines() if line.startswith('jielong_answers_under_way{model="tiny"}')]
    return float(found[0].split()[-1]) if found else 0.0


def test_a_full_queue_says_when_to_come_back(folder):
    with serving((str(folder / "tiny"),), folder / "busy", memory=Memory(slots=1, length=512)) as busy:
        body = {"messages": TALK, "max_tokens": 300, "logit_bias": {"0": -100, "3": -100}}
        with ThreadPoolExecutor(16) as pool:
            replies = list(pool.map(lambda _: busy.api.post("/chat/completions", json=body), range(16)))
    refused = [reply for reply in replies if reply.status_code == 429]
    assert {reply.status_code for reply in replies} == {200, 429}
    assert all(int(reply.headers["retry-after"]) >= 1 for reply in refused)


def test_a_key_is_needed_where_there_is_one(folder):
    key = "k" * 40
    with serving((str(folder / "tiny"),), folder / "locked", key=key) as locked:
        assert locked.api.get("/models").status_code == 200
        assert locked.api.get("/models", headers={"Authorization": "Bearer wrong"}).status_code == 401
        assert locked.page.get("/v1/models").status_code == 401
        assert locked.page.get("/metrics").status_code == 401
        assert locked.page.get("/health").json() == {"status": "ok"}
        assert locked.page.get("/api/state").json()["error"]["code"] == "login"
        locked.open_page()
        assert locked.page.post("/api/login", json={"key": "wrong"}).status_code == 401
        token = locked.page.post("/api/login", json={"key": key}).json()["csrf"]
        assert token and locked.page.get("/api/state").status_code == 200


def test_models_are_let_go_where_memory_is_short(folder):
    models = (str(folder / "tiny"), str(folder / "other"))
    one = serving_bytes(folder)
    with serving(models, folder / "small", memory=Memory(slots=1, length=128, limit_bytes=int(1.5 * one))) as small:
        for name in ("tiny", "other", "tiny"):
            assert (
                small.api.post("/chat/completions", json={"model": name, "messages": TALK, "max_tokens": 2}).status_code
                == 200
            )
            loaded = [m["id"] for m in small.api.get("/models").json()["data"] if m.get("jielong", {}).get("is_loaded")]
            assert loaded == [name]


def serving_bytes(folder: Path) -> int:
    """What one of the small models takes with one slot of 128 positions."""
    from jielong.opening.models import open_engine

    engine, _ = open_engine(folder / "tiny", slots=1, length=128)
    return engine.weight_bytes + engine.cache_bytes


def test_logprobs_say_minus_infinity_as_a_number(served):
    found = ask(served, seed=3, logprobs=True, top_logprobs=20, max_tokens=3)
    numbers = [t["logprob"] for token in found["choices"][0]["logprobs"]["content"] for t in token["top_logprobs"]]
    assert all(math.isfinite(number) for number in numbers)


def test_the_metrics_count_tokens_waits_and_how_requests_ended(served):
    ask(served, max_tokens=5)
    text = served.api.get(f"{served.address}/metrics").text
    found = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(found[_line(found, "jielong_tokens_total", "written")]) >= 5
    assert float(found['jielong_first_token_seconds_count{model="tiny"}']) >= 1
    assert float(found[_line(found, "jielong_requests_total", "done")]) >= 1


def _line(found: dict[str, str], name: str, label: str) -> str:
    return next(line for line in found if line.startswith(name) and f'"{label}"' in line and '"tiny"' in line)
