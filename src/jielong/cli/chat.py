"""A talk in the terminal: what you type goes through the chat template into the engine, and comes back as it is written."""

from __future__ import annotations

import sys
from pathlib import Path

from jielong.errors import CheckpointError, ConfigError, did_you_mean
from jielong.generate.engine import Engine, EngineConfig
from jielong.generate.text import generate_text
from jielong.model.hf import load_language_model
from jielong.records import Message, Sampling
from jielong.runs import derive_seed, open_run
from jielong.tokens.chat import render_prompt
from jielong.tokens.tokenizer import Tokenizer

HELP = "/new starts over, /quit ends (so does Ctrl-D)."


def newest_checkpoint(run_path: Path, stage: str | None) -> Path:
    """The model directory of a stage's result, by default of the last trained stage that can talk."""
    run = open_run(run_path)
    done = [n for n, s in run.record["stages"].items() if "done" in s and "checkpoint" in s["summary"]]
    talking = [n for n in done if n not in ("reward", "control")]
    if not talking:
        raise CheckpointError(
            f"{run_path} has no finished training stage yet; finish it with the command that began it"
        )
    if stage is not None and stage not in done:
        raise ConfigError(f"run {run_path.name} has no finished stage {stage!r}; {did_you_mean(stage, done)}")
    return run.checkpoint(stage or talking[-1])


def chat(run_path: Path, *, stage: str | None, temperature: float, top_p: float, max_tokens: int, seed: int) -> int:
    """Read a line, stream the answer, until the end of input."""
    checkpoint = newest_checkpoint(run_path, stage)
    model, tokenizer = load_language_model(checkpoint), Tokenizer.load(checkpoint)
    engine = Engine(model, EngineConfig(slots=1, dtype="float32"))
    sampling = Sampling(
        max_tokens=max_tokens, temperature=temperature, top_p=top_p, stop_ids=(tokenizer.im_end, tokenizer.endoftext)
    )
    print(f"{checkpoint}\n{HELP}")
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
