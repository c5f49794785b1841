"""A library whose files, writers and embedders change under it: nothing is lost, doubled, or found by another text's vector."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from jielong.cli.main import main
from jielong.errors import DataError, ResourceError
from jielong.use.retrieval.embedders import Vectors
from jielong.use.retrieval.library import Library
from jielong.use.retrieval.terms import terms


class Numbers:
    """An embedder whose vector says which text it was made of: "document N ..." is the N-th unit vector."""

    name, width = "numbers", 64

    def __init__(self) -> None:
        self.meanwhile: Callable[[], None] | None = None

    async def passages(self, texts: Sequence[str]) -> Vectors:
        hook, self.meanwhile = self.meanwhile, None
        if hook:
            hook()
        return np.stack([np.eye(self.width, dtype=np.float32)[int(text.split()[1])] for text in texts])

    queries = passages


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "docs"
    made.mkdir()
    for number in range(8):
        (made / f"{number}.txt").write_text(f"document {number} speaks of subject {number}\n")
    return made


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    made = Library(tmp_path / "library.db", Numbers())
    yield made
    made.close()


def paths(library: Library) -> list[str]:
    return [Path(kept.path).name for kept in library.files()]


def wrong_vectors(library: Library) -> list[str]:
    """Texts that have the vector of another one."""
    rows = library._sql("SELECT text, vector FROM vectors JOIN chunks ON chunks.id = chunk")
    return [text for text, v in rows if int(np.argmax(np.frombuffer(v, np.float16))) != int(text.split()[1])]


def test_what_changes_while_it_is_embedded_gets_its_own_vector_and_no_other(library, folder):
    library.add([folder])
    assert isinstance(library.embedder, Numbers)

    def change() -> None:
        (folder / "7.txt").write_text(
            "document 50 now speaks of volcanoes\n"
        )  # the highest number of a chunk is free again
        (folder / "3.txt").unlink()
        with_another = Library(library.path)
        with_another.add([folder])
        with_another.close()

    library.embedder.meanwhile = change
    asyncio.run(library.embed())
    assert (library.num_vectors, library.num_chunks) == (7, 7)
    assert not wrong_vectors(library) and not library.check()


def test_the_same_embedder_with_another_width_makes_all_vectors_anew(library, folder):
    library.add([folder])
    asyncio.run(library.embed())
    assert isinstance(library.embedder, Numbers)
    library.embedder.width = 96
    (folder / "new.txt").write_text("document 90 is new\n")
    library.add([folder])
    asyncio.run(library.embed())
    assert library._sql("SELECT DISTINCT length(vector) FROM vectors") == [(192,)]
    assert library.num_vectors == 9 and not wrong_vectors(library)


def test_two_embedders_at_once_end_in_a_sentence(library, folder):
    library.add([folder])
    assert isinstance(library.embedder, Numbers)

    def other() -> None:
        with_another = Library(library.path)
        with_another._forget_vectors("others")  # as its `embed` begins
        with_another.close()

    library.embedder.meanwhile = other
    with pytest.raises(ResourceError, match="is being embedded by others"):
        asyncio.run(library.embed())


def test_a_moved_file_is_one_file_and_keeps_its_vectors(library, folder, tmp_path):
    library.add([folder])
    asyncio.run(library.embed())
    (tmp_path / "elsewhere").mkdir()
    (folder / "5.txt").rename(tmp_path / "elsewhere" / "five.txt")
    added = library.add([tmp_path / "elsewhere"])
    assert (added.moved, added.read) == (1, 0)
    assert "five.txt" in paths(library) and "5.txt" not in paths(library)
    assert library.num_vectors == library.num_chunks == 8
    (folder / "6.txt").rename(folder / "six.txt")
    added = library.add([folder])
    assert (added.moved, added.removed, len(paths(library))) == (1, 0, 8)


def test_what_has_vanished_can_be_forgotten_by_what_check_advises(library, folder, capsys):
    library.add([folder])
    (folder / "2.txt").unlink()
    assert any("2.txt is gone" in told for told in library.changed())
    assert library.add([folder / "2.txt"]).removed == 1
    for file in folder.iterdir():
        file.unlink()
    assert library.add([folder]).removed == 7  # a folder that is empty now
    (folder / "new.txt").write_text("document 9 is new\n")
    library.add([folder])
    (folder / "new.txt").unlink()
    folder.rmdir()
    assert library.add([folder]).removed == 1  # a folder that is gone
    assert not library.files() and not library.changed()
    with pytest.raises(DataError, match="the library holds nothing of it"):
        library.add([folder])
    assert main(["library", "check", "--library", str(library.path)]) == 0
    assert "Sound: 0 chunks" in capsys.readouterr().out


def test_copies_of_a_text_count_once_in_what_is_found(tmp_path):
    folder = tmp_path / "docs"
    folder.mkdir()
    for name in "abc":
        (folder / f"{name}.txt").write_text("The ferry to the island leaves at seven.\n")
    (folder / "d.txt").write_text("The ferry was painted blue last spring.\n")
    library = Library(tmp_path / "library.db")
    library.add([folder])
    found = asyncio.run(library.search("When does the ferry leave?", 2))
    assert len({passage.text for passage in found}) == 2
    library.close()


def test_one_character_and_an_emoji_find_their_passages(tmp_path):
    folder = tmp_path / "docs"
    folder.mkdir()
    lines = {
        "moon": "床前明月光，疑是地上霜。",
        "spring": "春眠不觉晓，处处闻啼鸟。",
        "smile": "The party was great 🎉 and long.",
    }
    for name, line in lines.items():
        (folder / f"{name}.txt").write_text(line + "\n")
    library = Library(tmp_path / "library.db")
    library.add([folder])
    for query, name in (
        ("月", "moon"),
        ("光", "moon"),
        ("霜", "moon"),
        ("鸟", "spring"),
        ("春", "spring"),
        ("🎉", "smile"),
    ):
        found = asyncio.run(library.search(query, 1))
        assert found and Path(found[0].where.split(",")[0]).stem == name, query
        assert found[0].score > 0
    assert not asyncio.run(library.search("龙", 1))
    library.close()
    assert terms("great 🎉!") == ["great", "emoji1f389"]


def test_a_long_question_loses_no_word(tmp_path):
    rng = random.Random(0)
    words = [f"{a}{b}{c}" for a in "bdfgklm" for b in "aeiou" for c in "nrstxz"]
    folder = tmp_path / "docs"
    folder.mkdir()
    for number in range(60):
        (folder / f"{number}.txt").write_text(" ".join(rng.choices(words, k=30)) + f" special{number}\n")
    library = Library(tmp_path / "library.db")
    library.add([folder])
    for number in (0, 30, 59):
        # many words that stand nowhere, and the one that tells at the end
        question = " ".join([*(f"nowhere{n}" for n in range(220)), f"special{number}"])
        found = asyncio.run(library.search(question, 5))
        assert f"special{number}" in " ".join(passage.text for passage in found)
    library.close()


OPEN = (
    "import sys, time\nfrom pathlib import Path\nfrom jielong.use.retrieval.library import Library\n"
    "while time.time() < float(sys.argv[2]): pass\nLibrary(Path(sys.argv[1])).close()"
)


def test_two_processes_may_make_the_library_at_the_same_moment(tmp_path):
    for number in range(3):
        file, at = tmp_path / f"{number}.db", time.time() + 2.0
        both = [
            subprocess.Popen([sys.executable, "-c", OPEN, str(file), str(at)], stderr=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        assert [p.communicate(timeout=60)[1] for p in both] == ["", ""]
        assert [p.returncode for p in both] == [0, 0]


def test_names_that_are_no_utf8_are_names(tmp_path):
    folder = tmp_path / "docs"
    folder.mkdir()
    odd = os.fsencode(folder) + b"/caf\xe9.txt"
    for name, text in (
        (os.fsencode(folder) + b"/a.txt", "herons"),
        (odd, "penguins"),
        (os.fsencode(folder) + b"/z.txt", "lions"),
    ):
        Path(os.fsdecode(name)).write_text(text)
    library = Library(tmp_path / "library.db")
    assert library.add([folder]).read == 3
    assert library.add([folder]).unchanged == 3
    found = asyncio.run(library.search("penguins"))
    assert [p.where.rsplit("/", 1)[-1] for p in found[:1]] == [r"caf\xe9.txt, line 1"]
    assert (library.changed(), library.check()) == ([], [])
    assert library.remove([Path(os.fsdecode(odd))]) == 1
    library.close()


def test_links_are_files_of_their_own_name(tmp_path):
    for name in ("f", "g"):
        (tmp_path / "C" / name).mkdir(parents=True)
    (tmp_path / "C" / "g" / "t.txt").write_text("narwhal")
    link = tmp_path / "C" / "f" / "link.txt"
    link.symlink_to("../g/t.txt")
    (tmp_path / "C" / "f" / "lost.txt").symlink_to("nowhere")
    (tmp_path / "C" / "all").symlink_to("g")
    library = Library(tmp_path / "library.db")
    added = library.add([tmp_path / "C"])
    assert added.skipped == {"links to folders": 1}
    assert library.changed() == []  # what could not be read then cannot be read now
    assert library.remove([link]) == 1
    assert [Path(kept.path).name for kept in library.files()] == ["lost.txt", "t.txt"]
    library.close()


def test_what_was_added_by_name_stays_when_its_folder_is_added(tmp_path):
    folder = tmp_path / "R"
    (folder / ".hid").mkdir(parents=True)
    for name in ("n.log", ".hid/h.txt", "a.txt"):
        (folder / name).write_text(f"about {name}")
    library = Library(tmp_path / "library.db")
    library.add([folder / "n.log", folder / ".hid"])
    again = library.add([folder])
    assert (again.read, again.removed) == (1, 0)
    (folder / "n.log").unlink()
    assert library.add([folder]).removed == 1
    library.close()
