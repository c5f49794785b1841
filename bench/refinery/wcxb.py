"""WCXB, the Web Content eXtraction Benchmark: 1,497 development pages of seven kinds, with their main content.

It is read from an unpacked folder (html/, ground-truth/, metadata.json; CC-BY-4.0). The score of a page is the F1 of its
words (`\\w+`, lower case, as multisets), 1 where both texts are empty; that of a kind is the mean over its pages.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

KINDS = ("article", "forum", "product", "collection", "listing", "service", "documentation")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class LabelledPage:
    """A page, and the words of its main content in their order."""

    id: str
    kind: str
    domain: str
    html: str
    truth: str

    def fold(self, count: int) -> int:
        """Return which of `count` parts it belongs to; all pages of a domain are in one."""
        return int(hashlib.md5(self.domain.encode(), usedforsecurity=False).hexdigest(), 16) % count


def read_pages(folder: Path) -> Iterator[LabelledPage]:
    """Read the pages in the order of their numbers."""
    described = json.loads((folder / "metadata.json").read_text())["files"]
    for path in sorted((folder / "html").glob("*.html")):
        about = described[path.stem]
        truth = json.loads((folder / "ground-truth" / f"{path.stem}.json").read_text())["ground_truth"]
        html = path.read_text(encoding="utf-8", errors="replace")
        yield LabelledPage(path.stem, about["page_type"], about["domain"], html, truth.get("main_content") or "")


def words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def f1(found: Sequence[str], wanted: Sequence[str]) -> float:
    """Return the F1 of two multisets of words."""
    if not found and not wanted:
        return 1.0
    common = sum((Counter(found) & Counter(wanted)).values())
    return 2 * common / (len(found) + len(wanted)) if common else 0.0


def by_kind(pages: Sequence[LabelledPage], scores: Mapping[str, float]) -> dict[str, float]:
    """Return the mean score of all pages, and of each kind; `scores` are by the pages' numbers."""

    def mean(kind: str = "") -> float:
        some = [scores[page.id] for page in pages if kind in ("", page.kind)]
        return sum(some) / len(some)

    return {"all": mean()} | {kind: mean(kind) for kind in KINDS}
