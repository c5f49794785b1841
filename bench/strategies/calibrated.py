"""A language model whose error is known, so that what a strategy must give can be worked out with a pencil.

`Calibrated` knows some questions and says the right answer with a stated probability, or else one of the wrong ones. What
it says is a function of the conversation and, above temperature 0, of the seed: other seeds are independent, equal ones
equal. It is a port like any other; `serve` puts the same model behind OpenAI's protocol on a real socket, and what it says
there is the same.
"""

from __future__ import annotations

import json
import math
import random
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from jielong.errors import DataError, JielongError
from jielong.records import Conversation, Message, Sampling
from jielong.runs import derive_seed
from jielong.tokens.stream import cut_at_stop
from jielong.use.port import Answer, Options, Usage

SEEDS = 0x7FFFFFFF
"""What a seed keeps on its way through OpenAI's protocol; here too, so that both ways say the same."""


@dataclass(frozen=True)
class Known:
    """A question, its right answer, and the wrong ones that may come instead, each as likely as the others."""

    question: str
    right: str
    wrong: tuple[str, ...]


Odds = Callable[[Known, Conversation], float]
Reaction = Callable[[Conversation, Known | None, random.Random], str | Message | None]


class Calibrated:
    """Answers the questions it knows, rightly with probability `p`; the last known question in a conversation counts.

    `p` may be a function of the question and the conversation: easy and hard questions, an instruction that helps.
    `react` is asked first: where it gives a text or a message that is said, where it gives None the question is
    answered; so a model can be made to judge, criticise, propose or call tools. Its dice are a function of the same
    conversation and seed, but are not those of the answer. Log-probabilities say ln p of the answer, right or wrong:
    over many questions, of the answers given with confidence .6, .6 are right. DataError where neither knows anything.
    """

    def __init__(
        self,
        known: Sequence[Known],
        p: float | Odds = 0.6,
        *,
        react: Reaction | None = None,
        name: str = "calibrated",
    ) -> None:
        self._known, self._p, self._react, self._name = tuple(known), p, react, name

    @property
    def name(self) -> str:
        return self._name

    async def close(self) -> None:
        """Nothing to let go of."""

    async def ask(self, conversation: Conversation, options: Options = Options()) -> Answer:  # noqa: B008
        """What the model says."""
        return self.say(conversation, options)

    async def complete(self, text: str, options: Options = Options()) -> Answer:  # noqa: B008
        """The same for bare text: what it says where the text is a user's turn."""
        return self.say(Conversation((Message("user", text),)), options)

    def say(self, conversation: Conversation, options: Options) -> Answer:
        said = "\n".join(m.text for m in conversation.messages)
        drawn = options.seed & SEEDS if options.sampling.temperature > 0 else 0
        known = self._asked(said)
        message = self._react and self._react(conversation, known, random.Random(derive_seed(drawn, "react", said)))
        logprob = 0.0
        if message is None:
            if known is None:
                raise DataError(f"none of the {len(self._known)} known questions is asked in {said[-200:]!r}")
            dice = random.Random(derive_seed(drawn, "answer", said))
            p = self._p(known, conversation) if callable(self._p) else self._p
            message = known.right if dice.random() < p else dice.choice(known.wrong)
            logprob = math.log(max(p, 1e-9))
        if isinstance(message, str):
            message = Message("assistant", message)
        return _ended(message, logprob, said, options)

    def _asked(self, said: str) -> Known | None:
        """The known question that ends last in the text; of two that end there, the longer one."""
        places = [
            (said.rfind(k.question) + len(k.question), len(k.question), k) for k in self._known if k.question in said
        ]
        return max(places, key=lambda place: place[:2])[2] if places else None


def _pieces(text: str) -> list[str]:
    """A text in what is counted as tokens: Han characters, and words with the space before them."""
    return re.findall(r"\s*[\u3400-\u9fff]|\s*[^\s\u3400-\u9fff]+|\s+$", text)


def _ended(message: Message, logprob: float, said: str, options: Options) -> Answer:
    """The answer cut at stop strings and `max_tokens`, told in pieces; all of the log-probability is the first token's."""
    text = cut_at_stop(message.text, options.sampling.stop)
    pieces = _pieces(text)
    stop = "stop"
    if len(pieces) > options.sampling.max_tokens:
        pieces, stop = pieces[: options.sampling.max_tokens], "length"
        text = "".join(pieces)
    if options.on_text:
        for piece in pieces:
            options.on_text(piece)
    stop = "tool_calls" if message.tool_calls else stop
    usage = Usage(len(_pieces(said)), len(pieces), 0, 1)
    logprobs = tuple(logprob if n == 0 else 0.0 for n in range(len(pieces)))
    return Answer(replace(message, content=text), usage, stop, logprobs=logprobs)


# --- the same over HTTP


@dataclass
class Server:
    """A model behind `url`. What is put into `refusals` (status, body) is answered first, one a request."""

    url: str
    refusals: deque[tuple[int, str]]
    requests: list[dict[str, Any]]
    """The body of every request that came, refused ones too."""


@contextmanager
def serve(model: Calibrated) -> Iterator[Server]:
    """The model at an address of this machine, by OpenAI's protocol, until the block ends."""
    refusals: deque[tuple[int, str]] = deque()
    requests: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            requests.append(body)
            if refusals:
                return self.give(*refusals.popleft())
            try:
                answer, is_chat = _answered(model, self.path, body)
            except JielongError as error:
                return self.give(400, json.dumps({"error": {"message": str(error)}}))
            if body.get("stream"):
                lines = [f"data: {json.dumps(event)}\n\n" for event in _events(answer, bool(body.get("logprobs")))]
                return self.give(200, "".join([*lines, "data: [DONE]\n\n"]), "text/event-stream")
            return self.give(200, json.dumps(_whole(answer, is_chat, bool(body.get("logprobs")))))

        def give(self, status: int, text: str, kind: str = "application/json") -> None:
            with suppress(ConnectionError):  # who asked may have left
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.end_headers()
                self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing on standard error."""

    class Crowded(ThreadingHTTPServer):
        request_queue_size = 128

    server = Crowded(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield Server(f"http://127.0.0.1:{server.server_port}/v1", refusals, requests)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _answered(model: Calibrated, path: str, body: dict[str, Any]) -> tuple[Answer, bool]:
    """What the model says to a request, and whether it was a conversation."""
    sampling = Sampling(body["max_tokens"], body["temperature"], stop=tuple(body.get("stop", ())))
    options = Options(sampling, body["seed"], tuple(t["function"] for t in body.get("tools", ())))
    if path == "/v1/completions":
        return model.say(Conversation((Message("user", body["prompt"]),)), options), False
    if path != "/v1/chat/completions":
        raise DataError(f"nothing is at {path}; expected /v1/chat/completions or /v1/completions")
    messages = tuple(Message(m["role"], m["content"]) for m in body["messages"])
    return model.say(Conversation(messages), options), True


def _whole(answer: Answer, is_chat: bool, with_logprobs: bool) -> dict[str, Any]:
    choice: dict[str, Any] = {"index": 0, "finish_reason": answer.stop}
    if is_chat:
        choice["message"] = {"role": "assistant", "content": answer.text, "tool_calls": _calls(answer)}
        if with_logprobs:
            choice["logprobs"] = {"content": [{"logprob": x} for x in answer.logprobs]}
    else:
        choice["text"] = answer.text
    return {"choices": [choice], "usage": _usage(answer)}


def _events(answer: Answer, with_logprobs: bool) -> Iterator[dict[str, Any]]:
    """A stream: the pieces, each tool call in two, why it ended, and what it cost."""
    for piece, logprob in zip(_pieces(answer.text), answer.logprobs, strict=True):
        choice: dict[str, Any] = {"index": 0, "delta": {"content": piece}}
        if with_logprobs:
            choice["logprobs"] = {"content": [{"logprob": logprob}]}
        yield {"choices": [choice]}
    for index, call in enumerate(_calls(answer)):
        head, rest = {**call["function"], "arguments": ""}, call["function"]["arguments"]
        yield {"choices": [{"delta": {"tool_calls": [{"index": index, "id": call["id"], "function": head}]}}]}
        yield {"choices": [{"delta": {"tool_calls": [{"index": index, "function": {"arguments": rest}}]}}]}
    yield {"choices": [{"index": 0, "delta": {}, "finish_reason": answer.stop}]}
    yield {"choices": [], "usage": _usage(answer)}


def _calls(answer: Answer) -> list[dict[str, Any]]:
    return [
        {
            "id": call.get("id") or f"call_{number}",
            "type": "function",
            "function": {"name": call["name"], "arguments": json.dumps(call.get("arguments", {}))},
        }
        for number, call in enumerate(answer.message.tool_calls)
    ]


def _usage(answer: Answer) -> dict[str, int]:
    return {"prompt_tokens": answer.usage.prompt_tokens, "completion_tokens": answer.usage.completion_tokens}
