"""Byte-pair encoding: any Unicode text to token ids and back without loss, by our own tokenizer or other people's.

A tokenizer is trained on an iterable of texts and saved as the files that `transformers.AutoTokenizer` opens. Ids 0 to 63
are special (end of text, roles, tools, image, mask, spare ones), 64 to 319 are the 256 bytes, the rest are merges. Opened
from a directory, the same class is also the tokenizer of Llama, Qwen, SmolLM, Mistral, Gemma or GPT-2. The one idea to
hold: special ids come from the program alone. Text, whoever wrote it, is always encoded as ordinary text, so a user who
types <|im_end|> cannot end a turn.

Our own text is first split into pre-tokens that no merge may cross: a Han run is never glued to Latin letters or
punctuation, digits go in groups of at most three (or each alone, if numbers are to be copied), a word takes at most one
space before it, and every newline stands alone, so that "assistant\\n" followed by anything is tokenised the same in
one piece or in two.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tokenizers import decoders, models, pre_tokenizers, trainers

from jielong.errors import CheckpointError, ConfigError, DataError, did_you_mean
from jielong.outside import own_text, parse_json
from jielong.runs import write_json, write_text
from jielong.tokens.fast import FastEncoder, chunks, in_order, merges_are_proper, num_threads
from jielong.tokens.foreign import (
    Layout,
    SideFiles,
    answer_marks,
    byte_of_char,
    check_tokenizer_json,
    mark_texts,
    read_layout,
    without_marks,
)
from jielong.tokens.templates import CHATML, ChatTemplate

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

CALL_MARKS = ("<tool_call>", "</tool_call>")
"""Those that an answer may hold before it ends."""

HAN_SPLITS = {"runs": r"\p{Han}+", "characters": r"\p{Han}"}
DIGIT_SPLITS = {"groups": r"\p{N}{1,3}", "single": r"\p{N}"}


@dataclass(frozen=True)
class TokenizerConfig:
    """`vocab_size` counts all ids, the 64 special ones and the 256 bytes included; a small text may give fewer.

    A pair of tokens seen less than `min_frequency` times is not merged. `han` says what merges may span in Chinese:
    "runs" of characters, or single "characters" (longer sequences, but a name is cut the same way in every sentence).
    `digits` says the same of numbers: "groups" of at most three, or each "single", so that a number is copied digit by digit.
    """

    vocab_size: int = 4096
    """Ids of the vocabulary, the special ones and bytes included; a small text may give fewer."""
    min_frequency: int = 2
    han: str = "runs"
    """What merges may span in Chinese: "runs" of characters, or single "characters"."""
    digits: str = "groups"
    """What merges may span in numbers: "groups" of at most three digits, or each "single"."""

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
        if self.digits not in DIGIT_SPLITS:
            raise ConfigError(f"digits is {self.digits!r}; expected one of {', '.join(DIGIT_SPLITS)}")


def _split_pattern(han: str, digits: str = "groups") -> str:
    """Return the regular expression that splits text into pre-tokens."""
    return "|".join(
        (
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)",
            HAN_SPLITS[han],
            r" ?(?:(?!\p{Han})[\p{L}\p{M}])+",
            DIGIT_SPLITS[digits],
            r"\r?\n",
            r" ?[^\s\p{L}\p{M}\p{N}\p{Han}]+",
            r"[^\S\n]+(?!\S)",
            r"[^\S\n]+",
        )
    )


def _fast_pattern(han: str, digits: str) -> str:
    """Return the same split for the engine of `tiktoken`: looking ahead is slow there, so only blanks do it, and they
    come last.
    """
    words = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)",
        HAN_SPLITS[han],
        r" ?[\p{L}\p{M}--\p{Han}]+",
        DIGIT_SPLITS[digits],
        r"\r?\n",
        r" ?[^\s\p{L}\p{M}\p{N}\p{Han}]+",
    )
    return f"(?:{'|'.join(words)})" + r"|[^\S\n]+(?!\S)|[^\S\n]+"


@functools.cache
def _pieces() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Split(tokenizers.Regex(_split_pattern("characters")), "isolated")


def estimate_tokens(text: str) -> int:
    """Estimate the number of tokens of a text for a model whose tokenizer is not known, from the pieces of our split.

    A Han character is one; a word is one for each six bytes begun, which is what vocabularies of 100,000 come to.
    """
    text = text.encode("utf-8", "replace").decode()
    return sum(1 + (len(piece.encode()) - 1) // 6 for piece, _ in _pieces().pre_tokenize_str(text))


def train_tokenizer(texts: Iterable[str], config: TokenizerConfig | None = None) -> Tokenizer:
    """Train a tokenizer whose merges are the frequent pairs of `texts`; the same texts give the same file, byte for
    byte.
    """
    config = config or TokenizerConfig()
    bpe = tokenizers.Tokenizer(models.BPE())
    split = pre_tokenizers.Split(tokenizers.Regex(_split_pattern(config.han, config.digits)), "isolated")
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


class Tokenizer:
    """A tokenizer, ids and text, both ways. Made by `train_tokenizer` or `Tokenizer.load`; does not change afterwards.

    `is_own`: one of ours, with our ChatML; otherwise `template` is the makers' chat template, or None. `endoftext` ends
    a document, `im_end` an assistant's turn, any of `stop_ids` an answer; `opening` (bos, mostly empty) begins every
    text.
    """

    def __init__(self, json_text: str, beside: SideFiles | None = None, data: Mapping[str, Any] | None = None) -> None:
        """Build it from the text of a tokenizer.json, another's with the files `beside` it. Raises CheckpointError if
        damaged.

        `data` is the parsed text, if that is at hand: parsing 150,000 tokens takes a second.
        """
        self._json, self._beside = json_text, beside
        self.is_own = beside is None
        data = _parse_checked(json_text) if data is None else data
        self._data: Mapping[str, Any] | None = data
        self._added: Sequence[Mapping[str, Any]] = data.get("added_tokens") or ()
        layout = self._own_layout(data) if beside is None else read_layout(data, beside)
        self._table, self.marks, self._strips_space = layout.table, layout.marks, layout.strips_space
        self.vocab_size = len(layout.table)
        self.endoftext = self.eos = layout.endoftext
        self.pad, self.im_end, self.stop_ids, self.opening = layout.pad, layout.im_end, layout.stop_ids, layout.opening
        self.template: ChatTemplate | None = layout.template
        self._special_ids = frozenset(layout.marks.values())
        self._num_encoded = 0
        said = json_text if beside is None else json.dumps([json_text, sorted(beside.files.items()), beside.eos_ids])
        self.digest = hashlib.blake2b(said.encode(), digest_size=16).hexdigest()

    def _own_layout(self, data: Mapping[str, Any]) -> Layout:
        """Return the meaning of the ids of one of our own tokenizers. Raises CheckpointError if its vocabulary is
        another.
        """
        vocab = sorted(self._plain.get_vocab().items(), key=lambda item: item[1])
        tokens = [token for token, _ in vocab]
        byte_of = byte_of_char()
        is_ours = tuple(tokens[:NUM_SPECIAL]) == SPECIAL_TOKENS and [i for _, i in vocab] == list(range(len(vocab)))
        is_ours = is_ours and data["model"].get("unk_token") is None  # bytes leave nothing unknown
        is_ours = is_ours and _is_own(data) and all(byte_of.keys() >= set(t) for t in tokens[NUM_SPECIAL:])
        if not is_ours or not byte_of.keys() <= set(tokens):
            raise CheckpointError(
                f"the tokenizer has another vocabulary; expected {NUM_SPECIAL} special tokens from {SPECIAL_TOKENS[0]} "
                "on, then the 256 bytes"
            )
        table = [token.encode() for token in SPECIAL_TOKENS]
        table += [bytes(byte_of[c] for c in token) for token in tokens[NUM_SPECIAL:]]
        marks = {token: id for id, token in enumerate(SPECIAL_TOKENS)}
        return Layout(table, marks, endoftext=0, pad=1, im_end=3, stop_ids=(3, 0))

    def special(self, name: str) -> int:
        """Return the id of a special token by its text, such as "<tool_call>". Raises ConfigError if there is none."""
        if name not in self.marks:
            raise ConfigError(f"the tokenizer has no special token {name!r}; {did_you_mean(name, self.marks)}")
        return self.marks[name]

    def is_special(self, id: int) -> bool:
        """Whether this id stands for no text: no text is encoded to it."""
        return id in self._special_ids

    @property
    def im_start(self) -> int:
        return self.special("<|im_start|>")

    @property
    def mask(self) -> int:
        return self.special("<|mask|>")

    @functools.cached_property
    def byte_lengths(self) -> NDArray[np.int64]:
        """Return the (V,) UTF-8 bytes of text that each id stands for, or 0 for special ids."""
        lengths = np.array([len(b) for b in self._table], np.int64)
        lengths[list(self._special_ids)] = 0
        return lengths

    @functools.cached_property
    def marks_of_answers(self) -> frozenset[int]:
        """Return the special ids that an answer may hold before it ends: those around calls and thoughts in the chat
        template.
        """
        texts: Iterable[str] = CALL_MARKS if self.is_own else ()
        if self.template:
            texts = answer_marks(self.template, self.marks)
        return frozenset(self.marks[text] for text in texts) - {*self.stop_ids}

    def suppressed_ids(self, num_ids: int) -> list[int]:
        """Return those of a model's `num_ids` that no answer holds: special ids of other uses, and ids that stand for
        nothing.
        """
        return [*sorted(self._special_ids - self.marks_of_answers - {*self.stop_ids}), *range(self.vocab_size, num_ids)]

    # Three encoders over the same vocabulary, made when first asked for.

    @functools.cached_property
    def _plain(self) -> Any:
        """The library's tokenizer for ordinary text: no text becomes a special id."""
        data, self._data = self._data, None  # many megabytes, and not needed again
        if self._beside is None:
            return _load_library(self._json)
        data = _parse_checked(self._json) if data is None else data
        return _load_library(json.dumps(without_marks(data, mark_texts(data, self._beside.template()))))

    @functools.cached_property
    def _marking(self) -> Any:
        """The library's tokenizer for the output of chat templates: the text of a mark becomes that mark."""
        return _load_library(self._json, encode_special_tokens=False)

    @functools.cached_property
    def _fast(self) -> FastEncoder | None:
        """The fast encoder with the ids of `_plain`, if that is verified: for our own tokenizers."""
        if not self.is_own:
            return None
        data = _parse_checked(self._json)
        parts = (data.get("pre_tokenizer") or {}).get("pretokenizers") or [{}]
        pattern = (parts[0].get("pattern") or {}).get("Regex")
        splits = next((s for s in itertools.product(HAN_SPLITS, DIGIT_SPLITS) if _split_pattern(*s) == pattern), None)
        if splits is None or not merges_are_proper(data, NUM_SPECIAL):
            return None
        ranks = {token: id for id, token in enumerate(self._table) if id >= NUM_SPECIAL}
        return FastEncoder(ranks, _fast_pattern(*splits), self.endoftext)

    def encode(self, text: str) -> list[int]:
        """Encode a text, never to special ids. Raises DataError for half a surrogate pair, which is no Unicode text."""
        _check_unicode(text)
        self._num_encoded += len(text)
        # To make the fast encoder takes as long as to encode this much without it: a short chat starts sooner.
        is_worth_it = self._num_encoded > 100_000 or "_fast" in self.__dict__
        ids = self._fast.encode(text) if is_worth_it and self._fast else None
        return list(self._plain.encode(text, add_special_tokens=False).ids) if ids is None else ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Encode each text, on all cores."""
        num_extra = len(self.opening) + 1
        return [ids[num_extra - 1 : len(ids) - 1].tolist() for ids in self.encode_documents(texts)]

    def encode_documents(
        self, texts: Iterable[str], threads: int | None = None
    ) -> Generator[NDArray[np.uint32], None, None]:
        """Yield the ids of each text as a document, in order: (L,) uint32, begun by `opening` and ended by `endoftext`.

        Texts are read a little ahead and encoded on `threads` threads (all cores that the process may use) while the
        reader works; memory does not grow with their number.
        """
        threads = num_threads() if threads is None else threads
        if self._fast is None:  # the library has threads of its own
            threads = 1
        for some in in_order(self._encode_chunk, chunks(texts), threads):
            yield from some

    def _encode_chunk(self, texts: list[str]) -> list[NDArray[np.uint32]]:
        """Encode some texts as documents, joined in one call if that can be done."""
        for text in texts:
            _check_unicode(text)
        if self._fast is None:
            encoded = self._plain.encode_batch_fast(texts, add_special_tokens=False)
            return [np.array([*self.opening, *e.ids, self.endoftext], np.uint32) for e in encoded]
        is_joined = [self._fast.can_join(text) for text in texts]
        joined = self._fast.encode_joined([t for t, joins in zip(texts, is_joined, strict=True) if joins])
        ends = (np.flatnonzero(joined == self.endoftext) + 1).tolist()
        parts = iter([joined[start:end] for start, end in itertools.pairwise([0, *ends])])
        return [
            next(parts) if joins else np.array([*self.encode(text), self.endoftext], np.uint32)
            for text, joins in zip(texts, is_joined, strict=True)
        ]

    def encode_marked(self, text: str, breaker: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Encode the output of a chat template; returns ids, and where the characters of each begin and end in `text`.

        The text of a mark is that mark, unless `breaker`, a character that is then left out, stands inside it.
        Positions count without breakers.
        """
        if breaker not in text:
            whole = self._marking.encode(text, add_special_tokens=False)
            return list(whole.ids), list(whole.offsets)
        ids: list[int] = []
        spans: list[tuple[int, int]] = []
        at = start = 0
        for found in itertools.chain(self.mark_pattern.finditer(text), [None]):
            piece = text[start : found.start() if found else None].replace(breaker, "")
            if piece:
                encoding = (self._inside if at else self._plain).encode(piece, add_special_tokens=False)
                ids += encoding.ids
                spans += [(at + a, at + b) for a, b in encoding.offsets]
                at += len(piece)
            if found:
                width = len(found.group())
                ids.append(self.marks[found.group(found.lastindex or 0)])
                spans.append((at, at + width))
                at, start = at + width, found.end()
        return ids, spans

    @functools.cached_property
    def mark_pattern(self) -> re.Pattern[str]:
        """A pattern for a mark in text, with the blanks beside it that it swallows; its own text is the group that
        matched.
        """
        added = {a["content"]: a for a in self._added}

        def one(mark: str) -> str:
            before, after = (r"\s*" if added[mark].get(side) else "" for side in ("lstrip", "rstrip"))
            return f"{before}({re.escape(mark)}){after}"

        return _any_of(one(m) for m in sorted(self.marks, key=len, reverse=True))

    @functools.cached_property
    def marks_of_others(self) -> re.Pattern[str]:
        """A pattern for marks that a user, a system message or a tool may not write."""
        return _any_of(re.escape(m) for m in sorted(self.marks, key=len, reverse=True))

    @functools.cached_property
    def marks_of_nobody(self) -> re.Pattern[str]:
        """A pattern for marks flagged special, which the assistant's words may not hold either."""
        special = {a["content"] for a in self._added if a.get("special")}
        return _any_of(re.escape(m) for m in sorted(self.marks, key=len, reverse=True) if m in special)

    @functools.cached_property
    def _inside(self) -> Any:
        """The tokenizer `_plain` for text in the middle, as some tokenizers put a space before a beginning."""
        data = json.loads(self._plain.to_str())
        first = '"prepend_scheme": "first"'
        text = json.dumps(data)
        return _load_library(text.replace(first, '"prepend_scheme": "never"')) if first in text else self._plain

    def token_bytes(self, id: int) -> bytes:
        """Return the bytes of one id; a special id stands for its own name."""
        if not 0 <= id < self.vocab_size:
            raise DataError(f"token id {id} is outside the vocabulary; expected 0 to {self.vocab_size - 1}")
        return self._table[id]

    def decode_bytes(self, ids: Iterable[int], skip_special: bool = False) -> bytes:
        """Return the bytes of ids, which may end inside a character."""
        return b"".join(self.token_bytes(int(i)) for i in ids if not (skip_special and i in self._special_ids))

    def decode(self, ids: Iterable[int], skip_special: bool = False) -> str:
        """Return the text of ids; bytes that are not UTF-8 become U+FFFD."""
        text = self.decode_bytes(ids, skip_special).decode("utf-8", errors="replace")
        return text.removeprefix(" ") if self._strips_space else text

    def bytes_per_token(self, texts: Sequence[str]) -> float:
        """Return the average number of UTF-8 bytes per token; higher compresses better."""
        num_tokens = sum(len(ids) - len(self.opening) - 1 for ids in self.encode_documents(texts))
        return sum(len(text.encode()) for text in texts) / max(num_tokens, 1)

    def to_json(self) -> str:
        """Return the text of tokenizer.json."""
        return self._json

    def with_template(self, source: str) -> Tokenizer:
        """Return the tokenizer with this chat template (Jinja), for one of others that came without."""
        if self._beside is None:
            raise ConfigError("our own tokenizer speaks ChatML; a chat template can only be given to another's")
        files = {**self._beside.files, "chat_template.jinja": source}
        return Tokenizer(self._json, replace(self._beside, files=files))

    def save(self, directory: Path | str) -> None:
        """Write tokenizer.json and the small files that `transformers.AutoTokenizer` reads beside it."""
        directory = Path(directory)
        for name, text in (self._beside.files if self._beside else {}).items():
            write_text(directory / name, text)
        if self._beside is None:
            # A turn ends with <|im_end|>, so that is the eos of chat programs; documents end with <|endoftext|>.
            named: dict[str, Any] = {"eos_token": SPECIAL_TOKENS[self.im_end], "pad_token": SPECIAL_TOKENS[self.pad]}
            write_json(directory / "special_tokens_map.json", named)
            config = {
                **named,
                "tokenizer_class": "PreTrainedTokenizerFast",
                "clean_up_tokenization_spaces": False,
                "chat_template": CHATML,
            }
            write_json(directory / "tokenizer_config.json", config)
        write_text(directory / "tokenizer.json", self._json)

    @classmethod
    def load(cls, directory: Path | str) -> Tokenizer:
        """Load the tokenizer in a directory, ours or another's. Raises CheckpointError if it is missing, damaged or of
        no known kind.

        Another's stop ids come from generation_config.json, config.json and its chat template.
        """
        path = Path(directory) / "tokenizer.json"
        if not path.exists():
            raise CheckpointError(f"{path} does not exist; expected the file of a tokenizer there")
        text = own_text(path)
        try:
            data = _parse_checked(text)
            return cls(text, None if _is_own(data) else SideFiles.read(path.parent), data)
        except CheckpointError as error:
            raise CheckpointError(f"{path}: {error}") from error

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tokenizer) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"Tokenizer(vocab_size={self.vocab_size}, digest={self.digest!r})"

    def __reduce__(self) -> tuple[type[Tokenizer], tuple[str, SideFiles | None]]:
        return Tokenizer, (self._json, self._beside)


def _is_own(data: Mapping[str, Any]) -> bool:
    """Whether a parsed tokenizer.json is one of ours, by its first special tokens."""
    added = data.get("added_tokens")
    first = added[:NUM_SPECIAL] if isinstance(added, list) else []
    return tuple(a.get("content") for a in first if isinstance(a, dict)) == SPECIAL_TOKENS


def _parse_checked(json_text: str) -> dict[str, Any]:
    """Parse a tokenizer.json and check its parts. Raises CheckpointError if it is damaged."""
    try:
        return check_tokenizer_json(parse_json(json_text))
    except DataError as error:
        raise _damaged(error) from error


def _load_library(json_text: str, *, encode_special_tokens: bool = True) -> Any:
    """Build the `tokenizers` library's object from a tokenizer.json. Raises CheckpointError if it is damaged."""
    try:
        # The library signals damaged JSON with a bare Exception, or fails inside with what is not even that.
        made = tokenizers.Tokenizer.from_str(json_text)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise _damaged(error) from error
    made.encode_special_tokens = encode_special_tokens
    return made


def _damaged(error: BaseException) -> CheckpointError:
    return CheckpointError(f"the tokenizer is damaged ({error}); train it again or restore a copy")


def _any_of(patterns: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(patterns) or r"(?!)")


def _check_unicode(text: str) -> None:
    """Raise DataError for half a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError as bad:
        raise DataError(f"text has half a surrogate pair at character {bad.start}; expected valid Unicode") from bad
