"""One's own documents as a library: files and folders are added, searched, listed, removed and checked."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jielong.cli.as_json import add_json, print_json
from jielong.cli.tools import tell
from jielong.errors import DataError
from jielong.opening.libraries import EMBEDDER_HELP, open_library
from jielong.report import terminal

if TYPE_CHECKING:
    from jielong.use.retrieval.library import Library


def add_parser(commands: Any) -> None:
    """Add `jielong library` to the commands."""
    library = commands.add_parser(
        "library", help="one's own documents, to be searched and answered from", description=__doc__
    )
    verbs = library.add_subparsers(title="what to do", required=True, metavar="VERB")

    def verb(name: str, command: Any, help: str) -> Any:
        """Add one verb with the option of the library's file."""
        parser = verbs.add_parser(name, help=help)
        parser.add_argument(
            "--library", type=Path, default=Path("library.db"), metavar="FILE", help="its file (default: library.db)"
        )
        parser.set_defaults(command=command)
        return parser

    add = verb("add", _add, "read files and folders; what has not changed since is not read again")
    add.add_argument("paths", nargs="+", type=Path, metavar="DIR|FILE", help="documents, text or code")
    add.add_argument("--embedder", help=EMBEDDER_HELP)
    search = verb("search", _search, "the passages that fit a query best")
    search.add_argument("query", metavar="QUERY", help="a question, or words")
    search.add_argument("-k", type=int, default=5, metavar="N", help="how many (default: 5)")
    search.add_argument("--embedder", help=EMBEDDER_HELP)
    add_json(search)
    add_json(verb("list", _list, "all files and how many chunks each has"))
    remove = verb("remove", _remove, "forget files or folders; nothing of them stays in the library's file")
    remove.add_argument("paths", nargs="+", type=Path, metavar="DIR|FILE")
    add_json(verb("check", _check, "whether the library is sound, and which files have changed since they were read"))


def _add(arguments: argparse.Namespace) -> int:
    """Add files and folders, make their vectors, and print the counts."""
    with (
        closing(open_library(arguments.library, arguments.embedder, tell=tell, is_new=True)) as library,
        _Progress() as progress,
    ):
        added = library.add(arguments.paths, progress)
        made = asyncio.run(library.embed(progress))
        progress.clear()
        for sentence in (*added.problems, *added.remarks):
            print(sentence, file=sys.stderr)
        if added.skipped:
            print(f"Skipped: {', '.join(f'{n:,} {kind}' for kind, n in added.skipped.most_common())}", file=sys.stderr)
        counts = {
            "new": added.read,
            "changed": added.replaced,
            "moved": added.moved,
            "unchanged": added.unchanged,
            "gone": added.removed,
            "unreadable": len(added.problems),
        }
        print(f"Files: {', '.join(f'{count:,} {name}' for name, count in counts.items() if count) or 'none'}")
        print(f"Library:  {arguments.library}  ({library.num_chunks:,} chunks, {made:,} vectors made)")
        print(f'Search:   jielong library search "..." --library {arguments.library}')
        print(f'Ask:      jielong ask MODEL "..." --library {arguments.library}')
    return 0


def _search(arguments: argparse.Namespace) -> int:
    """Search and print the passages."""
    with closing(open_library(arguments.library, arguments.embedder, tell=tell)) as library:
        found = asyncio.run(library.search(arguments.query, arguments.k))
        if arguments.json:
            print_json({"query": arguments.query, "passages": found})
            return 0
        for number, passage in enumerate(found, start=1):
            print(f"[{number}] {passage.where}  ({passage.score:.2f})\n{passage.text}\n")
        if not found:
            print("Nothing was found.", file=sys.stderr)
    return 0


def _list(arguments: argparse.Namespace) -> int:
    """List the files with their chunks."""
    with closing(_open_as_it_is(arguments.library)) as library:
        if arguments.json:
            print_json({"files": library.files(), "chunks": library.num_chunks, "vectors_by": library.embedded_by})
            return 0
        for file in library.files():
            print(f"{file.chunks:6,}  {file.path}{': ' + file.problem if file.problem else ''}")
        print(f"{library.num_chunks:,} chunks; vectors by {library.embedded_by or 'nobody'}", file=sys.stderr)
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    """Remove files and folders."""
    with closing(_open_as_it_is(arguments.library)) as library:
        count = library.remove(arguments.paths)
        if not count:
            raise DataError(
                f"the library holds nothing of {', '.join(map(str, arguments.paths))}; see: jielong library list"
            )
        print(f"Removed: {count:,} files")
    return 0


def _check(arguments: argparse.Namespace) -> int:
    """Check the library's file, and list files that have changed since."""
    with closing(_open_as_it_is(arguments.library)) as library:
        wrong = library.check()
        if wrong:
            raise DataError(
                f"{arguments.library} is damaged ({'; '.join(wrong[:3])}); delete it and add the files again"
            )
        changed = library.changed()
        if arguments.json:
            counts = {"chunks": library.num_chunks, "files": len(library.files()), "vectors": library.num_vectors}
            print_json({"library": arguments.library, **counts, "changed": changed})
            return 0
        for sentence in changed:
            print(sentence)
        print(
            f"Sound: {library.num_chunks:,} chunks of {len(library.files()):,} files, {library.num_vectors:,} vectors"
        )
        if changed:
            print("To bring it up to date, add the folders again.")
    return 0


def _open_as_it_is(path: Path) -> Library:
    """Open the library without an embedder, for commands that neither add nor search."""
    return open_library(path, "none", tell=tell)


class _Progress:
    """A counter with the time left in one line on standard error, if somebody watches; nothing for quick work."""

    def __enter__(self) -> _Progress:
        self._what, self._began_s, self._told_s, self._is_shown = "", 0.0, 0.0, False
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def __call__(self, what: str, done: int, of: int) -> None:
        now_s = time.monotonic()
        if what != self._what:
            self._what, self._began_s, self._first = what, now_s, done
        is_due = now_s - self._told_s > (0.5 if sys.stderr.isatty() else 30.0)
        if not is_due or done == self._first or done == of:
            return
        left_s = (now_s - self._began_s) / (done - self._first) * (of - done)
        line = f"{done:,} of {of:,} {what}, {left_s:,.0f} s left"
        if sys.stderr.isatty():
            terminal.progress(line)
        else:
            print(line, file=sys.stderr, flush=True)
        self._told_s, self._is_shown = now_s, True

    def clear(self) -> None:
        if self._is_shown:
            terminal.progress("")
