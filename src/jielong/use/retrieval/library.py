"""A user's documents on disk, ready to be searched: one SQLite file with the texts, their words and their vectors.

Files go in through the readers that training uses, cut into chunks with their places. Words are found by SQLite's FTS5,
meanings by vectors; the two rankings are fused. Everything is written in transactions, so that a killed run leaves the
last whole state, and removed texts are overwritten. Without an embedder it is searched by words alone.
"""

from __future__ import annotations

import hashlib
import math
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from jielong.data.bounded import locate_bounded
from jielong.data.sources import Page, list_folder, printable, read_page
from jielong.errors import ConfigError, DataError, ResourceError
from jielong.use.prompting import language_of
from jielong.use.retrieval.chunks import Chunk, ChunkConfig, cut_into_chunks
from jielong.use.retrieval.embedders import Embeds, Vectors
from jielong.use.retrieval.passages import Passage
from jielong.use.retrieval.terms import is_han, terms

VERSION = 1
_SCHEMA = (
    "CREATE TABLE files (id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, digest TEXT NOT NULL, problem TEXT NOT NULL)",
    "CREATE TABLE chunks (id INTEGER PRIMARY KEY, file INTEGER NOT NULL REFERENCES files, language TEXT NOT NULL, "
    "text TEXT NOT NULL, place TEXT NOT NULL)",
    "CREATE INDEX chunks_of_file ON chunks (file)",
    "CREATE TABLE vectors (chunk INTEGER PRIMARY KEY REFERENCES chunks, vector BLOB NOT NULL)",
    # "embedder": who made the vectors; "untidy": something was deleted that may still stand in the file
    "CREATE TABLE state (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    # without a copy of what it indexes: the texts are in chunks
    "CREATE VIRTUAL TABLE words USING fts5 (terms, content = '', tokenize = 'unicode61')",
    "CREATE VIRTUAL TABLE vocabulary USING fts5vocab (words, row)",
)
_RANKED = 50
"""How deep each ranking is read."""
_RRF = 60
"""Reciprocal rank fusion: 1 / (60 + rank), Cormack et al. 2009."""
_COMPARED = 5
"""Passages that are put in order by their scores, however few are wanted."""
_BATCH = 32
_TERMS, _PAIRS = 1000, 500
"""Terms of a query that are looked for, far more than a question has; and pairs in which a single character is."""
_LONG_QUESTION, _RAREST = 48, 24
_WAIT_S = 30.0
_COMMIT_S = 1.0
# Between which shares of a query's rare words, and between which cosines of E5, the evidence goes from 0 to 1: from what
# questions that no document answers reach to what the right document reaches, both as measured by bench.strategies.retrieval.
_WORDS = (0.0, 0.4)
_COSINES = {"en": (0.79, 0.91), "zh": (0.84, 0.93)}
_COSINES_BETWEEN = (0.76, 0.82)
# Across languages vectors tell the right document from a near one less well: with 0.7 a passage in the question's own
# language that is right stands first in 239 of 240 (sheets of `bench.strategies.retrieval`), with 1 in 219.
_MOST_BETWEEN = 0.7

Report = Callable[[str, int, int], None]
"""Is told what is counted ("files", "vectors"), how many are done, and of how many."""


@dataclass
class Added:
    """The result of adding, in files.

    `problems` has a sentence for each that could not be read, `remarks` for missing parts of one that could, `skipped`
    the kinds of files left out of folders.
    """

    read: int = 0
    replaced: int = 0
    moved: int = 0
    unchanged: int = 0
    removed: int = 0
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class LibraryFile:
    """A file of the library, its chunks, and why there are none."""

    path: str
    chunks: int
    problem: str


class Library:
    """The library in the file `path`, made if there is none. Close it. Raises DataError if the file is something
    else.
    """

    def __init__(self, path: Path, embedder: Embeds | None = None, *, chunks: ChunkConfig = ChunkConfig()) -> None:  # noqa: B008
        self.path, self.embedder, self._chunks = path, embedder, chunks
        self._known: tuple[tuple[int, int], dict[str, tuple[list[int], Vectors]]] | None = None
        try:
            self._db = sqlite3.connect(path, timeout=30.0, isolation_level=None)
        except sqlite3.Error as error:
            raise DataError(f"{path} cannot be opened: {error}") from error
        # names need not be UTF-8: as CAST(? AS TEXT) of their bytes they are stored, and compared, like any other
        self._db.text_factory = os.fsdecode
        try:
            self._prepare()
        except BaseException:
            self._db.close()
            raise

    def _prepare(self) -> None:
        """Create the tables in a new file, or check the version of an existing one."""
        # what is deleted is overwritten with zeros, not only forgotten
        self._sql("PRAGMA secure_delete = ON")
        if not self._sql("PRAGMA user_version")[0][0]:
            if self._sql("SELECT count(*) FROM sqlite_master")[0][0] and not self._is_being_made():
                raise DataError(f"{self.path} is a database, but no library; name another file")
            self._run_patiently("PRAGMA journal_mode = WAL")
            with self._transaction():
                if not self._sql("PRAGMA user_version")[0][0]:  # else somebody else has made it meanwhile
                    for statement in _SCHEMA:
                        self._sql(statement)
                    self._sql(f"PRAGMA user_version = {VERSION}")
        version = self._sql("PRAGMA user_version")[0][0]
        if version != VERSION:
            raise DataError(f"{self.path} is a library of version {version}; this jielong reads version {VERSION}")
        self._sql("PRAGMA synchronous = NORMAL")

    def _is_being_made(self) -> bool:
        """Whether another process has just made the tables: asked again once it has let go of the file."""
        with self._transaction():
            return bool(self._sql("PRAGMA user_version")[0][0])

    def _run_patiently(self, statement: str) -> None:
        """Run a statement that SQLite does not wait for by itself while another process writes."""
        until_s = time.monotonic() + _WAIT_S
        while True:
            try:
                self._sql(statement)
                return
            except ResourceError:
                if time.monotonic() > until_s:
                    raise
                time.sleep(0.05)

    def close(self) -> None:
        self._db.close()

    # --- what goes in

    def add(self, paths: Iterable[Path], report: Report | None = None) -> Added:
        """Read files, and folders at any depth; changed files are replaced and vanished ones of the folders removed.

        A file whose bytes are the same as last time is left alone. One that cannot be read costs a sentence, and its
        old content is removed. Vectors are made by `embed`.
        """
        added, files, missing = Added(), dict[str, None](), list[str]()
        paths = list(paths)
        for path in paths:
            found = dict.fromkeys(map(str, _files(path, added.skipped))) if path.exists() else {}
            files |= found
            gone = [] if path.is_file() else [p for p in self._inside(path) if p not in found and not Path(p).exists()]
            if not path.exists() and not gone:
                raise DataError(f"there is no file or folder {str(path)!r}, and the library holds nothing of it")
            missing += gone
        todo, done = list(files), 0
        while done < len(todo):
            with self._transaction():
                until_s = time.monotonic() + _COMMIT_S
                while done < len(todo) and time.monotonic() < until_s:
                    self._add_one(todo[done], added)
                    done += 1
            if report:
                report("files", done, len(todo))
        # after the new ones, of which some may be these under another name; and what another process has found meanwhile
        # on the disk is not gone
        here = {str(p) for path in paths if path.is_dir() for p in _files(path)} if missing else set()
        added.removed += self._forget([p for p in missing if p not in here])
        if added.read or self._state("untidy"):  # perhaps from a run that was killed
            self._tidy()
        return added

    def _add_one(self, path: str, added: Added) -> None:
        """Read one file and insert, replace or move its chunks."""
        page = read_page(Path(path), path)
        digest = _digest(page)
        known = self._sql("SELECT digest, problem FROM files WHERE path = CAST(? AS TEXT)", (os.fsencode(path),))
        if known == [(digest, "")]:
            added.unchanged += 1
            return
        chunks: list[Chunk] = []
        problem = page.error.removeprefix(f"{path}: ")
        if not problem:
            try:
                located = locate_bounded(page)
                chunks = list(cut_into_chunks(located, self._chunks))
                problem = "" if chunks else located.remark or "it holds no text"
                if chunks and located.remark:
                    added.remarks.append(f"{_shown_path(path)}: {located.remark}")
            except (DataError, ConfigError) as error:
                problem = str(error)
        if not known and not problem and self._move_vanished(path, digest):
            added.moved += 1
            return
        if problem:
            added.problems.append(f"{_shown_path(path)}: {problem}")
            if known == [(digest, problem)]:
                return
        if known:
            self._delete(path)
        self._insert(path, digest, problem, chunks)
        if known:
            added.replaced += 1
        elif not problem:
            added.read += 1

    def _move_vanished(self, path: str, digest: str) -> bool:
        """Give a vanished file with the same bytes its new path; return whether there was one."""
        same = self._sql("SELECT path FROM files WHERE digest = ? AND problem = ''", (digest,))
        # with another ending it would be read as something else
        gone = next((old for (old,) in same if Path(old).suffix == Path(path).suffix and not Path(old).exists()), None)
        if gone is None:
            return False
        self._sql(
            "UPDATE files SET path = CAST(? AS TEXT) WHERE path = CAST(? AS TEXT)",
            (os.fsencode(path), os.fsencode(gone)),
        )
        return True

    def _insert(self, path: str, digest: str, problem: str, chunks: Sequence[Chunk]) -> None:
        """Insert a file with its chunks and their words."""
        file = self._sql(
            "INSERT INTO files VALUES (NULL, CAST(? AS TEXT), ?, ?) RETURNING id", (os.fsencode(path), digest, problem)
        )[0][0]
        # a number is never given twice: a vector that is being made belongs to the text that had it
        first = max(int(self._state("next chunk") or 1), 1 + (self._sql("SELECT max(id) FROM chunks")[0][0] or 0))
        for row, chunk in enumerate(chunks, start=first):
            text = chunk.text.encode("utf-8", "replace").decode()
            self._sql("INSERT INTO chunks VALUES (?, ?, ?, ?, ?)", (row, file, language_of(text), text, chunk.place))
            self._sql("INSERT INTO words (rowid, terms) VALUES (?, ?)", (row, " ".join(terms(text))))

        self._sql("INSERT OR REPLACE INTO state VALUES ('next chunk', ?)", (str(first + len(chunks)),))

    async def embed(self, report: Report | None = None) -> int:
        """Make the missing vectors and return how many; all are missing if the embedder has another name than before.

        Others may write meanwhile: their additions are embedded too, and removed texts get no vector.
        """
        if self.embedder is None:
            return 0
        with self._transaction():
            if self.embedded_by != self.embedder.name:
                self._forget_vectors(self.embedder.name)
        num_made, without = 0, "FROM chunks WHERE id NOT IN (SELECT chunk FROM vectors)"
        while batch := self._sql(f"SELECT id, text {without} ORDER BY id LIMIT {_BATCH}"):
            made = (await self.embedder.passages([text for _, text in batch])).astype(np.float16)
            with self._transaction():
                if self.embedded_by != self.embedder.name:
                    raise ResourceError(f"{self.path} is being embedded by {self.embedded_by}; wait for it to end")
                known = self._sql("SELECT length(vector) FROM vectors LIMIT 1")
                if known and known[0][0] != made[0].nbytes:  # the same name, and another model behind it
                    self._forget_vectors(self.embedder.name)
                self._db.executemany(
                    "INSERT OR REPLACE INTO vectors SELECT ?1, ?2 WHERE EXISTS (SELECT 1 FROM chunks WHERE id = ?1)",
                    [(row, vector.tobytes()) for (row, _), vector in zip(batch, made, strict=True)],
                )
            num_made += len(batch)
            if report:
                report("vectors", num_made, num_made + self._sql(f"SELECT count(*) {without}")[0][0])
        return num_made

    def _forget_vectors(self, embedder: str) -> None:
        self._sql("DELETE FROM vectors")
        self._sql("INSERT OR REPLACE INTO state VALUES ('embedder', ?)", (embedder,))

    # --- what goes out

    def remove(self, paths: Iterable[Path]) -> int:
        """Remove files, and all files of folders, without a trace in the library's file; return their number."""
        count = self._forget([known for path in paths for known in self._inside(path)])
        self._tidy()
        return count

    def _inside(self, path: Path) -> list[str]:
        """Return the library's files that `path` is or contains; a link is first the file of its own name, then its
        target.
        """
        self._check_files()
        known = [p for (p,) in self._sql("SELECT path FROM files")]
        for whole in (_full(path), str(path.resolve())):
            found = [p for p in known if p == whole or p.startswith(f"{whole}/")]
            if found:
                return found
        return []

    def _forget(self, paths: Sequence[str]) -> int:
        with self._transaction():
            return sum(self._delete(path) for path in paths)

    def _delete(self, path: str) -> int:
        """Delete a file with its chunks, words and vectors."""
        key = (os.fsencode(path),)
        rows = self._sql(
            "SELECT chunks.id, text FROM chunks JOIN files ON files.id = file WHERE path = CAST(? AS TEXT)", key
        )
        for row, text in rows:
            # a table of words alone does not know what it held: it must be told
            self._sql("INSERT INTO words (words, rowid, terms) VALUES ('delete', ?, ?)", (row, " ".join(terms(text))))
            self._sql("DELETE FROM vectors WHERE chunk = ?", (row,))
        self._sql("INSERT OR REPLACE INTO state VALUES ('untidy', 'yes')")
        self._sql("DELETE FROM chunks WHERE file = (SELECT id FROM files WHERE path = CAST(? AS TEXT))", key)
        return len(self._sql("DELETE FROM files WHERE path = CAST(? AS TEXT) RETURNING id", key))

    def _tidy(self) -> None:
        """Merge the word index, which removes deleted words from it, and compact the database file if anything was
        deleted.
        """
        self._sql("INSERT INTO words (words) VALUES ('optimize')")
        if self._state("untidy"):
            self._sql("VACUUM")
            self._sql("DELETE FROM state WHERE name = 'untidy'")
        self._sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def _state(self, name: str) -> str:
        return "".join(value for (value,) in self._sql("SELECT value FROM state WHERE name = ?", (name,)))

    # --- what is found

    async def search(self, query: str, k: int = 5) -> list[Passage]:
        """Return the `k` passages with the best fused ranks by words and by vectors.

        Each language has a ranking of its own by vectors, and the best of each take turns: an embedder puts all texts
        in the query's language first, whatever they say. The score of a passage is evidence between 0 and 1: how much
        of the query's rare words it holds, or how close the meanings are, whichever is more. The best score stands
        first.
        """
        asked = list(dict.fromkeys(terms(query)))
        weights = self._weights(asked)
        rankings = [self._by_words(self._rarest_terms(asked, weights))]
        cosines: dict[int, float] = {}
        if self.can_embed and self.embedder is not None:
            vector = (await self.embedder.queries([query]))[0]
            for rows, vectors in self._vectors().values():
                close = vectors @ vector
                best = np.argsort(-close, kind="stable")[:_RANKED]
                rankings.append([rows[i] for i in best])
                cosines |= {rows[i]: float(close[i]) for i in best}
        fused: dict[int, float] = {}
        for ranking in rankings:
            for rank, row in enumerate(ranking, start=1):
                fused[row] = fused.get(row, 0.0) + 1 / (_RRF + rank)
        language, languages = language_of(query), self._languages(fused)
        seen: Counter[str] = Counter()
        turns: dict[int, int] = {}
        for row in sorted(fused, key=lambda r: (-fused[r], r)):
            rank, is_own = seen[languages[row]], languages[row] == language
            # own, other, other, own, other, own ...: across languages words do not help, and the right one stands lower
            turns[row] = (rank and 2 * rank + 1) if is_own else max(1, 2 * rank)
            seen[languages[row]] += 1
        found: dict[str, Passage] = {}
        for row in sorted(turns, key=turns.__getitem__):
            if len(found) == max(k, _COMPARED):
                break
            passage = self._passage(row, weights, cosines.get(row, 0.0), language)
            found.setdefault(passage.text, passage)  # copies of a text count once
        passages = list(found.values())
        if len(asked) <= _LONG_QUESTION:  # of a longer one, the ordinary words would outweigh those that tell
            passages.sort(key=lambda passage: -passage.score)
        scores = list(accumulate((min(1.0, p.score) for p in reversed(passages)), max))[::-1]
        return [replace(passage, score=score) for passage, score in zip(passages, scores, strict=True)][:k]

    def _check_files(self) -> None:
        """Raise DataError if a file has no text for a path, which no schema protects from a flipped bit."""
        kinds = " AND ".join(f"typeof({column}) = 'text'" for column in ("path", "digest", "problem"))
        if self._sql(f"SELECT count(*) FROM files WHERE NOT ({kinds})")[0][0]:
            raise DataError(f"{self.path} is damaged: a file in it has no path; make the library again")

    def _languages(self, rows: Iterable[int]) -> dict[int, str]:
        """Return the language of each chunk. Raises DataError if one is missing or damaged."""
        self._check_files()
        wanted = list(rows)
        kinds = "typeof(language) = 'text' AND typeof(text) = 'text' AND typeof(place) = 'text'"
        found = dict(
            self._sql(f"SELECT id, language FROM chunks WHERE id IN ({','.join(map(str, wanted))}) AND {kinds}")
        )
        if len(found) < len(wanted):
            raise DataError(
                f"{self.path} is damaged: it has the words of a text that is not there; make the library again"
            )
        return found

    def _rarest_terms(self, asked: Sequence[str], weights: dict[str, float]) -> list[str]:
        """Return the terms to look for: of a long question the rarest that occur in the library.

        Summed over a hundred ordinary words, chance outweighs the two that tell: with all of them 27% of questions of
        200 words find their passage among five, with the 24 rarest 100% (`bench.brought`).
        """
        if len(asked) <= _LONG_QUESTION:
            return list(asked)
        there = [t for t in asked[:_TERMS] if self._sql("SELECT 1 FROM vocabulary WHERE term = ?", (t,))]
        return sorted(there, key=lambda term: -weights[term])[:_RAREST]

    def _by_words(self, asked: Sequence[str]) -> list[int]:
        """Return chunks ranked by the words of a query."""
        if not asked:
            return []
        terms_asked = [found for term in asked[:_TERMS] for found in self._indexed_as(term)]
        wanted = " OR ".join(f'"{term}"' for term in terms_asked)
        if not wanted:
            return []
        found = self._sql("SELECT rowid FROM words WHERE words MATCH ? ORDER BY rank LIMIT ?", (wanted, _RANKED))
        return [row for (row,) in found]

    def _indexed_as(self, term: str) -> list[str]:
        """Return the index's terms for a term of a query: a single Han character stands in pairs with its neighbours."""
        if not is_han(term) or len(term) > 1:
            return [term]
        pairs = self._sql(
            "SELECT term FROM vocabulary WHERE term LIKE ? ORDER BY doc DESC LIMIT ?", (f"%{term}%", _PAIRS)
        )
        return [pair for (pair,) in pairs]

    def _vectors(self) -> dict[str, tuple[list[int], Vectors]]:
        """Return chunks and vectors by language, kept in memory until any connection changes the file."""
        state = self._sql("PRAGMA data_version")[0][0], self._db.total_changes
        if self._known is None or self._known[0] != state:
            found: dict[str, tuple[list[int], list[bytes]]] = {}
            for row, language, vector in self._sql(
                "SELECT chunk, language, vector FROM vectors JOIN chunks ON chunks.id = chunk ORDER BY chunk"
            ):
                rows, blobs = found.setdefault(language, ([], []))
                rows.append(row)
                blobs.append(vector)
            self._known = (
                state,
                {
                    language: (
                        rows,
                        np.frombuffer(b"".join(blobs), np.float16).reshape(len(rows), -1).astype(np.float32),
                    )
                    for language, (rows, blobs) in found.items()
                },
            )
        return self._known[1]

    def _weights(self, asked: Sequence[str]) -> dict[str, float]:
        """Return the weight of each term of a query: the logarithm of how rare it is among the chunks."""
        total = self.num_chunks
        counts = {term: self._sql("SELECT doc FROM vocabulary WHERE term = ?", (term,)) for term in asked[:_TERMS]}
        return {term: math.log(1 + total / (1 + (count[0][0] if count else 0))) for term, count in counts.items()}

    def _passage(self, row: int, weights: dict[str, float], cosine: float, asked_in: str) -> Passage:
        """Build a passage with its evidence score from words and meaning."""
        found = self._sql(
            "SELECT path, language, text, place FROM chunks JOIN files ON files.id = file WHERE chunks.id = ?", (row,)
        )
        if not found:
            raise DataError(f"{self.path} is damaged: it finds a text whose file is not there; make the library again")
        path, language, text, place = found[0]
        held = set(terms(text))
        singles = {c for term in held if is_han(term) for c in term}
        share = sum(w for term, w in weights.items() if term in held or term in singles) / (
            sum(weights.values()) or 1.0
        )
        if language in _COSINES and language == asked_in:
            by_meaning = _evidence(cosine, *_COSINES[language])
        else:
            by_meaning = min(_MOST_BETWEEN, _evidence(cosine, *_COSINES_BETWEEN))
        return Passage(text, _shown_path(path), place, max(_evidence(share, *_WORDS), by_meaning))

    # --- what is known about it

    @property
    def num_chunks(self) -> int:
        return int(self._sql("SELECT count(*) FROM chunks")[0][0])

    @property
    def num_vectors(self) -> int:
        return int(self._sql("SELECT count(*) FROM vectors")[0][0])

    @property
    def embedded_by(self) -> str:
        """Return the name of the embedder that made the vectors, or "" if there are none."""
        return self._state("embedder")

    @property
    def can_embed(self) -> bool:
        """Whether the embedder at hand is the one that made the vectors."""
        return self.embedder is not None and self.embedder.name == self.embedded_by and self.num_vectors > 0

    def files(self) -> list[LibraryFile]:
        """Return all files by path."""
        self._check_files()
        found = self._sql(
            "SELECT path, count(chunks.id), problem FROM files LEFT JOIN chunks ON file = files.id GROUP BY files.id ORDER BY path"
        )
        return [LibraryFile(_shown_path(path), count, problem) for path, count, problem in found]

    def check(self) -> list[str]:
        """Return faults of the file itself, a sentence each; nothing if all is well."""
        try:
            wrong = [str(line) for (line,) in self._sql("PRAGMA integrity_check") if line != "ok"]
            self._sql("INSERT INTO words (words) VALUES ('integrity-check')")
            words = self._sql("SELECT count(*) FROM words_docsize")[0][0]
            if words != self.num_chunks:
                wrong.append(f"{self.num_chunks} chunks, but the words of {words}")
            lost = self._sql("SELECT count(*) FROM vectors WHERE chunk NOT IN (SELECT id FROM chunks)")[0][0]
            if lost:
                wrong.append(f"{lost} vectors of chunks that are not there")
        except DataError as error:
            wrong = [str(error)]
        return wrong

    def changed(self) -> list[str]:
        """Return files that differ on disk or are gone, a sentence each."""
        found = []
        self._check_files()
        for path, digest in self._sql("SELECT path, digest FROM files ORDER BY path"):
            page = read_page(Path(path), path)
            if _digest(page) == digest:
                continue
            if not Path(path).exists():
                found.append(f"{_shown_path(path)} is gone")
            else:
                found.append(f"{_shown_path(path)} has changed")
        return found

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Run the statements inside as one transaction."""
        self._sql("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._sql("ROLLBACK")
            raise
        self._sql("COMMIT")

    def _sql(self, statement: str, values: Sequence[object] = ()) -> list[Any]:
        """Run a statement and return its rows. All go through here, so that a damaged or busy file costs a sentence."""
        try:
            return self._db.execute(statement, values).fetchall()
        except (sqlite3.Error, UnicodeDecodeError) as error:  # SQLite's own words may hold a damaged name
            if "locked" in str(error):
                raise ResourceError(f"{self.path} is being written by another process; wait for it to end") from error
            raise DataError(f"{self.path} is no library, or damaged: {error}") from error


def _evidence(value: float, low: float, high: float) -> float:
    return max(0.0, (value - low) / (high - low))


def _files(path: Path, skipped: Counter[str] | None = None) -> list[Path]:
    """Return the files of `path`, with their full paths; `skipped` counts what is left out of folders, by kind."""
    if not path.is_dir():
        return [Path(_full(path))]
    listing = list_folder(path.resolve())
    if skipped is not None:
        skipped.update(listing.skipped)
    return listing.paths


def _full(path: Path) -> str:
    """Return the full path, in which the last name may be that of a link."""
    return str(path.parent.resolve() / path.name) if path.name not in ("", "..") else str(path.resolve())


def _digest(page: Page) -> str:
    return hashlib.blake2b(page.body + page.error.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


def _shown_path(path: str) -> str:
    """Return the path relative to the working directory, if it lies below."""
    here = Path.cwd()
    near = str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path
    return printable(near)
