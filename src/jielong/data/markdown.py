r"""Markdown without its markup, in time linear in the text.

A pattern such as \[[^\]]*\] looks for its end from each beginning anew, so a page of brackets that are never closed
would cost the square of its length. Where an end may be far away, it is looked for once here and remembered (`_Ahead`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from jielong.data.tidying import plain_text

_FRONT_MATTER = re.compile(r"\A---\n(?=[\w\"'-]+\s*:).*?\n---\n", re.S)
_CODE = re.compile(r"^ {0,3}(```|~~~)[^\n]*\n(.*?)(?:^ {0,3}\1[^\n]*$|\Z)|(?<!`)`([^`\n]+)`(?!`)", re.M | re.S)
_KEPT = re.compile("\ue000(\\d+)\ue001")
_TAGS = (
    "a abbr address article aside b blockquote br center cite code col dd del details div dl dt em figcaption figure font footer h1 h2 "
    "h3 h4 h5 h6 header hr i img iframe input ins kbd li main mark nav ol p picture pre q s samp section small source span strike "
    "strong sub summary sup table tbody td tfoot th thead tr tt u ul var video"
).split()
_DEFINITION = re.compile(r"^ {0,3}\[(?![\]^])", re.M)
# the address is a run without blanks, which holds one of its signs or stands in angle brackets
_DEFINED = re.compile(r":\s*+(?=\S*[/.#]|<\S*>(?!\S))\S++(?:\s++[\"'(].*)?\s*$", re.M)
_STRONG = re.compile(r"(\*\*|__)(?=\S)")
_STRONG_ENDS = {"**": re.compile(r"(?<=\S)\*\*"), "__": re.compile(r"(?<=\S)__")}
_ADDRESS = re.compile(r"<(?=(?:https?|mailto):[^>\s])")
_ADDRESS_END = re.compile(r"[>\s]")
HEADING = re.compile(r"^ {0,3}#{1,6}[ \t]++(.*)$", re.M)
_LINES = (
    (re.compile(r"^ {0,3}(=+|-{3,}|\*{3,}|_{3,})[ \t]*$", re.M), ""),
    (re.compile(r"^[ \t]*>[ \t]?", re.M), ""),
    (re.compile(r"^([ \t]*)[-*+][ \t]+", re.M), r"\1"),
)
_EMPHASIS = re.compile(r"(?<![\w*])[*_](?=\S)([^*_\n]+?)(?<=\S)[*_](?![\w*])")
_TAG = re.compile(rf"</?(?:{'|'.join(_TAGS)})(?:\s+[\w:-]+\s*=[^>\n]{{0,200}})?\s*/?>", re.I)


def markdown_text(text: str) -> str:
    """Strip the markup: keep the words of headings, emphasis, links and fences, drop images, keep code unchanged."""
    text = _FRONT_MATTER.sub("", text.replace("\r\n", "\n").replace("\ue000", ""))
    code: list[str] = []

    def keep(found: re.Match[str]) -> str:
        code.append(found[2].rstrip("\n") if found[1] else found[3])
        return f"\ue000{len(code) - 1}\ue001"

    text = _CODE.sub(keep, text)
    for found in (_find_comments, _find_images, _find_links, _find_references, _find_definitions):
        text = _replace_spans(text, found(text))
    text = HEADING.sub(lambda found: heading_words(found[1]), text)
    for pattern, replacement in _LINES:
        text = pattern.sub(replacement, text)
    text = _replace_spans(text, _find_strong(text))
    text = _EMPHASIS.sub(r"\1", text)
    text = _TAG.sub("", _replace_spans(text, _find_addresses(text)))
    return plain_text(_KEPT.sub(lambda found: code[int(found[1])], text))


def heading_words(line: str) -> str:
    """Return the words of a heading after its "#", without closing marks and surrounding blanks."""
    line = line.rstrip(" \t")
    without = line.rstrip("#")
    return without.rstrip(" \t") if without.endswith((" ", "\t")) else line


_Found = Iterator[tuple[int, int, str]]
"""Stretches of a text, from left to right: where each begins, where it ends, and what stands in its place."""


def _replace_spans(text: str, found: _Found) -> str:
    """Replace the found spans (start, end, replacement) in a text."""
    pieces, done = [], 0
    for start, end, instead in found:
        pieces += [text[done:start], instead]
        done = end
    return "".join((*pieces, text[done:])) if done else text


class _Ahead:
    """A search for the next occurrence of a pattern from increasing start offsets; the text is scanned once."""

    def __init__(self, find: Callable[[int], int]) -> None:
        self._find, self._at = find, -2

    def __call__(self, start: int) -> int:
        """Return the first place from `start` on, or -1 if there is none."""
        if self._at != -1 and self._at < start:
            self._at = self._find(start)
        return self._at


def _search(pattern: re.Pattern[str], text: str) -> _Ahead:
    return _Ahead(lambda start: found.start() if (found := pattern.search(text, start)) else -1)


def _find_comments(text: str) -> _Found:
    """Yield the spans of HTML comments, to be removed."""
    end = 0
    while (start := text.find("<!--", end)) >= 0 and (close := text.find("-->", start + 4)) >= 0:
        end = close + 3
        yield start, end, ""


def _find_bracketed(text: str, opening: str, between: str, closing: str, least: int) -> Iterator[tuple[int, int, int]]:
    """Yield spans of `opening`, at least `least` letters, `between` and, later, `closing`: start, start of `between`,
    end.
    """
    next_bracket, at = _Ahead(lambda start: text.find("]", start)), 0
    while (start := text.find(opening, at)) >= 0:
        inner = start + len(opening)
        bracket = next_bracket(inner)
        if bracket < 0:
            return
        at = start + 1
        if bracket >= inner + least and text.startswith(between, bracket):
            close = text.find(closing, bracket + len(between))
            if close < 0:
                return
            at = close + 1
            yield start, bracket, at


def _find_images(text: str) -> _Found:
    for start, _, end in _find_bracketed(text, "![", "](", ")", 0):
        yield start, end, ""


def _find_links(text: str) -> _Found:
    for start, bracket, end in _find_bracketed(text, "[", "](", ")", 0):
        yield start, end, text[start + 1 : bracket]


def _find_references(text: str) -> _Found:
    for start, bracket, end in _find_bracketed(text, "[", "][", "]", 1):
        yield start, end, text[start + 1 : bracket]


def _find_definitions(text: str) -> _Found:
    """Yield the lines that define a reference: [name]: https://..."""
    next_bracket, at, none_after = _Ahead(lambda start: text.find("]", start)), 0, -1
    while found := _DEFINITION.search(text, at):
        bracket = next_bracket(found.end())
        if bracket < 0:
            return
        at = found.end()
        if bracket == none_after:
            continue
        defined = _DEFINED.match(text, bracket + 1)
        if defined:
            at = defined.end()
            yield found.start(), at, ""
        else:
            none_after = bracket


def _find_strong(text: str) -> _Found:
    """Yield the spans of bold and italic text, each with its inner text."""
    ends = {mark: _search(pattern, text) for mark, pattern in _STRONG_ENDS.items()}
    line_end, at = _Ahead(lambda start: text.find("\n", start)), 0
    while found := _STRONG.search(text, at):
        start, inner = found.start(), found.end()
        at, end, line = start + 1, ends[found[1]](inner + 1), line_end(inner)
        if end >= 0 and (line < 0 or end < line):
            at = end + 2
            yield start, at, text[inner:end]


def _find_addresses(text: str) -> _Found:
    """Yield the spans of addresses in angle brackets, each with the address."""
    next_end, at = _search(_ADDRESS_END, text), 0
    while found := _ADDRESS.search(text, at):
        at, end = found.end(), next_end(found.end())
        if end >= 0 and text[end] == ">":
            yield found.start(), end + 1, text[at:end]
            at = end + 1
