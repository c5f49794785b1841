"""Byte-level byte-pair encoding: any Unicode text to token ids and back without loss.

A tokenizer is trained on an iterable of texts and saved as the files that `transformers.AutoTokenizer` opens. Ids 0 to 63
are special (end of text, roles, tools, image, mask, spare ones), 64 to 319 are the 256 bytes, the rest are merges. The one
idea to hold: special ids come from the program alone. Text, whoever wrote it, is always encoded as ordinary bytes, so a
user who types <|im_end|> cannot end a turn.

Text is first split into pre-tokens that no merge may cross: a Han run is never glued to Latin letters or punctuation,
digits go in groups of at most three, a word takes at most one space before it, and every newline stands alone, so that
"assistant\\n" followed by anything is tokenised the same in one piece or in two.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tokenizers import decoders, models, pre_tokenizers, trainers

from jielong.errors import CheckpointError, ConfigError, DataError
from jielong.runs import read_json, write_json, write_text

NUM_SPECIAL = 64
_NAMED = (
    "<|endoftext|>",
    "<|pad|>",
    "<|im_start|>",
    "<|im_end|>",
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
    "<image>",
    "</image>",
    "<|mask|>",
)
SPECIAL_TOKENS = _NAMED + tuple(f"<|reserved_{i}|>" for i in range(len(_NAMED), NUM_SPECIAL))
"""The text form of ids 0 to 63, in order."""

HAN_SPLITS = {"runs": r"\p{Han}+", "characters": r"\p{Han}"}

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message.role + '\n' -}}"
    "{%- if message.role == 'tool' -%}{{- '<tool_response>' -}}{%- endif -%}"
    "{%- if message.content is string -%}{{- message.content -}}"
    "{%- else -%}"
    "{%- for part in message.content or [] -%}{%- if part.type == 'text' -%}{{- part.text -}}{%- endif -%}{%- endfor -%}"
    "{%- endif -%}"
    "{%- if message.role == 'tool' -%}{{- '</tool_response>' -}}{%- endif -%}"
    "{%- for call in message.tool_calls or [] -%}"
    "{{- '<tool_call>' + ((call.function or call) | tojson) + '</tool_call>' -}}"
    "{%- endfor -%}"
    "{{- '<|im_end|>\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}"
)
"""What `jielong.tokens.chat.render` does, in Jinja, for `transformers`."""


@dataclass(frozen=True)
class TokenizerConfig:
    """`vocab_size` counts all ids, the 64 special ones and the 256 bytes included; a small text may give fewer.

    A pair of tokens seen less than `min_frequency` times is not merged. `han` says what merges may span in Chinese:
    "runs" of characters, or single "characters" (longer sequences, but a name is cut the same way in every sentence).
    """

    vocab_size: int = 4096
    min_frequency: int = 2
    han: str = "runs"

    def __post_init__(self) -> None:
        smallest = NUM_SPECIAL + 256
        if self.vocab_size < smallest:
            raise ConfigError(
                f"vocab_size is {self.vocab_size}; it must be at least {smallest} (special ids and bytes)"
            )
        if self.min_frequency < 1:
            raise ConfigError(f"min_frequency is {self.min_frequency}; it must be at least 1")
        if self.han not in HAN_SPLITS:
            raise ConfigError(f"han is {self.han!r}; expected one of {', '.join(HAN_SPLITS)}")


def _split_pattern(han: str) -> str:
    return "|".join(
        (
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)",
            HAN_SPLITS[han],
            r" ?(?:(?!\p{Han})[\p{L}\p{M}])+",
            r"\p{N}{1,3}",
            r"\r?\n",
            r" ?[^\s\p{L}\p{M}\p{N}\p{Han}]+",
            r"[^\S\n]+(?!\S)",
            r"[^\S\n]+",
        )
    )


def train_tokenizer(texts: Iterable[str], config: TokenizerConfig | None = None) -> Tokenizer:
    """A tokenizer whose merges are the frequent pairs of `texts`; the same texts give the same file, byte for byte."""
    config = config or TokenizerConfig()
    bpe = tokenizers.Tokenizer(models.BPE())
    split = pre_tokenizers.Split(tokenizers.Regex(_split_pattern(config.han)), "isolated")
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bpe.pre_tokenizer = pre_tokenizers.Sequence([split, to_bytes])
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocab_size,
        min_frequency=config.min_frequency,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return Tokenizer(bpe.to_str())


def _byte_of_char() -> dict[str, int]:
    """Which byte each character of a byte-level vocabulary stands for.

    Printable Latin-1 characters stand for themselves, the other bytes in order for the characters from U+0100 on
    (the convention of GPT-2's vocabulary files).
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [b for b in range(256) if b not in printable]
    return {chr(b): b for b in printable} | {chr(0x100 + i): b for i, b in enumerate(others)}


class Tokenizer:
    """Ids and text, both ways. Made by `train_tokenizer` or `Tokenizer.load`; does not change afterwards."""

    def __init__(self, json_text: str) -> None:
        """From the text of a tokenizer.json; CheckpointError when it is not one of ours."""
        try:
            # The library signals damaged JSON with a bare Exception.
            self._bpe = tokenizers.Tokenizer.from_str(json_text)
        except Exception as error:
            raise CheckpointError(f"the tokenizer is damaged ({error}); train it again or restore a copy") from error
        self._bpe.encode_special_tokens = True
        self._json = json_text
        self._bytes = self._byte_table()
        self.vocab_size = len(self._bytes)
        self.digest = hashlib.blake2b(json_text.encode(), digest_size=16).hexdigest()

    def _byte_table(self) -> list[bytes]:
        vocab = sorted(self._bpe.get_vocab().items(), key=lambda item: item[1])
        tokens = [token for token, _ in vocab]
        byte_of = _byte_of_char()
        is_ours = tuple(tokens[:NUM_SPECIAL]) == SPECIAL_TOKENS and [i for _, i in vocab] == list(range(len(vocab)))
        if not is_ours or not byte_of.keys() <= set(tokens):
            raise CheckpointError(
                f"the tokenizer has another vocabulary; expected {NUM_SPECIAL} special tokens from {SPECIAL_TOKENS[0]} "
                "on, then the 256 bytes"
            )
        table = [token.encode() for token in SPECIAL_TOKENS]
        return table + [bytes(byte_of[c] for c in token) for token in tokens[NUM_SPECIAL:]]

    eos = endoftext = 0
    pad = 1
    im_start = 2
    im_end = 3
    mask = 10

    def special(self, name: str) -> int:
        """The id of a special token by its text, such as "<tool_call>"."""
        return SPECIAL_TOKENS.index(name)

    @functools.cached_property
    def byte_lengths(self) -> NDArray[np.int64]:
        """(V,) UTF-8 bytes of text that each id stands for; 0 for special ids."""
        lengths = np.array([len(b) for b in self._bytes], np.int64)
        lengths[:NUM_SPECIAL] = 0
        return lengths

    def encode(self, text: str) -> list[int]:
        """Ids of a text, never special ones; DataError on half a surrogate pair, which is no Unicode text."""
        try:
            return list(self._bpe.encode(text, add_special_tokens=False).ids)
        except TypeError as error:
            raise _not_unicode([text], error) from error

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` of each text, on all cores."""
        try:
            return [e.ids for e in self._bpe.encode_batch_fast(list(texts), add_special_tokens=False)]
        except TypeError as error:
            raise _not_unicode(texts, error) from error

    def token_bytes(self, id: int) -> bytes:
        """The bytes that one id stands for; a special id stands for its own name."""
        if not 0 <= id < self.vocab_size:
            raise DataError(f"token id {id} is outside the vocabulary; expected 0 to {self.vocab_size - 1}")
        return self._bytes[id]

    def decode_bytes(self, ids: Iterable[int], skip_special: bool = False) -> bytes:
        """The bytes of ids, which may end inside a character."""
        return b"".join(self.token_bytes(int(i)) for i in ids if not (skip_special and 0 <= i < NUM_SPECIAL))

    def decode(self, ids: Iterable[int], skip_special: bool = False) -> str:
        """The text of ids; bytes that are no UTF-8 become U+FFFD."""
        return self.decode_bytes(ids, skip_special).decode("utf-8", errors="replace")

    def bytes_per_token(self, texts: Sequence[str]) -> float:
        """UTF-8 bytes that one token carries on average; higher compresses better."""
        num_tokens = sum(len(ids) for ids in self.encode_batch(texts))
        return sum(len(text.encode()) for text in texts) / max(num_tokens, 1)

    def save(self, directory: Path | str) -> None:
        """Write tokenizer.json and the two small files that `transformers.AutoTokenizer` reads beside it."""
        directory = Path(directory)
        # A turn ends with <|im_end|>, so that is the eos of chat programs; documents end with <|endoftext|>.
        named: dict[str, Any] = {"eos_token": SPECIAL_TOKENS[self.im_end], "pad_token": SPECIAL_TOKENS[self.pad]}
        write_json(directory / "special_tokens_map.json", named)
        config = {
            **named,
            "tokenizer_class": "PreTrainedTokenizerFast",
            "clean_up_tokenization_spaces": False,
            "chat_template": CHAT_TEMPLATE,
        }
        write_json(directory / "tokenizer_config.json", config)
        write_text(directory / "tokenizer.json", self._json)

    @classmethod
    def load(cls, directory: Path | str) -> Tokenizer:
        """The tokenizer saved in a directory; CheckpointError when it is missing, damaged or not one of ours."""
        path = Path(directory) / "tokenizer.json"
        read_json(path)
        try:
            return cls(path.read_text(encoding="utf-8"))
        except CheckpointError as error:
            raise CheckpointError(f"{path}: {error}") from error

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tokenizer) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"Tokenizer(vocab_size={self.vocab_size}, digest={self.digest!r})"

    def __reduce__(self) -> tuple[type[Tokenizer], tuple[str]]:
        return Tokenizer, (self._json,)


def _not_unicode(texts: Sequence[str], error: TypeError) -> Exception:
    """The library answers half a surrogate pair with a TypeError; a real one is given back as it is."""
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as bad:
            return DataError(f"text has half a surrogate pair at character {bad.start}; expected valid Unicode")
    return error
