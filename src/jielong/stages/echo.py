"""The stage that writes copying exercises from the pieces into which a tokenizer cuts words."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass

from jielong.config import at_least
from jielong.data.splits import hold_out
from jielong.records import Conversation, Message
from jielong.runs import derive_seed
from jielong.stages.models import open_tokenizer
from jielong.stages.parts import write_parts
from jielong.stages.recipe import Context, Stage, Summary
from jielong.tokens.tokenizer import Tokenizer
from jielong.worlds.echo import Exercise, Kind, Pieces, exercises


def pieces_of(tokenizer: Tokenizer) -> Pieces:
    """Return the tokens that are Latin letters, in lower case and without a blank, and those that are Han characters."""
    tokens = {tokenizer.decode([i]).strip().lower() for i in range(tokenizer.vocab_size)}
    return Pieces(
        sorted(t for t in tokens if re.fullmatch("[a-z]+", t)),
        sorted(t for t in tokens if re.fullmatch("[\u4e00-\u9fff]", t)),
    )


def as_chat(turns: list[Exercise]) -> Conversation:
    """Turn exercises into questions of the user and answers of the assistant."""
    pairs = ((Message("user", t.question), Message("assistant", t.answer)) for t in turns)
    return Conversation(tuple(message for pair in pairs for message in pair))


@dataclass(frozen=True)
class EchoStage(Stage):
    """Exercises in copying, made of the tokens of a tokenizer, `turns` in a conversation. Input: tokenizer."""

    name: str
    inputs: Mapping[str, str]
    kinds: tuple[Kind, ...] = ("repeat", "record", "common")
    """Kinds of exercises."""
    conversations: int = 20_000
    """Conversations to learn from."""
    turns: int = 1
    """Exercises in a conversation."""
    version: int = 1

    def __post_init__(self) -> None:
        at_least(self, 2, "conversations")
        at_least(self, 1, "turns")

    def run(self, context: Context) -> Summary:
        """Write chats.jsonl and held_out.jsonl."""
        rng = random.Random(derive_seed(context.recipe.seed, self.name))
        pieces = pieces_of(open_tokenizer(self, context))
        chats = [as_chat(exercises(pieces, self.kinds, self.turns, rng)) for _ in range(self.conversations)]
        return write_parts(context.directory(self.name), "chats", hold_out(chats, 33))
