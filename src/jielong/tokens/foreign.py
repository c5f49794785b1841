"""Tokenizers of others: the bytes of each id, special marks and stop ids, read from the files of Hugging Face's layout.

A directory holds tokenizer.json (vocabulary, merges, how text is cut) and beside it settings: tokenizer_config.json
(names of special tokens, the chat template), chat_template.jinja, and the ids that end an answer in
generation_config.json or config.json. Two kinds of vocabulary are read, both byte-pair encoding: byte-level ones
(GPT-2, Llama-3, Qwen, SmolLM), whose letters stand for bytes, and those of SentencePiece's kind (Llama-2, Mistral,
Gemma), where "▁" is a space and <0x0A> a byte.

A mark is an id that only the program may write: every token flagged special, and an added token that the chat template
writes itself, such as Qwen's <tool_call>.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jielong.errors import CheckpointError, DataError
from jielong.outside import Fields, is_whole, kind_of, own_object, own_text, parse_json
from jielong.tokens.templates import ChatTemplate

_KEPT_FILES = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja")
_NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
MAX_IDS = 1 << 22
"""More ids than any vocabulary has; a table with a place for each of them is made."""
_ENDS_OF_TEXT = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>")


def byte_of_char() -> dict[str, int]:
    """Map each character of a byte-level vocabulary to its byte.

    Printable Latin-1 characters stand for themselves, the other bytes in order for the characters from U+0100 on (the
    convention of GPT-2's vocabulary files).
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [b for b in range(256) if b not in printable]
    return {chr(b): b for b in printable} | {chr(0x100 + i): b for i, b in enumerate(others)}


@dataclass(frozen=True)
class SideFiles:
    """The settings beside a tokenizer.json. `files` are the texts by name, kept so that they can be written again."""

    files: Mapping[str, str] = field(default_factory=dict)
    eos_ids: tuple[int, ...] = ()
    pad_id: int | None = None

    @classmethod
    def read(cls, directory: Path) -> SideFiles:
        """Read them from a directory; missing files are left out, damaged ones are a CheckpointError."""
        files = {n: own_text(directory / n) for n in _KEPT_FILES if (directory / n).exists()}
        eos: list[int] = []
        pad: int | None = None
        for name in ("generation_config.json", "config.json"):
            path = directory / name
            settings = Fields(own_object(path) if path.exists() else {}, str(path), CheckpointError)
            ids = settings.take("eos_token_id", None)
            ids = ids if isinstance(ids, list) else [] if ids is None else [ids]
            if not all(map(is_whole, ids)):
                settings.wrong("eos_token_id", "an id, or a list of them")
            eos += ids
            # some files have -1 for none
            mine = settings.whole("pad_token_id", None, low=-1)
            pad = mine if pad is None else pad
        return cls(files, tuple(dict.fromkeys(eos)), pad)

    def json_of(self, name: str) -> dict[str, Any]:
        """Parse one file as a JSON object, empty if it is missing. Raises CheckpointError if it is damaged."""
        try:
            found = parse_json(self.files.get(name, "{}"))
        except DataError as error:
            raise CheckpointError(f"{name} is damaged ({error}); restore a copy") from error
        if not isinstance(found, dict):
            raise CheckpointError(f"{name} is damaged (it holds {kind_of(found)}, no object); restore a copy")
        return found

    def names(self) -> dict[str, str]:
        """Return the text of the named special tokens: bos_token, eos_token and so on."""
        found = {**self.json_of("special_tokens_map.json"), **self.json_of("tokenizer_config.json")}
        texts = {n: t.get("content") if isinstance(t := found.get(n), dict) else t for n in _NAMES}
        return {n: t for n, t in texts.items() if isinstance(t, str)}

    def template(self) -> str | None:
        """Return the text of the chat template: chat_template.jinja, or the (default) one in tokenizer_config.json."""
        if "chat_template.jinja" in self.files:
            return self.files["chat_template.jinja"]
        template = self.json_of("tokenizer_config.json").get("chat_template")
        if isinstance(template, list):
            named = [t for t in template if isinstance(t, dict) and isinstance(t.get("name"), str)]
            by_name = {t["name"]: t.get("template") for t in named}
            template = by_name.get("default", next(iter(by_name.values()), None))
        return template if isinstance(template, str) else None


@dataclass(frozen=True)
class Layout:
    """The meaning of each id. `table`: its bytes. `marks`: the ids, by text, that only the program may write."""

    table: list[bytes]
    marks: Mapping[str, int]
    endoftext: int
    pad: int
    im_end: int
    stop_ids: tuple[int, ...]
    opening: tuple[int, ...] = ()
    template: ChatTemplate | None = None
    strips_space: bool = False


def check_tokenizer_json(data: Any) -> dict[str, Any]:
    """Return a parsed tokenizer.json after checking the kinds of the parts read here. Raises CheckpointError, which
    names what is wrong.
    """
    whole = Fields(data, "tokenizer.json", CheckpointError)
    model = whole.inner("model")
    model.text("type", None)
    model.text("unk_token", None)
    for name in ("continuing_subword_prefix", "end_of_word_suffix"):
        model.demand(name, None, "")
    vocab = model.take("vocab", {})
    if not isinstance(vocab, dict) or not all(type(id) is int and 0 <= id < MAX_IDS for id in vocab.values()):
        raise CheckpointError(
            f"the vocabulary of tokenizer.json is damaged; expected tokens with ids below {MAX_IDS:,}"
        )
    merges = model.take("merges", [])
    if not isinstance(merges, list) or not all(map(_is_merge, merges)):
        raise CheckpointError("the merges of tokenizer.json are damaged; expected a list of pairs of tokens")
    for token in whole.inners("added_tokens", None):
        token.text("content")
        token.whole("id", high=MAX_IDS - 1)
        for name in ("special", "lstrip", "rstrip", "normalized", "single_word"):
            token.flag(name, False)
    for name in ("normalizer", "pre_tokenizer", "decoder", "post_processor"):
        if whole.take(name, None) is not None:
            _check_part(whole.inner(name))
    return whole.data


def _is_merge(merge: Any) -> bool:
    """Whether a value is a merge: a text with a blank between two tokens, or a list of two texts."""
    if isinstance(merge, str):
        return merge.count(" ") >= 1
    return isinstance(merge, list) and len(merge) == 2 and all(isinstance(token, str) for token in merge)


def _check_part(part: Fields) -> None:
    """Raise CheckpointError unless a part of the pipeline, and all parts within it, have a type."""
    part.text("type")
    for name in _SEQUENCES:
        for inner in part.inners(name, []):
            _check_part(inner)


_SEQUENCES = ("decoders", "pretokenizers", "processors", "normalizers")


def _components(part: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    """Yield a normalizer, pre-tokenizer, decoder or post-processor, or the parts of a sequence of them."""
    if part is None:
        return
    for name in _SEQUENCES:
        for inner in part.get(name, ()):
            yield from _components(inner)
    yield part


def mark_texts(data: Mapping[str, Any], template: str | None) -> dict[str, Mapping[str, Any]]:
    """Return the added tokens that are marks, by their text."""
    written = template or ""
    return {
        a["content"]: a
        for a in data.get("added_tokens") or ()
        if a.get("special") or (a["content"].strip() and a["content"] in written)
    }


def without_marks(data: Mapping[str, Any], marks: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tokenizer.json in which the text of a mark is ordinary text: no added token, merge or word leads to one.

    Ids stay; the marks' names get a noncharacter (U+FFFF) on both sides, and nothing but their ids refers to them.
    """

    def hide(name: str) -> str:
        return f"\uffff{name}\uffff" if name in marks else name

    model = {"vocab": {}, "merges": [], **data["model"]}
    pairs = ((m, m.split(" ", 1) if isinstance(m, str) else m) for m in model["merges"])
    model["merges"] = [m for m, (a, b) in pairs if a + b not in marks and a not in marks and b not in marks]
    model["vocab"] = {hide(token): id for token, id in model["vocab"].items()}
    if model.get("unk_token"):
        model["unk_token"] = hide(model["unk_token"])
    added = [
        {**a, "content": hide(a["content"]), "special": True} if a["content"] in marks else a
        for a in data.get("added_tokens") or ()
    ]
    return {**data, "model": model, "added_tokens": added, "post_processor": None}


def read_layout(data: Mapping[str, Any], beside: SideFiles) -> Layout:
    """Read the meaning of each id from a checked tokenizer.json and the files beside it. Raises CheckpointError for
    other kinds than BPE.
    """
    kind = data["model"].get("type") or ("BPE" if "merges" in data["model"] else None)
    if kind != "BPE":
        raise CheckpointError(f"the tokenizer's model is of type {kind!r}; expected 'BPE'")
    template_text = beside.template()
    marked = mark_texts(data, template_text)
    table = _bytes_table(data, marked)
    marks = {text: int(a["id"]) for text, a in marked.items()}
    names = beside.names()
    eos = next((marks[t] for t in (names.get("eos_token"), *_ENDS_OF_TEXT) if t in marks), None)
    endoftext = next((marks[t] for t in _ENDS_OF_TEXT if t in marks), eos)
    ids = [i for i in beside.eos_ids if i < len(table)]
    if endoftext is None and not ids:
        raise CheckpointError("the tokenizer names no token that ends a text; expected an eos_token")
    endoftext = ids[0] if endoftext is None else endoftext
    template = None if template_text is None else ChatTemplate(template_text, names)
    turn_end = None if template is None or template.fault else _turn_end(template, marks)
    im_end = next(i for i in (turn_end, eos, *ids, endoftext) if i is not None)
    stops = tuple(dict.fromkeys((im_end, *ids, *([] if eos is None else [eos]), endoftext)))
    pad = marks.get(names.get("pad_token", ""), beside.pad_id)
    return Layout(
        table=table,
        marks=marks,
        endoftext=endoftext,
        pad=endoftext if pad is None or not 0 <= pad < len(table) else pad,
        im_end=im_end,
        stop_ids=stops,
        opening=_opening(data, beside, names, marks, len(table)),
        template=template,
        strips_space=_strips_space(data),
    )


def _bytes_table(data: Mapping[str, Any], marks: Mapping[str, Any]) -> list[bytes]:
    """Return the bytes of each id, from the vocabulary and the added tokens."""
    vocab: Mapping[str, int] = data["model"].get("vocab", {})
    added = data.get("added_tokens") or ()
    is_byte_level = any(part["type"] == "ByteLevel" for part in _components(data.get("decoder")))
    byte_of = byte_of_char()

    def as_bytes(token: str) -> bytes:
        """Return the bytes of a token by the convention of its vocabulary."""
        if is_byte_level:
            known = [byte_of.get(c) for c in token]
            return token.encode() if None in known else bytes(b for b in known if b is not None)
        if re.fullmatch(r"<0x[0-9A-Fa-f]{2}>", token):
            return bytes([int(token[3:5], 16)])
        return token.replace("▁", " ").encode()

    table = [b""] * (1 + max([*vocab.values(), *(a["id"] for a in added)], default=0))
    for token, id in vocab.items():
        table[id] = as_bytes(token)
    for a in added:
        text = a["content"]
        table[a["id"]] = text.encode() if is_byte_level or text in marks else as_bytes(text)
    return table


def _opening(
    data: Mapping[str, Any], beside: SideFiles, names: Mapping[str, str], marks: Mapping[str, int], num_ids: int
) -> tuple[int, ...]:
    """Return the ids with which every text begins (BOS), as the post-processor or the settings say."""
    settings = Fields(beside.json_of("tokenizer_config.json"), "tokenizer_config.json", CheckpointError)
    says = settings.flag("add_bos_token", None)
    bos = marks.get(names.get("bos_token", ""))
    if says is not None:
        return (bos,) if says and bos is not None else ()
    opening: list[int] = []
    for part in _components(data.get("post_processor")):
        if part["type"] == "TemplateProcessing":
            fields = Fields(part, "the post_processor of tokenizer.json", CheckpointError)
            for piece in fields.inners("single"):
                if "SpecialToken" not in piece.data:
                    break
                name = piece.inner("SpecialToken").text("id")
                opening += fields.inner("special_tokens").inner(name).wholes("ids", high=num_ids - 1)
    return tuple(opening)


def _strips_space(data: Mapping[str, Any]) -> bool:
    """Whether a space is put before a text when it is encoded and removed when it is decoded."""
    for part in _components(data.get("decoder")):
        if part["type"] == "Strip" and part.get("start"):
            return True
        if part["type"] == "Metaspace":
            return bool(
                part.get("prepend_scheme", "always" if part.get("add_prefix_space", True) else "never") != "never"
            )
    return False


def answer_marks(template: ChatTemplate, marks: Mapping[str, int]) -> set[str]:
    """Return the marks that an assistant's answer may hold in this template, such as those around calls and thoughts.

    They are the marks that it writes in an answer, and those that it names and does not write around the words of
    others.
    """
    named = {text for text in marks if text in template.source}
    try:
        asked, answered, called, told = template.texts(template.probes())
    except (CheckpointError, DataError):
        return named
    after = told.removeprefix(called) if told.startswith(called) else ""
    of_answers = answered.removeprefix(asked) if answered.startswith(asked) else ""
    return {text for text in marks if text in of_answers} | {t for t in named if t not in asked and t not in after}


def _turn_end(template: ChatTemplate, marks: Mapping[str, int]) -> int | None:
    """Return the mark that the template writes after an assistant's words."""
    words = "jielong-assistant-words"
    talk = [{"role": "user", "content": "a"}, {"role": "assistant", "content": words}]
    try:
        after = template.text(talk).rpartition(words)[2]
    except (CheckpointError, DataError):
        return None
    found = [(after.find(text), -len(text), id) for text, id in marks.items() if text in after]
    return min(found)[2] if found else None
