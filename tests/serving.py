"""A server as users start it, for tests: real models, real sockets, in a thread of its own."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import torch
import uvicorn

from jielong.model.hf import save
from jielong.model.transformer import ModelConfig, fresh_language_model
from jielong.serve.access import Access
from jielong.serve.app import Settings, open_app
from jielong.serve.bounds import server_options
from jielong.serve.models import Memory
from jielong.tokens.tokenizer import TokenizerConfig, train_tokenizer

TEXTS = [
    "user\nWhat is the capital of Peru?\nassistant\nThe capital is Lima.\n",
    "秘鲁的首都是利马。法国的首都是巴黎。\n",
    'system\n{"name": "calculator", "arguments": {"expression": "17*23"}}\n0123456789 [] {} : , "true" "false" null\n',
]


def tiny_model(folder: Path, seed: int = 0, length: int = 512, *, width: int = 32, is_endless: bool = False) -> Path:
    """A model of random weights with opinions, and a tokenizer of our own.

    An endless one finds the end of an answer so unlikely that a small min-p rules it out.
    """
    tokenizer = train_tokenizer(TEXTS * 4, TokenizerConfig(vocab_size=420))
    config = ModelConfig(
        vocab_size=len(tokenizer.byte_lengths),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=length,
    )
    model = fresh_language_model(config, seed)
    with torch.no_grad():
        for weights in model.parameters():
            weights *= 3
        if is_endless:
            model.model.embed_tokens.weight[list(tokenizer.stop_ids)] = 0  # tied: their logits are 0
    folder.mkdir(parents=True, exist_ok=True)
    save(model, folder, eos_token_id=3, pad_token_id=1)
    tokenizer.save(folder)
    return folder


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Served:
    """A running server: `api` speaks as a client of OpenAI's protocol, `page` as the page does, with cookie and token."""

    def __init__(self, port: int, key: str = "") -> None:
        self.address = f"http://127.0.0.1:{port}"
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.api = httpx2.Client(base_url=f"{self.address}/v1", headers=headers, timeout=60)
        self.page = httpx2.Client(base_url=self.address, timeout=60)

    def open_page(self) -> str:
        """Load the page, as a browser does; its text."""
        text = self.page.get("/").text
        token = text.partition('name="csrf-token" content="')[2].partition('"')[0]
        self.page.headers["X-CSRF-Token"] = token
        return text

    def events(self, answer: str) -> list[tuple[str, Any]]:
        """All events of an answer until it is over."""
        found: list[tuple[str, Any]] = []
        with self.page.stream("GET", f"/api/turns/{answer}/events") as response:
            response.raise_for_status()
            name = ""
            for line in response.iter_lines():
                if line.startswith("event: "):
                    name = line[7:]
                elif line.startswith("data: "):
                    found.append((name, json.loads(line[6:])))
        return found

    def close(self) -> None:
        self.api.close()
        self.page.close()


@contextmanager
def serving(models: tuple[str, ...], folder: Path, key: str = "", **settings: Any) -> Iterator[Served]:
    """A server of these models, until the end of the block."""
    port = settings.pop("port", 0) or free_port()
    memory = settings.pop("memory", Memory(slots=4, length=512))
    store = settings.pop("store", folder / "conversations.db")
    wanted = Settings(models, Access(port=port, key=key), memory, store=store, runs=folder / "runs", **settings)
    running: list[uvicorn.Server] = []

    async def run() -> None:
        async with open_app(wanted, tell=lambda _: None) as app:
            config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", **server_options())
            running.append(uvicorn.Server(config))
            await running[0].serve()

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    served = Served(port, key)
    try:
        until_s = time.monotonic() + 60
        while not (running and running[0].started):
            if time.monotonic() > until_s or not thread.is_alive():
                raise RuntimeError("the server does not start")
            time.sleep(0.01)
        yield served
    finally:
        served.close()
        if running:
            running[0].should_exit = True
        thread.join(30)
