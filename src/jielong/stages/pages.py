"""Stages that hold raw pages: the embedded world's, or those of a user's folder."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from jielong.config import at_least
from jielong.data.sources import Page, find_pages, read_pages
from jielong.errors import DataError
from jielong.outside import Fields, parse_json
from jielong.runs import canonical_json, derive_seed, write_directory, write_json
from jielong.stages.recipe import Context, Stage, Summary
from jielong.worlds.atlas.articles import write_articles
from jielong.worlds.atlas.facts import load_countries
from jielong.worlds.atlas.web import write_web

MAX_PAGE_BYTES = 1 << 28
"""Of one part of the archive, unpacked."""


class PagesStage(Stage):
    """A stage whose result is pages, in a form that only it can read."""

    def pages(self, context: Context) -> Iterable[Page]:
        raise NotImplementedError


@dataclass(frozen=True)
class WebStage(PagesStage):
    """The embedded world as raw pages."""

    name: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    articles: int = 10_000
    """Articles of the embedded world's web."""
    # stands for the packages the facts come from: other facts are another world
    facts: str = ""
    version: int = 2

    def __post_init__(self) -> None:
        at_least(self, 2, "articles")

    def run(self, context: Context) -> Summary:
        """Write pages.zip: every page as a file, and index.jsonl with address, type and true kind."""
        seed = derive_seed(context.recipe.seed, self.name)
        articles = write_articles(load_countries(), seed, self.articles)
        kinds: dict[str, int] = {}

        def fill(path: Path) -> None:
            """Write the archive into a folder."""
            index = []
            with zipfile.ZipFile(path / "pages.zip", "w") as pages:
                for number, page in enumerate(write_web(articles, seed)):
                    name = f"{number:06d}.html"
                    pages.writestr(_entry(name), page.body, compresslevel=1)
                    index.append({"file": name, "uri": page.uri, "content_type": page.content_type, "kind": page.kind})
                    kinds[page.kind] = kinds.get(page.kind, 0) + 1
                index_text = "".join(canonical_json(line) + "\n" for line in index)
                pages.writestr(_entry("index.jsonl"), index_text, compresslevel=1)

        write_directory(context.directory(self.name), fill)
        return {"holds": "pages", "pages": sum(kinds.values()), "kinds": kinds}

    def pages(self, context: Context) -> Iterator[Page]:
        """Yield the pages of the archive. Raises DataError if it is damaged."""
        return read_archive(context.directory(self.name) / "pages.zip")


def read_archive(path: Path) -> Iterator[Page]:
    """Yield the pages of an archive that `WebStage` has written. Raises DataError if it is damaged."""
    try:
        with zipfile.ZipFile(path) as pages:
            for line in _member(pages, "index.jsonl").decode().splitlines():
                entry = Fields(parse_json(line), "a line of its index")
                yield Page(entry.text("uri"), _member(pages, entry.text("file")), entry.text("content_type"))
    # of what a damaged archive is to zipfile: without a file, of another version, locked, or cut short
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, EOFError, RuntimeError, OSError, DataError) as error:
        raise DataError(f"{path} is damaged ({error}); delete {path.parent} and run again") from error


def _member(pages: zipfile.ZipFile, name: str) -> bytes:
    """Read one member of the archive. Raises DataError if it is larger than a page may be."""
    size = pages.getinfo(name).file_size
    if size > MAX_PAGE_BYTES:
        raise DataError(f"it holds {name!r} of {size:,} bytes")
    return pages.read(name)


def _entry(name: str) -> zipfile.ZipInfo:
    """Make an archive entry, compressed and without a time stamp: an archive that is made again is the same."""
    made = zipfile.ZipInfo(name)
    made.compress_type = zipfile.ZIP_DEFLATED
    return made


@dataclass(frozen=True)
class FolderStage(PagesStage):
    """A folder of one's own as raw pages; `digest` stands for what was in it."""

    name: str
    path: str
    digest: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    version: int = 1
    only_places: ClassVar[tuple[str, ...]] = ("path",)

    def run(self, context: Context) -> Summary:
        """Record where the pages lie; they are read in place."""
        write_json(context.directory(self.name) / "folder.json", {"path": self.path, "digest": self.digest})
        listing = find_pages(self.path)
        context.display.message(str(listing))
        return {"holds": "pages", "path": self.path, "pages": len(listing.paths)}

    def pages(self, context: Context) -> Iterable[Page]:
        return read_pages(Path(self.path))


def content_digest(paths: Sequence[Path], root: Path) -> str:
    """Return the hex blake2b-128 of names and contents, so that a changed file is a changed run."""
    digest = hashlib.blake2b(digest_size=16)
    for path in paths:
        digest.update(str(path.relative_to(root)).encode("utf-8", "surrogateescape"))
        try:
            digest.update(hashlib.blake2b(path.read_bytes()).digest())
        except OSError as error:  # a file that cannot be read is counted when its turn comes
            digest.update(str(error.errno).encode())
    return digest.hexdigest()
