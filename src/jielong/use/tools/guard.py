"""What comes from documents, pages and tools is data: this is how it is kept from speaking with anybody's voice.

Four steps, in order. What a reader of the page would not see is taken out: comments, hidden elements, invisible characters.
Marks of chat formats are rewritten so that no server reads them as its own. Sentences that read like instructions to a
model are taken out, with a word where one stood. What is left stands between two lines whose key is made of the text, so
that no text can close its own frame (spotlighting by delimiters; with `datamark` a sign also replaces every blank, Hines et
al. 2024, arXiv 2403.14720). None of this is proof: a tool that changes something asks a person all the same.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import html
import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass

from jielong.use.prompting import fill, language_of
from jielong.use.tools.orders import calling, is_order

_HIDDEN = (
    re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL),
    re.compile(r"<(script|style|template|noscript)\b.*?(?:</\1\s*>|\Z)", re.DOTALL | re.IGNORECASE),
    re.compile(
        r"<(\w+)\b[^<>]*(?:\bhidden\b|aria-hidden\s*=\s*[\"']?true|display\s*:\s*none|visibility\s*:\s*hidden"
        r"|font-size\s*:\s*0|opacity\s*:\s*0(?:\.0+)?\s*[;\"'])[^<>]*>.*?(?:</\1\s*>|\Z)",
        re.DOTALL | re.IGNORECASE,
    ),
)
_MARK = re.compile(
    r"<(?=\s*[|｜/]?\s*(?:im_start|im_end|endoftext|eot_id|start_header_id|end_header_id|begin_of_text|start_of_turn|end_of_turn"
    r"|system|user|assistant|tool|tool_calls?|tool_response|function_calls?|think|s|eos|bos)\b[^<>]{0,40}[|｜]?\s*>|[|｜])"
    r"|\[(?=/?(?:INST|SYS|TOOL_CALLS|TOOL_RESULTS|AVAILABLE_TOOLS)\])",
    re.IGNORECASE,
)
_ROLE = re.compile(
    r"(?im)^[ \t#>*\[]*(system|assistant|user|developer|tool|系统|助手|用户)(?:[ \t]*message)?[ \t\]*]*[:：]"
)
_SENTENCE = re.compile(r"[^.!?。！？\n]+(?:[.!?。！？]+[\"'”’)）]*|\n|\Z)|\n")
_PICTURE = re.compile(r"!\[([^\]\n]*)\]\([^)\n]*\)")
_BASE64 = re.compile(r"\b[A-Za-z0-9+/]{24,}={0,2}")


@dataclass(frozen=True)
class Guarded:
    """A text made safe to show to a model, and the sentences of it that were left out."""

    text: str
    left_out: tuple[str, ...] = ()


def guarded(text: str, source: str, tools: Collection[str] = (), *, datamark: bool = False) -> Guarded:
    """The text of `source` (a tool's name, say) as data: without instructions, without marks, framed.

    `tools` are the names of those that could be called: a sentence that says to use one of them is an instruction.
    """
    kept, left_out = without_instructions(visible(text), tools)
    kept = unmarked(kept)
    language = language_of(kept)
    name = "data_marked" if datamark else "data"
    if datamark:
        kept = re.sub(r"\s+", "^", kept)
    key = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
    return Guarded(fill(name, language, text=kept, source=source, key=key), left_out)


def visible(text: str) -> str:
    """The text as a reader sees it: no comments, hidden elements, addresses of pictures or invisible characters."""
    for pattern in _HIDDEN:
        text = pattern.sub("", text)
    text = _PICTURE.sub(r"[\1]", text)
    shown = (c for c in text if unicodedata.category(c) not in ("Cf", "Co", "Cs") and (c in "\n\t" or c.isprintable()))
    return "".join(shown)


def unmarked(text: str) -> str:
    """The text with the opening sign of every mark of a chat format, and of every line that names a speaker, rewritten."""
    text = _MARK.sub(lambda m: "‹" if m.group() == "<" else "(", text)
    return _ROLE.sub(lambda m: f"“{m[1]}” -", text)


_MARKUP = re.compile(r"</?[a-zA-Z][^<>]{0,80}>|\*\*|__|`")
_HAN_BLANK = re.compile(r"(?<=[\u3400-\u9fff])[ \t]+(?=[\u3400-\u9fff])")
_ALIKE = str.maketrans("аеорсухіјѕԁԛԝАВЕКМНОРСТХ", "aeopcyxijsdqwABEKMHOPCTX")
"""Cyrillic letters that look like Latin ones."""


def is_instruction(sentence: str, tools: Collection[str] = ()) -> bool:
    """Whether a sentence reads as if it told a model what to do, or to use one of `tools`; also one hidden in base64."""
    use = calling(tuple(tools))
    shown = _MARKUP.sub(" ", unicodedata.normalize("NFKC", html.unescape(sentence)).translate(_ALIKE))
    said = [_HAN_BLANK.sub("", " ".join(shown.split())), *map(_decoded, _BASE64.findall(sentence))]
    return any(is_order(text) or use.search(text) for text in said)


def sentences(text: str) -> list[str]:
    """The sentences of a text; a line ends one."""
    return [said for found in _SENTENCE.findall(text) if (said := found.strip())]


def without_instructions(text: str, tools: Collection[str] = ()) -> tuple[str, tuple[str, ...]]:
    """The text with a word in place of each sentence that reads like an instruction, and those sentences."""
    left_out: list[str] = []
    word = fill("left_out", language_of(text))

    def look(found: re.Match[str]) -> str:
        sentence = found.group()
        if not is_instruction(sentence, tools):
            return sentence
        left_out.append(sentence.strip())
        return word + ("\n" if sentence.endswith("\n") else " ")

    return _SENTENCE.sub(look, text), tuple(left_out)


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
