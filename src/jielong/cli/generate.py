"""One text from the command line: what you give is gone on with, or answered, and streams to standard output."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jielong.cli.dice import SEED_HELP, TOP_P_HELP, seed_of
from jielong.cli.models import add_weights
from jielong.cli.parsing import former_name
from jielong.errors import DataError
from jielong.opening.models import open_engine
from jielong.opening.ports import LOCAL_HELP, folder_of
from jielong.records import Message, Request, Sampling
from jielong.report.draws import draw_block, legend
from jielong.tokens.chat import render_prompt
from jielong.tokens.stream import TextStream
from jielong.tokens.visible import visible

if TYPE_CHECKING:
    from jielong.generate.engine import Engine
    from jielong.tokens.tokenizer import Tokenizer

CANDIDATES = 5


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser("generate", help="go on with a text, or answer a question (--chat-template)")
    parser.add_argument("model", metavar="MODEL", help=LOCAL_HELP)
    parser.add_argument("text", metavar="TEXT", help="what to go on with; - reads it from standard input")
    asked = parser.add_argument(
        "--chat-template", action="store_true", help="put the text as a question into the chat template"
    )
    former_name(parser, asked, "--ask")
    parser.add_argument("--stage", help="of a run: pretrain, sft or rl; without it, the last one trained")
    parser.add_argument("--max-tokens", type=int, default=100, metavar="N", help="to write (default: 100)")
    parser.add_argument(
        "--temperature", type=float, default=0.0, metavar="T", help="0 takes the likeliest token (default)"
    )
    parser.add_argument(
        "--top-k", type=int, default=0, metavar="N", help="draw from the N likeliest (default: from all)"
    )
    parser.add_argument("--top-p", type=float, default=1.0, metavar="P", help=TOP_P_HELP)
    parser.add_argument(
        "--min-p",
        type=float,
        default=0.0,
        metavar="P",
        help="and at least P times as likely as the likeliest (default: 0)",
    )
    parser.add_argument(
        "--repetition-penalty",
        type=float,
        default=1.0,
        metavar="R",
        help="of tokens that were there; 1 is none (default)",
    )
    parser.add_argument(
        "--stop", action="append", default=[], metavar="TEXT", help="end before this text; may be given several times"
    )
    parser.add_argument("--seed", type=int, metavar="N", help=SEED_HELP)
    parser.add_argument("--show", action="store_true", help="show how each token was drawn, and from what")
    add_weights(parser)
    parser.set_defaults(command=_generate)


def _generate(arguments: argparse.Namespace) -> int:
    """Stream the model's text, or print how each of its tokens was drawn; return exit code 0. Raises DataError for an
    empty text.
    """
    sampling = Sampling(
        max_tokens=arguments.max_tokens,
        temperature=arguments.temperature,
        top_k=arguments.top_k,
        top_p=arguments.top_p,
        min_p=arguments.min_p,
        repetition_penalty=arguments.repetition_penalty,
        stop=tuple(arguments.stop),
    )
    text, seed = sys.stdin.read() if arguments.text == "-" else arguments.text, seed_of(arguments)
    engine, tokenizer = open_engine(folder_of(arguments.model, arguments.stage), arguments.weights)
    if arguments.chat_template:
        prompt = render_prompt([Message("user", text)], tokenizer)
    else:
        prompt = (*tokenizer.opening, *tokenizer.encode(text))
    if not prompt:
        raise DataError("the text is empty; give at least a letter to go on with")
    ended = dataclasses.replace(sampling, stop_ids=tokenizer.stop_ids)
    if arguments.show:
        print(f"\n{_print_draws(engine, tokenizer, prompt, ended, seed)}")
        return 0
    from jielong.generate.text import generate_text  # late: the command line starts without torch

    for piece in generate_text(engine, tokenizer, prompt, ended, seed):
        sys.stdout.write(piece)
        sys.stdout.flush()
    print()
    return 0


def _print_draws(engine: Engine, tokenizer: Tokenizer, prompt: Sequence[int], sampling: Sampling, seed: int) -> str:
    """Print a block for each token as it is drawn, and return the text."""
    has_cuts = bool(sampling.top_k or sampling.top_p < 1 or sampling.min_p)
    print(legend(is_greedy=not sampling.temperature, has_cuts=has_cuts))
    text, said = TextStream(tokenizer, sampling.stop), ""
    for event in engine.stream(Request(tuple(prompt), sampling, seed), num_candidates=CANDIDATES):
        assert event.draw is not None
        print(draw_block(event.n + 1, event.draw, lambda id: visible(tokenizer, id)), flush=True)
        said += text.push(event.id)
        if text.stopped_by:
            break
    return said + text.finish()
