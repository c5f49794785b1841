"""The guard against injected instructions: texts from documents, pages and tools are shown to a model as data.

Four steps, in order. Parts that a reader of the page would not see are taken out: comments, hidden elements, invisible
characters. Marks of chat formats are rewritten so that no server reads them as its own. Sentences that read like
instructions to a model are taken out, with a word where one stood; so are those that run over lines, be it a word a
line. The rest stands between two lines with a random key of 64 bits, so that no text can close its own frame
(spotlighting by delimiters; with `datamark` a sign also replaces every blank, Hines et al. 2024, arXiv 2403.14720).
None of this is proof: a tool that changes something asks a person all the same.
"""

from __future__ import annotations

import base64
import binascii
import html
import itertools
import re
import secrets
import unicodedata
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from jielong.use.prompting import fill, language_of
from jielong.use.tools.folding import folded
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
    r"|sys|system|user|assistant|tool|tool_calls?|tool_response|function_calls?|think|s|eos|bos)\b[^<>]{0,40}[|｜]?\s*>|[|｜])"
    r"|\[(?=/?(?:INST|SYS|TOOL_CALLS|TOOL_RESULTS|AVAILABLE_TOOLS)\])",
    re.IGNORECASE,
)
_ROLE = re.compile(
    r"(?im)^[ \t#>*\[【〔〖]*(system|assistant|user|developer|tool|系统|助手|用户)(?:[ \t]*message)?[ \t\]*】〕〗]*"
    r"(?:[:：]|(?<=[】〕〗]))"
)
_AROUND_ROLE = " \t#>*[]【】〔〕〖〗:："
_SENTENCE = re.compile(r"[^.!?。！？\n]+(?:[.!?。！？]+[\"'”’)）]*|\n|\Z)|\n")
_PICTURE = re.compile(r"!\[([^\]\n]*)\]\([^)\n]*\)")
_BASE64 = re.compile(r"\b[A-Za-z0-9+/]{24,}={0,2}")


@dataclass(frozen=True)
class GuardedText:
    """A text made safe to show to a model, and the sentences of it that were left out."""

    text: str
    left_out: tuple[str, ...] = ()


def new_key() -> str:
    """Return a random key for a frame."""
    return secrets.token_hex(8)


def guard_text(
    text: str, source: str, tools: Collection[str] = (), *, datamark: bool = False, key: str = ""
) -> GuardedText:
    """Make the text of `source` (a tool's name, say) safe: without instructions, without marks, framed.

    `tools` are the names of those that could be called: a sentence that says to use one of them is an instruction.
    `key` is given only if a prompt must be the same again, such as in a measurement.
    """
    kept, left_out = without_instructions(visible_text(text), tools)
    kept = defuse_marks(kept)
    language = language_of(kept)
    name = "data_marked" if datamark else "data"
    if datamark:
        kept = re.sub(r"\s+", "^", kept)
    return GuardedText(fill(name, language, text=kept, source=source, key=key or new_key()), left_out)


def visible_text(text: str) -> str:
    """Return the text as a reader sees it: no comments, hidden elements, addresses of pictures or invisible characters."""
    for pattern in _HIDDEN:
        text = pattern.sub("", text)
    text = _PICTURE.sub(r"[\1]", text)
    shown = (c for c in text if unicodedata.category(c) not in ("Cf", "Co", "Cs") and (c in "\n\t" or c.isprintable()))
    return "".join(shown)


def defuse_marks(text: str) -> str:
    """Rewrite the opening sign of every mark of a chat format, and of every line that names a speaker."""
    text = _replace_folded(text, _MARK, lambda mark: "‹" if folded(mark) == "<" else "(")
    return _replace_folded(text, _ROLE, lambda role: f"“{role.strip(_AROUND_ROLE)}” -")


def _replace_folded(text: str, pattern: re.Pattern[str], by: Callable[[str], str]) -> str:
    """Replace the matches of a pattern in the folded form of a text."""
    pieces, end = [], 0
    for found in pattern.finditer(folded(text)):
        pieces += [text[end : found.start()], by(text[found.start() : found.end()])]
        end = found.end()
    return "".join([*pieces, text[end:]])


_MARKUP = re.compile(r"</?[a-zA-Z][^<>]{0,80}>|\*\*|__|`")
_BULLET = re.compile(r"(?m)^[ \t]*(?:[-*•>#|]+|\d{1,3}[.)、])[ \t]+")
_LINE_END = re.compile("\n")
_LINES = 40
"""Of an instruction that runs over lines, as many are looked at together."""
_HAN_BLANK = re.compile(r"(?<=[\u3400-\u9fff]) | (?=[\u3400-\u9fff])")


def is_instruction(sentence: str, tools: Collection[str] = ()) -> bool:
    """Whether a sentence reads like an instruction to a model, or to use one of `tools`; also one hidden in base64."""
    use = calling(tuple(tools))
    shown = _MARKUP.sub(" ", folded(unicodedata.normalize("NFKC", html.unescape(sentence))))
    said = [_HAN_BLANK.sub("", " ".join(shown.split())), *map(_decode_base64, _BASE64.findall(sentence))]
    return any(is_order(text) or use.search(text) for text in said)


def sentences(text: str) -> list[str]:
    """Split a text into sentences; a line ends one."""
    return [said for found in _SENTENCE.findall(text) if (said := found.strip())]


def without_instructions(text: str, tools: Collection[str] = ()) -> tuple[str, tuple[str, ...]]:
    """Replace each sentence that reads like an instruction by a word; also return those sentences.

    Sentences are looked at line by line first, and then as they run on over lines.
    """
    left_out: list[str] = []
    word = fill("left_out", language_of(text))

    def look(found: re.Match[str]) -> str:
        """Keep a sentence, or record and replace it."""
        sentence = found.group()
        if not is_instruction(sentence, tools):
            return sentence
        left_out.append(sentence.strip())
        return word + ("\n" if sentence.endswith("\n") else " ")

    text = _SENTENCE.sub(look, text)
    pieces, end = [], 0
    for start, stop in _instructions_over_lines(text, word, tools):
        pieces += [text[end:start], word, "\n" if text[start:stop].endswith("\n") else " "]
        left_out.append(text[start:stop].strip())
        end = stop
    return "".join([*pieces, text[end:]]), tuple(left_out)


def _instructions_over_lines(text: str, word: str, tools: Collection[str]) -> Iterator[tuple[int, int]]:
    """Yield the spans of instructions that run over several lines, from the beginning of a line or sentence to the end
    of one.
    """
    joined = _join_lines(text, word)
    for found in _SENTENCE.finditer(joined):
        cuts = [found.start(), *(m.end() for m in _LINE_END.finditer(text, *found.span())), found.end()]
        first = 0
        while first + 2 < len(cuts):
            last = min(first + _LINES, len(cuts) - 1)
            if is_instruction(joined[cuts[first] : cuts[last]], tools):
                begin, after = first, last
                while after - begin > 1:
                    middle = (begin + after) // 2
                    is_in = is_instruction(joined[cuts[middle] : cuts[last]], tools)
                    begin, after = (middle, after) if is_in else (begin, middle)
                yield cuts[begin], cuts[last]
                first = last
            else:
                first = last if last == len(cuts) - 1 else first + _LINES // 2


def _join_lines(text: str, word: str) -> str:
    """Replace list marks and line breaks within a paragraph by blanks, keeping the length.

    Those are the breaks within a paragraph, and all breaks between lines of a few words.
    """
    lines = _BULLET.sub(lambda mark: " " * len(mark.group()), text).split("\n")
    breaks = ["\n"] * len(lines)
    full = [number for number, line in enumerate(lines) if line.strip()]
    for before, after in itertools.pairwise(full):
        both = lines[before], lines[after]
        is_short = all(len(line.split()) <= 3 and len(line.strip()) <= 24 for line in both)
        if (after == before + 1 or is_short) and not any(word in line for line in both):
            breaks[before:after] = " " * (after - before)
    return "".join(line + end for line, end in zip(lines, breaks, strict=True))[:-1]


def _decode_base64(text: str) -> str:
    """Decode base64. Returns "" if it is none."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
