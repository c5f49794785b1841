"""Responses of other servers, right, odd or broken: `python -m bench.servers`.

Ten thousand answers of a well-made server are damaged in random ways, and whatever comes of it must be an answer or a
sentence. `--cases` names a folder with a server that misbehaves by the model's name (fake.py): a row is written for each
of its ways.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import copy
import io
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.odd_server import Said, chat, delta, events, saying, whole
from bench.rows import Row, write_rows
from jielong.cli.main import main as jielong
from jielong.errors import JielongError
from jielong.records import Conversation, Message
from jielong.use.endpoint import Endpoint
from jielong.use.port import Answer, Options

CALL = {"id": "c1", "type": "function", "function": {"name": "calculator", "arguments": '{"expression": "12*7"}'}}
USAGE = {"prompt_tokens": 5, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 2}}
LOGPROBS = {"content": [{"token": "Paris", "logprob": -0.5}]}
WELL_MADE: dict[str, Any] = {
    "answer": chat("The capital is Paris.", usage=USAGE, reasoning_content="France, so Paris."),
    "parts": chat([{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Paris"}], usage=USAGE),
    "calls": chat(None, "tool_calls", USAGE, tool_calls=[CALL, {**CALL, "id": "c2"}]),
    "logprobs": {"choices": [{"message": {"content": "Paris"}, "logprobs": LOGPROBS, "finish_reason": "stop"}]},
    "stream": [
        delta(role="assistant", content=""),
        delta(reasoning_content="France"),
        delta(content="The capital "),
        delta(content="is Paris."),
        delta("stop"),
        {"choices": [], "usage": USAGE},
    ],
    "streamed calls": [
        delta(tool_calls=[{"index": 0, "id": "c1", "function": {"name": "calculator", "arguments": '{"expr'}}]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": 'ession": "12*7"}'}}]),
        delta("tool_calls"),
    ],
    "embeddings": {"data": [{"index": 0, "embedding": [0.1, 0.2]}, {"index": 1, "embedding": [0.3, 0.4]}]},
    "models": {"data": [{"id": "a"}, {"id": "b"}]},
    "error": {"error": {"message": "model not loaded", "code": 500}},
}
STRANGE: tuple[Any, ...] = (
    *(None, True, 0, -1, 1.5, 1e300, 10**30, "", "x", " ", [], {}, [None], [[]], {"a": 1}, "\u2028", "\x00"),
    *("<think>", "[DONE]", '{"a": 1', {"type": "image_url"}, [1, "a", None], "9" * 400, [[[[[[]]]]]]),
)


def damaged(data: Any, rng: random.Random) -> Any:
    """A copy with one to three places changed, dropped, doubled or called something else."""
    data = copy.deepcopy(data)
    for _ in range(rng.randint(1, 3)):
        places = [(data, key) for key in (data if isinstance(data, dict) else range(len(data)))] if data else []
        inner = [p[k] for p, k in places]
        while inner:
            one = inner.pop()
            if isinstance(one, (dict, list)):
                keys = list(one) if isinstance(one, dict) else list(range(len(one)))
                places += [(one, key) for key in keys]
                inner += [one[key] for key in keys]
        if not places:
            return data
        holder, key = rng.choice(places)
        match rng.randrange(5):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, list):
                holder.insert(key, copy.deepcopy(holder[key]))
            case 2 if isinstance(holder, dict):
                holder[f"{key}_"] = holder.pop(key)
            case 3:
                holder[key] = [holder[key]]
            case _:
                holder[key] = copy.deepcopy(rng.choice(STRANGE))
    return data


def damaged_bytes(said: Said, rng: random.Random) -> Said:
    """The same with bytes cut off, changed or put in, another content type, or a connection that breaks."""
    body = bytearray(said.body)
    match rng.randrange(6):
        case 0:
            body = body[: rng.randrange(len(body) + 1)]
        case 1:
            for _ in range(rng.randint(1, 5)):
                body[rng.randrange(len(body))] = rng.randrange(256)
        case 2:
            at = rng.randrange(len(body) + 1)
            body[at:at] = rng.choice([b"\n\n", b"data: ", b"event: error\n", b"\x00", b"\xff\xfe", b"[" * 300, b"\r"])
        case 3:
            return replace(
                said, kind=rng.choice(["text/plain", "", "text/html", "application/octet-stream", "text/event-stream"])
            )
        case 4:
            return replace(said, is_cut=True)
        case _:
            return replace(said, status=rng.choice([200, 201, 204, 400, 401, 404, 413, 422, 451]))
    return replace(said, body=bytes(body))


def made(name: str, rng: random.Random) -> Said:
    """A damaged answer of this kind."""
    data = WELL_MADE[name]
    if rng.random() < 0.7:
        data = damaged(data, rng)
    said = events(*data, is_done=rng.random() < 0.9) if isinstance(data, list) else whole(data)
    return damaged_bytes(said, rng) if rng.random() < 0.4 and said.body else said


async def asked(endpoint: Endpoint, name: str, is_watched: bool) -> Any:
    """Ask for this kind of answer and say what came of it."""
    if name == "embeddings":
        return await endpoint.embed(["a", "b"])
    if name == "models":
        return await endpoint.models()
    heard: list[str] = []
    options = Options(on_text=heard.append if is_watched else None, on_thought=heard.append if is_watched else None)
    return await endpoint.ask(Conversation((Message("user", "What is the capital of France?"),)), options)


def wrong_with(found: Any) -> str:
    """The fault of something that passes for an answer; "" where it has none."""
    if not isinstance(found, Answer):
        return ""
    if not isinstance(found.message.text, str) or found.usage.prompt_tokens < 0 or found.usage.completion_tokens < 0:
        return "no text or no counts"
    is_nothing = not found.text.strip() and not found.message.tool_calls
    return "nothing passes for an answer" if is_nothing and not found.missing else ""


def damaged_answers(num: int, seed: int = 0) -> Iterator[Row]:
    """Rows about `num` damaged answers."""
    rng = random.Random(seed)
    cases = [(name, made(name, rng), rng.random() < 0.5) for name in rng.choices(list(WELL_MADE), k=num)]
    counts, traced = Counter[str](), Counter[str]()

    async def all_of_them(url: str) -> None:
        endpoint = Endpoint(url, "odd", retries=0, timeout_s=20.0)
        try:
            for name, _, is_watched in cases:
                try:
                    found = await asked(endpoint, name, is_watched)
                    wrong = wrong_with(found)
                    counts["wrong" if wrong else "read"] += 1
                    traced.update([wrong] if wrong else [])
                except JielongError:
                    counts["refused"] += 1
                except Exception as error:
                    counts["traced"] += 1
                    traced[f"{name}: {type(error).__name__}: {error}"[:100]] += 1
        finally:
            await endpoint.close()

    with saying([said for _, said, _ in cases]) as url:
        start_s = time.monotonic()
        asyncio.run(all_of_them(url))
        seconds = time.monotonic() - start_s
    for problem, count in traced.most_common(10):
        print(f"  {count} x {problem}", file=sys.stderr)
    yield Row("damaged answers: tracebacks", f"0 of {num:,}", counts["traced"], counts["traced"] == 0, seeds=(seed,))
    yield Row(
        "damaged answers: nothing that passes for an answer", "0", counts["wrong"], counts["wrong"] == 0, seeds=(seed,)
    )
    yield Row("damaged answers: read", "told", counts["read"], True, seeds=(seed,))
    yield Row("damaged answers: refused in a sentence", "told", counts["refused"], True, seeds=(seed,))
    yield Row("damaged answers: time of one", "told", 1000 * seconds / num, True, "ms", seeds=(seed,))


# --- the ways of a server that misbehaves

WAYS: dict[str, tuple[int, str, str]] = {
    "ratelimit": (0, "after two 429", ""),
    "500once": (0, "after one 500", ""),
    "html200": (2, "", "web page"),
    "html502": (2, "", "502"),
    "redirect": (2, "", "moved to"),
    "error200": (2, "", "model not loaded"),
    "strerr": (2, "", "too long"),
    "null": (2, "", "no answer"),
    "reason": (2, "", "only thought"),
    "think": (0, "The answer is 7.", ""),
    "parts": (0, "Paris", ""),
    "nousage": (0, "fine", "counted here"),
    "usagenull": (0, "fine", "counted here"),
    "length": (0, "The capital of France is", "cut after"),
    "filter": (2, "", "filter"),
    "refusal": (2, "I can't help with that.", "refused"),
    "noChoices": (2, "", "choice"),
    "choicesnull": (2, "", "choice"),
    "textplain": (2, "", "upstream connect error"),
    "empty": (2, "", "nothing"),
    "jsonlist": (2, "", "a list"),
    "logprobsnull": (0, "ok", ""),
    "slow": (2, "", "--timeout"),
    "sse_error": (2, "", "KV cache full"),
    "sse_error_only": (2, "", "too long"),
    "sse_raw_error": (2, "", "context exceeded"),
    "sse_event_error": (2, "", "Overloaded"),
    "sse_trunc": (2, "", "broke off"),
    "sse_cut": (2, "", "broke off"),
    "sse_halfjson": (2, "", "broke off"),
    "sse_ping": (0, "pong", ""),
    "sse_null": (0, "a", ""),
    "sse_ka": (0, "a", ""),
    "sse_crlf": (0, "a\u2028b", ""),
    "sse_ls": (0, "a\u2028b\u0085c", ""),
    "sse_nospace": (0, "ok", ""),
    "sse_multiline": (0, "ok", ""),
    "sse_json": (0, "not streamed at all", ""),
    "sse_nullchoice": (0, "x", ""),
    "sse_usage0": (0, "x", "counted here"),
    **dict.fromkeys(("t_dict", "t_str", "t_double", "t_noid", "t_nullindex"), (0, "It is done.", "12*7) = 84")),
    **dict.fromkeys(("t_repeatname", "t_repeatnullname"), (0, "It is done.", "12*7) = 84")),
    **dict.fromkeys(("t_sameid", "t_emptyid", "t_noindex", "t_mixindex"), (0, "It is done.", "5+5) = 10")),
    **dict.fromkeys(("t_gap", "t_same0"), (0, "It is done.", "5+5) = 10")),
    **dict.fromkeys(("t_empty", "t_null"), (0, "It is done.", "lack 'expression'")),
    **dict.fromkeys(("t_bad", "t_list", "t_trail", "t_deep", "t_surr"), (0, "It is done.", "no JSON object")),
    **dict.fromkeys(("t_unknown", "t_nofn", "t_nullname"), (0, "It is done.", "there is no tool")),
    **dict.fromkeys(("t_number", "t_nested"), (0, "It is done.", "must be of type string")),
    "t_nul": (2, "", "no answer"),
}
"""What each must come to, asked without and with somebody watching: exit code, what stands on standard output, and a word
of what is said beside it."""


def ways(folder: Path) -> Iterator[Row]:
    """A row for each way of the server in `folder`."""
    with tempfile.TemporaryDirectory() as work:
        (Path(work) / "out").mkdir()
        port = 8917
        server = subprocess.Popen(
            [sys.executable, str((folder / "fake.py").resolve()), str(port)], cwd=work, stderr=subprocess.DEVNULL
        )
        try:
            _wait_for(f"http://127.0.0.1:{port}/v1/models")
            for name, wanted in WAYS.items():
                model = f"http://127.0.0.1:{port}/v1#{name}"
                got = [_compared(wanted, _told(model, name, watched), name, watched) for watched in (True, False)]
                said = " / ".join(dict.fromkeys(got))
                yield Row(f"server: {name}", f"exit {wanted[0]}, {wanted[2] or wanted[1]!r}", said, said == "as wanted")
        finally:
            server.kill()
            server.wait()


def _wait_for(url: str) -> None:
    for _ in range(100):
        with contextlib.suppress(OSError):
            urllib.request.urlopen(url).read()
            return
        time.sleep(0.05)
    raise SystemExit(f"{url} does not answer")


def _told(model: str, name: str, is_watched: bool) -> tuple[int | str, str, str]:
    arguments = ["ask", model, "What is 12*7?", *(["--show"] if is_watched else [])]
    arguments += ["--tools", "calculator"] if name.startswith("t_") else []
    arguments += ["--timeout", "1"] if name == "slow" else []
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code: int | str = jielong(arguments)
        except Exception as error:
            code = f"traceback {type(error).__name__}"
    return code, out.getvalue().strip("\n"), err.getvalue()


def _compared(wanted: tuple[int, str, str], got: tuple[int | str, str, str], name: str, is_watched: bool) -> str:
    if got[0] != wanted[0]:
        return f"exit {got[0]}"
    if got[1] != wanted[1]:
        return f"prints {got[1][:40]!r}"
    # what tools were asked is shown only to who watches
    is_said = wanted[2] in got[2] or (name.startswith("t_") and not is_watched)
    is_unasked = wanted[2] == "counted here" and name == "sse_usage0"
    return "as wanted" if is_said or is_unasked else f"says {got[2].strip()[-60:]!r}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=Path, help="a folder with fake.py, a server that misbehaves")
    parser.add_argument("--num", type=int, default=10_000, help="damaged answers (default: 10000)")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    rows = list(damaged_answers(chosen.num, chosen.seed))
    if chosen.cases:
        rows += ways(chosen.cases)
    write_rows("servers", rows)
    return 0 if all(row.ok for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
