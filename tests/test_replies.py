"""Responses of other servers are read as meant or refused in a sentence; no failure looks like an answer."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from typing import Any

import pytest
from bench.odd_server import EVENTS, Said, chat, delta, events, saying, whole
from bench.servers import damaged_answers

from jielong.cli.main import main
from jielong.errors import ConfigError, DataError, JielongError, ResourceError, TooLongError
from jielong.records import Conversation, Message, Sampling
from jielong.tokens.tokenizer import estimate_tokens
from jielong.use.connection import clean_key
from jielong.use.endpoint import Endpoint
from jielong.use.port import Answer, Options
from jielong.use.replies import error_in, in_words, is_too_long, models_in
from jielong.use.thoughts import ThoughtSplitter, split_thoughts

FULL = '{"expression": "12*7"}'


def asked(said: Said, is_watched: bool = False, **options: Any) -> tuple[Answer, list[str], list[str]]:
    """The answer, and what was told of it and of its thoughts."""
    told: list[str] = []
    thoughts: list[str] = []
    watching = {"on_text": told.append, "on_thought": thoughts.append} if is_watched else {}

    async def work() -> Answer:
        with saying([said]) as url:
            endpoint = Endpoint(url, "odd", retries=0, **options)
            try:
                question = Conversation((Message("user", "What is 12 * 7?"),))
                return await endpoint.ask(question, Options(Sampling(max_tokens=9), **watching))
            finally:
                await endpoint.close()

    return asyncio.run(work()), told, thoughts


def call(name: str | None = "calculator", arguments: Any = FULL, **fields: Any) -> dict[str, Any]:
    return {"function": {"name": name, "arguments": arguments}, **fields}


# --- errors inside of answers


@pytest.mark.parametrize("is_watched", [False, True])
@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        (whole({"error": {"message": "model not loaded", "code": 500}}), ResourceError, "reports an error: model not loaded"),
        (whole({"error": "context length exceeded: 9000 > 4096"}), TooLongError, "too long for it"),
        (events(delta(content="The"), {"error": {"message": "KV cache full"}}), ResourceError, "KV cache full"),
        (events(b'event: error\ndata: {"type":"error","error":{"message":"Overloaded"}}\n\n'), ResourceError, "Overloaded"),
        (events(b"event: error\ndata: overloaded\n\n"), ResourceError, "overloaded"),
        (events(b'{"error":{"message":"context exceeded"}}\n', is_done=False), TooLongError, "context exceeded"),
        (events(delta(content="The capital"), is_done=False), ResourceError, "broke off its answer after 11 characters"),
        (events(delta(content="A"), is_done=False, is_cut=True), ResourceError, "broke off its answer after 1 character "),
        (events(delta(content="A"), b'data: {"choices":[{"del', is_done=False), ResourceError, "in the middle of an event"),
        (events(b"data: {nonsense}\n\n", delta("stop")), DataError, "an event of its stream is not JSON"),
        (Said(b"<!doctype html><title>Open WebUI</title>", "text/html"), DataError, "a web page (Open WebUI)"),
        (Said(b"upstream connect error", "text/plain"), DataError, "but with upstream connect error"),
        (Said(b""), DataError, "but with nothing"),
        (whole([1, 2]), DataError, "sent a list where an object with choices was expected"),
        (whole({"choices": []}), DataError, "no choice"),
        (whole({"choices": {"0": 1}}), DataError, "no list of objects"),
        (whole(chat(5)), DataError, "content of its message is a number"),
        (whole(chat([{"type": "image_url"}])), DataError, "a part that is no text"),
        (whole({"choices": [{"error": {"message": "Provider died"}, "finish_reason": "error"}]}), ResourceError, "Provider died"),
        (events(delta(content="half "), delta("error")), ResourceError, "the answer ended in an error"),
        (whole([{"error": {"code": 400, "message": "API key not valid"}}], 400), ResourceError, "answered 400: API key not valid"),
        (whole({"error": {"message": "'max_tokens' is too large: 5000. context length"}}, 400), ResourceError, "fewer tokens"),
        (Said(b"too many", status=429, headers=(("Retry-After", "9999"),)), ResourceError, "it asks to wait 9,999 s"),
        (Said(b"", status=308, headers=(("Location", "https://else.where/v1/chat/completions"),)), ResourceError, "https://else.where/v1;"),
        (whole({"detail": "Not Found"}, 404), ResourceError, "answered 404: Not Found"),
        (whole({"error": {"message": "model 'x' not found"}}, 404), ResourceError, "jielong models http"),
        (whole({"error": {"message": "no"}}, 401), ResourceError, "JIELONG_API_KEY"),
    ],
)  # fmt: skip
def test_what_failed_is_an_error_with_the_servers_words(said: Said, error: type, words: str, is_watched: bool) -> None:
    with pytest.raises(error) as caught:
        asked(said, is_watched)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("said", "missing", "text"),
    [
        (whole(chat(None)), "gave no text", ""),
        (whole(chat("", "length", reasoning_content="Let me think")), "only thought and was cut", ""),
        (whole(chat("<think>on and on", "length")), "only thought and was cut", ""),
        (whole(chat("", "content_filter")), "filter", ""),
        (whole(chat(None, refusal="I can't help with that.")), "refused", "I can't help with that."),
        (whole(chat("Paris", "content_filter")), "", "Paris"),
    ],
)
def test_where_there_is_no_answer_it_says_why(said: Said, missing: str, text: str) -> None:
    answer, _, _ = asked(said)
    assert answer.text == text
    assert missing in answer.missing if missing else answer.missing == ""


def test_the_command_line_ends_with_an_error_where_there_is_no_answer(capsys: pytest.CaptureFixture[str]) -> None:
    with saying([whole(chat("", "content_filter"))]) as url:
        assert main(["ask", f"{url}#x", "hi"]) == 2
    assert "there is no answer: the server's filter" in capsys.readouterr().err
    with saying([whole(chat("The capital of", "length"))]) as url:
        assert main(["ask", f"{url}#x", "hi", "--max-tokens", "3"]) == 0
    shown = capsys.readouterr()
    assert shown.out == "The capital of\n" and "[cut after --max-tokens 3]" in shown.err


# --- streams


@pytest.mark.parametrize("is_watched", [False, True])
@pytest.mark.parametrize(
    ("said", "text"),
    [
        (events(b": ping\n\n", delta(content="pong"), b"event: ping\ndata: {}\n\n", delta("stop")), "pong"),
        (events(delta(content="a"), b"data: null\n\n", b"data: \n\n", delta("stop")), "a"),
        (events(b'data: {"choices":[{"delta":{"content":"a\\u2028b"}}]}\r\n\r\n', delta("stop")), "a\u2028b"),
        (events('data: {"choices":[{"delta":{"content":"a\u2028b\u0085c"}}]}\n\n'.encode(), delta("stop")), "a\u2028b\u0085c"),
        (events(b'data:{"choices":[{"delta":\ndata: {"content":"ok"}}]}\n\n', delta("stop")), "ok"),
        (events({"choices": [{"delta": None}]}, delta(content="x"), {"choices": None}), "x"),
        (events(delta(content="x"), delta("stop"), is_done=False), "x"),
        (events(delta(content="长" * 900), delta("stop")), "长" * 900),
        (Said(events(delta(content="x"), delta("stop")).body, "application/octet-stream"), "x"),
        (Said(events(delta(content="x"), delta("stop")).body, "application/json"), "x"),
        (Said(json.dumps(chat("x " * 15_000)).encode(), "text/plain"), "x " * 15_000),
        (Said(b"".join(json.dumps(d).encode() + b"\n" for d in (delta(content="x"), delta("stop"))), "application/x-ndjson"), "x"),
        (events(delta(content="x"), {"choices": [{"index": 1, "delta": {"content": "y"}}]}, delta("stop")), "x"),
        (events(delta(content="x"), delta("stop"), is_done=False, is_cut=True), "x"),
        (Said(b'data: {"choices":[{"delta":{"content":"x"}}]}\n\ndata: [DONE]', EVENTS), "x"),
        (whole(chat("not streamed")), "not streamed"),
        (whole(chat([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "x"}])), "x"),
        (whole({"choices": [{"text": "x"}]}), "x"),
    ],
)  # fmt: skip
def test_streams_are_read_as_they_are_meant_whether_asked_for_or_not(said: Said, text: str, is_watched: bool) -> None:
    answer, told, _ = asked(said, is_watched)
    assert (answer.text, answer.stop, answer.missing) == (text, "stop", "")
    assert "".join(told) == (text if is_watched else "")


# --- thoughts


@pytest.mark.parametrize(
    "said",
    [
        whole(chat("<think>\nSeven?\n</think>\n\nIt is 7.")),
        whole(chat("It is 7.", reasoning_content="Seven?")),
        whole(chat("It is 7.", reasoning="Seven?")),
        events(delta(content="<thi"), delta(content="nk>Sev"), delta(content="en?</th"), delta(content="ink>\n\nIt is 7."), delta("stop")),
        events(delta(reasoning_content="Sev"), delta(reasoning_content="en?"), delta(content="It is 7."), delta("stop")),
    ],
)  # fmt: skip
def test_thoughts_stand_beside_the_answer_and_are_told_apart_while_it_comes(said: Said) -> None:
    answer, told, thoughts = asked(said, is_watched=True)
    assert (answer.text, answer.thoughts) == ("It is 7.", "Seven?")
    assert ("".join(told), "".join(thoughts).strip()) == ("It is 7.", "Seven?")


def test_thoughts_are_parted_at_their_marks_alone() -> None:
    assert split_thoughts("no marks <b>here</b>") == ("", "no marks <b>here</b>")
    assert split_thoughts("hm\n</think>\n\nyes") == ("hm", "yes")
    assert split_thoughts("Close it with </think>, then go on.") == ("", "Close it with </think>, then go on.")
    assert split_thoughts("<think>a</think>\n<think>b</think>yes") == ("a\nb", "yes")
    assert split_thoughts("[THINK]a[/THINK]yes") == split_thoughts("<thinking>a</thinking>yes") == ("a", "yes")
    assert split_thoughts("<|channel|>analysis<|message|>a<|channel|>final<|message|>yes") == ("a", "yes")
    assert split_thoughts("<think>\n\n</think>\n\nyes") == ("", "yes")
    assert split_thoughts("<think>for ever") == ("for ever", "")
    said: list[str] = []
    parting = ThoughtSplitter(said.append)
    for c in "  <thin ice":
        parting.push(c)
    parting.finish()
    assert "".join(said) == "  <thin ice"


# --- calls


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize(
    ("calls", "arguments"),
    [
        ([call()], [{"expression": "12*7"}]),
        ([call(arguments={"expression": "12*7"})], [{"expression": "12*7"}]),
        ([call(arguments='"{\\"expression\\": \\"12*7\\"}"')], [{"expression": "12*7"}]),
        ([call(arguments="")], [{}]),
        ([call(arguments=None)], [{}]),
        ([call(arguments='{"expression": 12')], [{"unreadable": '{"expression": 12'}]),
        ([call(arguments='["12*7"]')], [{"unreadable": '["12*7"]'}]),
        ([call(arguments='{"a":' * 20_000 + "1" + "}" * 20_000)], None),
        ([call(id="x"), call(arguments='{"expression": "5+5"}', id="x")], [{"expression": "12*7"}, {"expression": "5+5"}]),
        ([call(id=None), call(arguments='{"expression": "5+5"}', id="")], [{"expression": "12*7"}, {"expression": "5+5"}]),
        ([None, call()], [{"expression": "12*7"}]),
    ],
)  # fmt: skip
def test_calls_come_in_every_form_that_servers_give_them(calls: list[Any], arguments: Any, is_streamed: bool) -> None:
    numbered = [one and {**one, "index": number} for number, one in enumerate(calls)]
    said = (
        events(delta(tool_calls=numbered), delta("tool_calls")) if is_streamed else whole(chat(None, tool_calls=calls))
    )
    answer, _, _ = asked(said)
    found = answer.message.tool_calls
    assert answer.stop == "tool_calls" and len({one["id"] for one in found}) == len(found)
    if arguments is None:
        assert found[0]["arguments"].keys() == {"unreadable"}
    else:
        assert [one["arguments"] for one in found] == arguments


OTHER = '{"expression": "5+5"}'


def test_calls_of_several_tools_that_all_have_the_first_index_stay_apart() -> None:
    pieces = [
        call(id="", index=0),
        call("python", '{"code": "1"}', id="", index=0),
        {"name": "calculator", "arguments": FULL},
    ]
    answer, _, _ = asked(events(*(delta(tool_calls=[piece]) for piece in pieces), delta("tool_calls")))
    assert [c["name"] for c in answer.message.tool_calls] == ["calculator", "python", "calculator"]


@pytest.mark.parametrize(
    ("refusal", "lacks", "has"),
    [
        ("'max_tokens' is not supported. Use 'max_completion_tokens' instead.", "max_tokens", "max_completion_tokens"),
        ('{"detail":[{"type":"extra_forbidden","loc":["body","seed"]}]}', "seed", "max_tokens"),
        ("Unrecognized request argument supplied: stream_options", "stream_options", "stream"),
        ("'temperature' does not support 0.0 with this model. Only the default (1)", "temperature", "seed"),
    ],
)  # fmt: skip
def test_what_a_server_does_not_take_is_left_out_or_called_as_it_calls_it(refusal: str, lacks: str, has: str) -> None:
    bodies: list[dict[str, Any]] = []

    def say(path: str, body: dict[str, Any]) -> Said:
        bodies.append(body)
        return Said(refusal.encode(), status=400) if lacks in body else events(delta(content="hi"), delta("stop"))

    async def work(url: str) -> None:
        endpoint = Endpoint(url, retries=0)
        for _ in range(2):
            question = Conversation((Message("user", "hi"),))
            assert (await endpoint.ask(question, Options(on_text=lambda piece: None))).text == "hi"
        await endpoint.close()

    with saying(say) as url:
        asyncio.run(work(url))
    assert [lacks in body for body in bodies] == [True, False, False] and has in bodies[-1]


def test_a_rate_limit_that_speaks_of_tokens_is_waited_for_and_no_prompt_is_shortened() -> None:
    busy = Said(b"Too many tokens, please wait before trying again.", status=429, headers=(("Retry-After", "0"),))

    async def work(url: str) -> str:
        endpoint = Endpoint(url, retries=1)
        try:
            return (await endpoint.ask(Conversation((Message("user", "hi"),)))).text
        finally:
            await endpoint.close()

    for first in (busy, Said(b"Overloaded", status=529)):
        with saying([first, whole(chat("fine"))]) as url:
            assert asyncio.run(work(url)) == "fine"


def test_an_address_keeps_its_query() -> None:
    seen: list[str] = []

    def say(path: str, body: dict[str, Any]) -> Said:
        seen.append(path)
        return whole(chat("hi"))

    async def work(url: str) -> None:
        endpoint = Endpoint(url.replace("/v1", "/deployments/x/chat/completions?api-version=1"))
        assert "api-version" not in endpoint.name
        await endpoint.ask(Conversation((Message("user", "hi"),)))
        await endpoint.close()

    with saying(say) as url:
        asyncio.run(work(url))
    assert seen == ["/deployments/x/chat/completions?api-version=1"]


@pytest.mark.parametrize(
    "pieces",
    [
        [call(id="a"), call(arguments=OTHER, id="b")],
        [call(id="a", index=0), call(arguments=OTHER, id="b", index=None)],
        [call(id="a", index=1), call(arguments=OTHER, id="b", index=4)],
        [call(id="a", index=0), call(arguments=OTHER, id="b", index=0)],
        [call(index=0), call(arguments=OTHER, index=0)],
        [call(arguments='{"expres', id="a", index=0), call(None, 'sion": "12*7"}', index=0), call(arguments=OTHER, id="b", index=1)],
        [call(arguments='{"expres', id="a", index=0), call(arguments='sion": "12*7"}', id="a", index=0), call(arguments=OTHER, id="b")],
        [call("calcu", "", id="a", index=0), call("lator", FULL, index=0), call(arguments=OTHER, id="b", index=1)],
    ],
)  # fmt: skip
def test_pieces_of_calls_find_the_call_they_belong_to(pieces: list[Any]) -> None:
    answer, _, _ = asked(events(*(delta(tool_calls=[piece]) for piece in pieces), delta("tool_calls")))
    assert [(c["name"], c["arguments"]["expression"]) for c in answer.message.tool_calls] == [
        ("calculator", "12*7"),
        ("calculator", "5+5"),
    ]


# --- what it cost


def test_tokens_that_a_server_does_not_say_are_counted_here_and_called_so() -> None:
    answer, _, _ = asked(whole(chat("four words stand here")))
    assert answer.usage.is_estimated
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (estimate_tokens("What is 12 * 7?"), 4)
    said, _, _ = asked(whole(chat("ok", usage={"prompt_tokens": 5, "completion_tokens": 7})))
    assert (said.usage.tokens, said.usage.is_estimated) == (12, False)
    for usage in (
        {"prompt_tokens": None},
        {"prompt_tokens": "many"},
        {"prompt_tokens": -3, "completion_tokens": 1.5},
        [],
    ):
        assert asked(whole(chat("ok", usage=usage)))[0].usage.is_estimated
    # "Hello" and " world" one each, a word of 14 bytes three, each Han character and each sign one
    assert estimate_tokens("Hello world") == 2
    assert estimate_tokens("understandably") == 3
    assert estimate_tokens("你好，世界") == 5


# --- vectors and names


def embedded(said: Said) -> list[list[float]]:
    async def work() -> list[list[float]]:
        with saying([said]) as url:
            endpoint = Endpoint(url, "odd", retries=0)
            try:
                return await endpoint.embed(["a", "b"])
            finally:
                await endpoint.close()

    return asyncio.run(work())


def test_vectors_are_numbers_or_packed_numbers_of_one_width() -> None:
    packed = [base64.b64encode(struct.pack("<2f", *v)).decode() for v in ([0.5, 1.0], [2.0, 0.25])]
    plain = [{"index": 1, "embedding": [2, 0.25]}, {"index": 0, "embedding": [0.5, 1]}]
    assert embedded(whole({"data": plain})) == [[0.5, 1.0], [2.0, 0.25]]
    assert embedded(whole({"data": [{"embedding": p} for p in packed]})) == [[0.5, 1.0], [2.0, 0.25]]
    for data, words in (
        ([{"embedding": None}] * 2, "embedding 0 is no list of finite numbers"),
        ([{"embedding": [1.0]}, {"embedding": [1.0, 2.0]}], "different widths: 1, 2"),
        ([{"embedding": [1.0]}], "1 embeddings for 2 texts"),
        ([{"embedding": ["x"]}] * 2, "no list of finite numbers"),
        ([{"embedding": "!"}] * 2, "no base64"),
    ):
        with pytest.raises(DataError, match=words):
            embedded(whole({"data": data}))
    with pytest.raises(DataError, match="NaN is no number"):
        embedded(Said(b'{"data": [{"embedding": [NaN]}, {"embedding": [NaN]}]}'))


def test_a_servers_models_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with saying([whole({"data": [{"id": "b"}, {"id": "a"}]})]) as url:
        assert main(["models", url]) == 0
    assert capsys.readouterr().out == f"{url}#a\n{url}#b\n"
    assert models_in({"models": [{"name": "qwen"}]}) == models_in([{"id": "qwen"}]) == ["qwen"]
    assert models_in({"data": None}) == models_in({"data": []}) == []
    with pytest.raises(DataError, match="lists no models"):
        models_in({"models": 3})


def test_a_short_name_stands_for_a_model(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("JIELONG_HOME", str(tmp_path))
    with saying([whole(chat("hello"))]) as url:
        assert main(["alias", "mine", f"{url}#x"]) == 0
        assert main(["ask", "mine", "hi"]) == 0
    assert "hello" in capsys.readouterr().out
    assert main(["alias", "mine", "--remove"]) == 0
    assert main(["alias", "mine", "--remove"]) == 2
    assert main(["alias", "no/name", "x"]) == 2


# --- keys, addresses, proxies


@pytest.mark.parametrize("key", ["sk-abc\ndef", "“sk-abc”", "sk abc", "sk-äbc", "sk-\u200babc"])
def test_a_key_that_no_header_carries_is_refused_and_never_shown(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        clean_key(key, "OPENAI_API_KEY")
    assert "OPENAI_API_KEY" in str(caught.value) and "abc" not in str(caught.value)
    assert clean_key(" \n sk-abc\r\n") == "sk-abc"


@pytest.mark.parametrize("status", [200, 401, 500])
def test_a_server_that_quotes_the_key_does_not_bring_it_to_the_terminal(status: int) -> None:
    with pytest.raises(JielongError) as caught:
        asked(whole({"error": {"message": "Incorrect key: sk-secret-1"}}, status), key="sk-secret-1")
    assert "sk-secret" not in str(caught.value) and "[key]" in str(caught.value)


@pytest.mark.parametrize("url", ["http://", "ftp://x/v1", "http://[::1/v1", "http://x:99999/v1", "localhost:8080/v1"])
def test_what_is_no_address_is_refused_at_once(url: str) -> None:
    with pytest.raises(ConfigError, match="no address of a server"):
        Endpoint(url)


def test_a_password_in_an_address_is_not_shown() -> None:
    endpoint = Endpoint("http://me:secret@127.0.0.1:9/v1", "x")
    assert endpoint.name == "http://127.0.0.1:9/v1#x"
    asyncio.run(endpoint.close())


def test_proxies_work_or_are_named_and_this_machine_is_asked_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert asked(whole(chat("hello")))[0].text == "hello"
    monkeypatch.setenv("ALL_PROXY", "socks://127.0.0.1:9")
    with pytest.raises(ConfigError, match="socks5://HOST:PORT"):
        Endpoint("http://example.invalid/v1")
    monkeypatch.delenv("ALL_PROXY")
    seen: list[str] = []

    def proxy(path: str, body: dict[str, Any]) -> Said:
        seen.append(path)
        return whole(chat("through the proxy"))

    async def through(url: str) -> str:
        monkeypatch.setenv("HTTP_PROXY", url.removesuffix("/v1"))
        endpoint = Endpoint("http://example.invalid/v1", retries=0)
        try:
            return (await endpoint.ask(Conversation((Message("user", "hi"),)))).text
        finally:
            await endpoint.close()

    with saying(proxy) as url:
        assert asyncio.run(through(url)) == "through the proxy"
    assert seen == ["http://example.invalid/v1/chat/completions"]
    with pytest.raises(ResourceError, match="through the proxy of HTTP_PROXY"):
        asyncio.run(through("http://127.0.0.1:9/v1"))


def test_a_missing_v1_and_a_pasted_path_are_understood() -> None:
    def say(path: str, body: dict[str, Any]) -> Said:
        return (
            whole(chat("hello")) if path == "/v1/chat/completions" else Said(b"404 page not found", "text/plain", 404)
        )

    async def text(url: str) -> str:
        endpoint = Endpoint(url, retries=0)
        try:
            return (await endpoint.ask(Conversation((Message("user", "hi"),)))).text
        finally:
            await endpoint.close()

    with saying(say) as url:
        assert asyncio.run(text(f"{url}/chat/completions")) == "hello"
        with pytest.raises(ResourceError, match=rf"answered 404: 404 page not found; try {url}"):
            asyncio.run(text(url.removesuffix("/v1")))


def test_a_server_that_is_silent_is_left_and_the_option_named() -> None:
    with pytest.raises(ResourceError, match=r"was silent for 0.05 s; give it a longer timeout"):
        asked(Said(b"", headers=(("Transfer-Encoding", "chunked"),)), timeout_s=0.05)
    with pytest.raises(ConfigError, match="must be above 0"):
        Endpoint("http://x/v1", timeout_s=-1.0)


# --- the words of errors


def test_errors_are_found_in_every_form() -> None:
    assert error_in({"error": {"message": "m"}}) == "m"
    assert error_in({"error": "m"}) == "m"
    assert error_in({"object": "error", "message": "m"}) == "m"
    assert error_in({"detail": [{"msg": "m"}]}) == '[{"msg": "m"}]'
    assert error_in({"choices": [], "error": None}) is None
    assert in_words("<html><style>a{}</style><h1>502 Bad</h1></html>") == "502 Bad"
    assert in_words("\x1b[31mred") == "[31mred"
    for said in (
        "This model's maximum context length is 4096 tokens",
        "request (5000 tokens) exceeds the available context size (4096 tokens)",
        "input is too large to process",
        "prompt is too long: 9000 tokens > 4096 maximum",
        "输入超出上下文长度，上下文已超限",
    ):
        assert is_too_long(said), said
    assert not is_too_long("the value of temperature is too large")


def test_whatever_is_damaged_is_an_answer_or_a_sentence() -> None:
    rows = list(damaged_answers(300, seed=5))
    assert all(row.ok for row in rows), rows
