"""A talk in the terminal: what you type goes through the chat template into the engine, and comes back as it is written."""

from __future__ import annotations

import sys
from pathlib import Path

from jielong.cli.models import open_engine
from jielong.generate.text import generate_text
from jielong.records import Message, Sampling
from jielong.runs import derive_seed, find_model
from jielong.tokens.chat import render_prompt

HELP = "/new starts over, /quit ends (so does Ctrl-D)."


def chat(
    path: Path, *, stage: str | None, temperature: float, top_p: float, max_tokens: int, seed: int, weights: str | None
) -> int:
    """Read a line, stream the answer of the run or model folder at `path`, until the end of input."""
    folder = find_model(path, stage)
    engine, tokenizer = open_engine(folder, weights)
    sampling = Sampling(max_tokens=max_tokens, temperature=temperature, top_p=top_p, stop_ids=tokenizer.stop_ids)
    print(f"{folder}\n{HELP}")
    messages: list[Message] = []
    turn = 0
    while True:
        try:
            said = input("\nyou> ").strip()
        except EOFError:
            print()
            return 0
        except UnicodeDecodeError as error:
            print(f"(that was not UTF-8: {error}; say it again)")
            continue
        if said == "/quit":
            return 0
        if said == "/new":
            messages = []
            print("(a new conversation)")
            continue
        if not said:
            continue
        messages.append(Message("user", said))
        prompt = render_prompt(messages, tokenizer)
        while len(prompt) + max_tokens > engine.length and len(messages) > 2:
            messages = messages[2:]
            prompt = render_prompt(messages, tokenizer)
        if len(prompt) >= engine.length:
            print(
                f"(that is {len(prompt)} tokens; this model reads {engine.length - 1} at most: say it in fewer words)"
            )
            messages.pop()
            continue
        sys.stdout.write("model> ")
        pieces = []
        for piece in generate_text(engine, tokenizer, prompt, sampling, derive_seed(seed, "turn", turn)):
            sys.stdout.write(piece)
            sys.stdout.flush()
            pieces.append(piece)
        print()
        messages.append(Message("assistant", "".join(pieces)))
        turn += 1
