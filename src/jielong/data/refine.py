"""The refinery: pages in, clean documents out, and a count of everything that was dropped.

`refine` is one deterministic pass: decode and extract, cut very long texts at paragraph borders, apply the filters,
drop copies. The result depends on the pages and their order alone. Nothing is dropped silently: each input text becomes
a document, or is counted by its reason in the `RefineReport`.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, get_args

from jielong.config import later
from jielong.data.bounded import extract_all
from jielong.data.dedup import DedupConfig, Deduplicator
from jielong.data.extract import Extractor
from jielong.data.filters import FilterConfig, Verdict, verdict_on
from jielong.data.sources import PageLike, document_id
from jielong.errors import ConfigError, DataError, LimitError
from jielong.records import Document


@dataclass(frozen=True)
class RefineConfig:
    """Rules for the pages to keep. A line on more than `max_repeated_line_pages` pages is boilerplate of the site."""

    filters: FilterConfig = FilterConfig()
    dedup: DedupConfig = DedupConfig()
    max_document_chars: int = 20_000
    """Longer texts are cut into documents of at most so many characters."""
    max_repeated_line_pages: int = 0  # 0: off
    """A line on more pages than this is left out as boilerplate; 0 is off."""
    extractor: Extractor = later("rules")
    """How the main text of HTML is found: by rules, or learned from labelled pages of seven kinds."""

    def __post_init__(self) -> None:
        if self.extractor not in get_args(Extractor):
            raise ConfigError(
                f"refine.extractor is {self.extractor!r}; expected one of {', '.join(get_args(Extractor))}"
            )
        if self.max_document_chars < 200:
            raise ConfigError(f"refine.max_document_chars is {self.max_document_chars!r}; it must be at least 200")
        if self.max_repeated_line_pages < 0:
            raise ConfigError(
                f"refine.max_repeated_line_pages is {self.max_repeated_line_pages!r}; it must be 0 (off) or more"
            )


@dataclass
class RefineReport:
    """Counts of one pass. `dropped` and `kept` count texts: a page gives one, or several when it is very long."""

    num_pages: int = 0
    num_texts: int = 0
    num_documents: int = 0
    num_raw_bytes: int = 0
    num_kept_chars: int = 0
    num_kept_bytes: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    kept_by_language: Counter[str] = field(default_factory=Counter)
    kept_chars_by_language: Counter[str] = field(default_factory=Counter)
    dropped_by_language: Counter[str] = field(default_factory=Counter)
    encodings: Counter[str] = field(default_factory=Counter)
    num_boilerplate_lines: int = 0
    num_empty_pdf_pages: int = 0
    examples: dict[str, list[str]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and dicts, for JSON."""
        return {k: dict(v.most_common()) if isinstance(v, Counter) else v for k, v in vars(self).items()}

    def __str__(self) -> str:
        def row(name: str, count: int, note: str = "") -> str:
            share = f"{count / self.num_texts:7.1%}" if self.num_texts else "      -"
            return f"  {name:<22}{count:>9,}  {share}  {note}".rstrip()

        lines = [
            f"{self.num_pages:,} pages, {self.num_raw_bytes:,} bytes, {self.num_texts:,} texts",
            row("kept", self.num_documents),
        ]
        for lang, count in self.kept_by_language.most_common():
            lines.append(row(f"  {lang}", count, f"{self.kept_chars_by_language[lang]:,} characters"))
        lines.append(row("dropped", sum(self.dropped.values())))
        lines += [row(f"  {reason}", count) for reason, count in self.dropped.most_common()]
        if self.num_boilerplate_lines:
            lines.append(f"  {self.num_boilerplate_lines:,} lines dropped that stand on very many pages")
        if self.num_empty_pdf_pages:
            lines.append(f"  {self.num_empty_pdf_pages:,} pages of PDF files hold no text; perhaps they were scanned")
        lines.append(f"text kept: {self.num_kept_chars:,} characters, {self.num_kept_bytes:,} bytes")
        return "\n".join(lines)


_EXAMPLES_PER_REASON = 5


def cut_text(text: str, max_chars: int) -> list[str]:
    """Cut a text into pieces of at most `max_chars`, at blank lines where there are any, else at lines, else anywhere."""
    if len(text) <= max_chars:
        return [text]
    pieces, start, end, last = [], 0, len(text), len(text.rstrip())
    while end - start > max_chars:
        # A border in the first half would leave a crumb; then a lesser border is better.
        half, most = start + max_chars // 2, start + max_chars
        at = next((p for mark in ("\n\n", "\n", " ") if (p := text.rfind(mark, half, most)) > 0), most)
        pieces.append(text[start:at].strip())
        blanks = _BLANKS.match(text, at)
        start, end = blanks.end() if blanks else at, last
    return [piece for piece in (*pieces, text[start:end]) if piece]


_BLANKS = re.compile(r"\s*")


def _line_mark(line: str) -> bytes:
    return hashlib.blake2b(line.strip().encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _without_frequent_lines(texts: list[str], max_pages: int, report: RefineReport) -> list[str]:
    """Remove the lines that occur in more than `max_pages` of the texts."""
    pages_with: Counter[bytes] = Counter()
    for text in texts:
        pages_with.update({_line_mark(line) for line in text.split("\n") if line})
    out = []
    for text in texts:
        lines = text.split("\n")
        left = [line for line in lines if not line or pages_with[_line_mark(line)] <= max_pages]
        report.num_boilerplate_lines += len(lines) - len(left)
        out.append("\n".join(left).strip())
    return out


def _texts_of_pages(
    pages: Iterable[PageLike], extractor: Extractor, report: RefineReport, progress: Callable[[int], None] | None
) -> Iterator[tuple[str, str, str]]:
    """Yield (address, text, reason to drop the page) of each page; count pages, bytes and encodings in the report."""
    for page, found in extract_all(pages, extractor):
        report.num_pages += 1
        report.num_raw_bytes += len(page.body)
        if isinstance(found, LimitError):
            yield page.uri, "", found.reason
        elif isinstance(found, DataError):  # a file that cannot be read, a PDF that is damaged or encrypted
            yield page.uri, "", "unreadable"
        else:
            report.encodings[found.encoding] += 1
            report.num_empty_pdf_pages += found.num_empty_pages
            yield page.uri, found.text, ""
        if progress is not None:
            progress(report.num_pages)


def refine(
    pages: Iterable[PageLike], config: RefineConfig = RefineConfig(), progress: Callable[[int], None] | None = None
) -> tuple[list[Document], RefineReport]:
    """Return clean documents in the order of the pages, and the report.

    A document's `source` is the address of its page, its `id` the hash of that address and of its place in the page,
    its `meta` {"lang": ...}. `progress` is called with the number of pages done so far. A page marked as unreadable is
    counted under "unreadable", and so is a PDF that turns out to be; one beyond a limit (`bounded`) is counted under
    that limit. With the option for repeated lines on, all texts are held in memory before the first is judged.
    """
    report = RefineReport()
    entries: Iterable[tuple[str, str, str]] = _texts_of_pages(pages, config.extractor, report, progress)
    if config.max_repeated_line_pages:
        held = list(entries)
        texts = _without_frequent_lines([text for _, text, _ in held], config.max_repeated_line_pages, report)
        entries = [
            (uri, text, reason or ("frequent lines" if before and not text else ""))
            for (uri, before, reason), text in zip(held, texts, strict=True)
        ]
    copies = Deduplicator(config.dedup)
    documents: list[Document] = []

    def drop(reason: str, lang: str, uri: str) -> None:
        """Count a dropped text under its reason and language, and keep a few addresses as examples."""
        report.dropped[reason] += 1
        report.dropped_by_language[lang or "unknown"] += 1
        shown = report.examples.setdefault(reason, [])
        if len(shown) < _EXAMPLES_PER_REASON:
            shown.append(uri)

    for uri, whole, unseen in entries:
        for ordinal, text in enumerate(cut_text(whole, config.max_document_chars)):
            report.num_texts += 1
            verdict = Verdict(unseen, "") if unseen else verdict_on(text, config.filters)
            reason = verdict.reason or copies.add(len(documents), text)[0]
            if reason:
                drop(reason, verdict.lang, uri)
                continue
            documents.append(Document(text, document_id(uri, ordinal), uri, {"lang": verdict.lang}))
            report.num_documents += 1
            report.num_kept_chars += len(text)
            report.num_kept_bytes += len(text.encode("utf-8", "surrogatepass"))
            report.kept_by_language[verdict.lang] += 1
            report.kept_chars_by_language[verdict.lang] += len(text)
    return documents, report
