"""The stage that writes exercises in copying, out of the very pieces that a tokenizer cuts words into."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING, Any

from jielong.recipes.prepare import hold_out, write_parts
from jielong.recipes.recipe import EchoStage
from jielong.records import Conversation, Message
from jielong.runs import derive_seed
from jielong.tokens.tokenizer import Tokenizer
from jielong.worlds.echo import Exercise, Pieces, exercises

if TYPE_CHECKING:
    from jielong.recipes.execute import Context


def echo(stage: EchoStage, context: Context) -> dict[str, Any]:
    """chats.jsonl and held_out.jsonl."""
    rng = random.Random(derive_seed(context.recipe.seed, stage.name))
    pieces = pieces_of(Tokenizer.load(context.parent(stage, "tokenizer") / "tokenizer"))
    chats = [as_chat(exercises(pieces, stage.kinds, stage.turns, rng)) for _ in range(stage.conversations)]
    return write_parts(context.directory(stage.name), "chats", hold_out(chats, 33))


def pieces_of(tokenizer: Tokenizer) -> Pieces:
    """The tokens that are Latin letters, in lower case and without a blank, and those that are Han characters."""
    tokens = {tokenizer.decode([i]).strip().lower() for i in range(tokenizer.vocab_size)}
    return Pieces(
        sorted(t for t in tokens if re.fullmatch("[a-z]+", t)),
        sorted(t for t in tokens if re.fullmatch("[\u4e00-\u9fff]", t)),
    )


def as_chat(turns: list[Exercise]) -> Conversation:
    """Exercises as questions of the user and answers of the assistant."""
    pairs = ((Message("user", t.question), Message("assistant", t.answer)) for t in turns)
    return Conversation(tuple(message for pair in pairs for message in pair))
