"""Stages that make tokens: training a tokenizer and encoding text, or encoding with an existing tokenizer."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jielong.data.shards import encode_documents, write_shards
from jielong.records import Document
from jielong.runs import write_directory
from jielong.stages.models import open_tokenizer
from jielong.stages.parts import read_conversations, read_documents
from jielong.stages.recipe import Context, Stage, Summary
from jielong.tokens.chat import render, texts
from jielong.tokens.tokenizer import Tokenizer, TokenizerConfig, train_tokenizer


@dataclass(frozen=True)
class TokenizerStage(Stage):
    """A tokenizer trained on documents, or on what is said in chats. Input: documents, or chats."""

    name: str
    inputs: Mapping[str, str]
    tokenizer: TokenizerConfig = TokenizerConfig()
    version: int = 1

    def run(self, context: Context) -> Summary:
        """Write tokenizer/ in Hugging Face's layout, and both parts of the text as token shards."""
        if "chats" in self.inputs:
            return self._of_chats(context)
        parent = context.parent(self, "documents")
        documents, held_out = (read_documents(parent / f"{name}.jsonl") for name in ("documents", "held_out"))
        made = train_tokenizer((d.text for d in documents), self.tokenizer)
        write_directory(context.directory(self.name) / "tokenizer", made.save)
        counts = write_tokens(context.directory(self.name), made, train=documents, held_out=held_out)
        return _about(made, [d.text for d in documents[:500]], counts)

    def _of_chats(self, context: Context) -> Summary:
        """Train on chats and write shards of whole conversations as they are rendered, marks and all."""
        parent, directory = context.parent(self, "chats"), context.directory(self.name)
        chats, held_out = (read_conversations(parent / f"{name}.jsonl") for name in ("chats", "held_out"))
        made = train_tokenizer((text for chat in chats for text in texts(chat.messages)), self.tokenizer)
        write_directory(directory / "tokenizer", made.save)
        counts = {}
        for part, records in (("train", chats), ("held_out", held_out)):
            shutil.rmtree(directory / part, ignore_errors=True)  # what a kill may have left of an earlier try
            rendered = ((str(number), render(chat.messages, made).ids) for number, chat in enumerate(records))
            counts[part] = write_shards(directory / part, rendered, made).num_tokens
        return _about(made, ["".join(texts(chat.messages)) for chat in chats[:500]], counts)


@dataclass(frozen=True)
class EncodeStage(Stage):
    """Documents as tokens of a tokenizer that exists. Inputs: documents, tokenizer."""

    name: str
    inputs: Mapping[str, str]
    version: int = 1

    def run(self, context: Context) -> Summary:
        """Write both parts of the refined text as token shards."""
        tokenizer = open_tokenizer(self, context)
        train, held_out = (
            read_documents(context.parent(self, "documents") / f"{n}.jsonl") for n in ("documents", "held_out")
        )
        return {
            "holds": "tokens",
            "tokens": write_tokens(context.directory(self.name), tokenizer, train=train, held_out=held_out),
        }


def _about(made: Tokenizer, texts: Sequence[str], counts: dict[str, int]) -> dict[str, Any]:
    """Return the stage's summary: vocabulary, tokens, and compression."""
    return {
        "holds": "tokens",
        "vocab_size": made.vocab_size,
        "tokens": counts,
        "bytes_per_token": made.bytes_per_token(texts),
    }


def write_tokens(directory: Path, tokenizer: Tokenizer, **parts: list[Document]) -> dict[str, int]:
    """Write token shards of each part in a folder of its name; return how many tokens there are."""
    counts = {}
    for part, documents in parts.items():
        shutil.rmtree(directory / part, ignore_errors=True)  # what a kill may have left of an earlier try
        encoded = encode_documents(documents, tokenizer)
        counts[part] = write_shards(directory / part, encoded, tokenizer).num_tokens
    return counts
