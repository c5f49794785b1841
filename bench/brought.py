"""Files in every form, odd splits, large files, folders that change: is all of it read? `python -m bench.brought`.

`--data` and `--cases` name folders of real files and of odd ones, of which a row is written each; without them these rows
are left out. Everything else is made here.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.test_splits import EVERY, ODD, share

from bench.rows import Row, write_rows
from jielong.data.chat_files import read_chats, read_preferences
from jielong.data.splits import hold_out
from jielong.errors import DataError
from jielong.use.retrieval.library import Library

REFUSED = (
    "content_dict content_strlist content_image surrogate p_empty_chosen p_empty_list p_empty_rejected p_equal p_label_bool "
    "p_label_str p_margin_inf p_swap_type p_user_answer"
).split()
"""Odd files that are to be refused, by line and field; all others are read whole."""

UNANSWERED = {"kto_en_demo": 121, "hh_harmless": 3}
"""Records without an answer to learn from: it is labelled as bad, or empty."""


def read(file: Path) -> tuple[int, int, str]:
    """Records that are used, all records, and what is told of the others; 0 records where the file is refused."""
    is_pairs = file.name.startswith(("p_", "dpo", "hh"))
    try:
        reading = read_preferences(file) if is_pairs else read_chats(file)
    except DataError as error:
        return 0, 0, str(error).split("\n")[0].removeprefix(str(file))
    left_out = sum(places.count for places in reading.tally.useless.values())
    assert len(reading.records) + left_out == reading.tally.num_records
    return len(reading.records), reading.tally.num_records, "; ".join(reading.tally.sentences()[1:2])


def real_files(folder: Path) -> Iterator[Row]:
    for file in sorted(folder.glob("*.jsonl")):
        used, records, told = read(file)
        if not records:  # texts without questions: a folder's documents
            yield Row(f"{file.name}: told what it is", "plain texts", told[:60], "plain text" in told)
            continue
        answers = records - UNANSWERED.get(file.stem, 0)
        yield Row(
            f"{file.name}: records used",
            f"{answers} that have an answer",
            f"{used} of {records} ({used / records:.0%})",
            used == answers,
        )


def odd_files(folder: Path) -> Iterator[Row]:
    for file in sorted(folder.iterdir()):
        name = file.name.split(".")[0]
        used, records, told = read(file)
        is_refused = not records
        wanted = "refused" if name in REFUSED else "read"
        yield Row(
            file.name,
            wanted,
            f"refused{told}"[:80] if is_refused else f"read, {used} of {records}",
            is_refused == (name in REFUSED),
        )


def splits() -> Iterator[Row]:
    for name, make in ODD.items():
        off = max(abs(share(hold_out(make(random.Random(seed)), EVERY)) - 1 / EVERY) for seed in range(3))
        yield Row(f"held out, {name}: off by at most", "1", 100 * off, off <= 0.01, "points", (0, 1, 2))


def large_file(gigabytes: float) -> Iterator[Row]:
    code = (
        "import resource, sys, time\nfrom pathlib import Path\nfrom jielong.opening.inspecting import inspect\n"
        "start = time.monotonic()\nfound = inspect(Path(sys.argv[1]))\n"
        "print(found.usable, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, time.monotonic() - start)"
    )
    with tempfile.TemporaryDirectory() as folder:
        peaks = []
        for size in (10e6, gigabytes * 1e9):
            file = Path(folder) / f"{size:.0f}.jsonl"
            rng = random.Random(0)
            words = [f"w{n}" for n in range(5000)]
            written = 0
            with file.open("w") as out:
                while written < size:
                    turns = [
                        {"role": role, "content": " ".join(rng.choices(words, k=120))}
                        for role in ("user", "assistant") * 2
                    ]
                    written += out.write(json.dumps({"messages": turns}) + "\n")
            done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True)
            usable, peak, seconds = map(float, done.stdout.split())
            peaks.append(peak)
            file.unlink()
        grown = peaks[1] - peaks[0]
        yield Row(
            f"inspect, {gigabytes:g} GB of JSON lines: memory above that of 10 MB",
            "at most 20",
            grown,
            grown <= 20,
            "MB",
        )
        yield Row(f"inspect, {gigabytes:g} GB: time", "-", seconds, True, "s")
        yield Row(f"inspect, {gigabytes:g} GB: records", "all", int(usable), usable > 0)


def questions(count: int = 200) -> Iterator[Row]:
    """Recall@5 of questions of one Chinese character and of 200 words, over passages of which one has what is asked."""
    rng = random.Random(0)
    words = [f"{a}{b}{c}{d}" for a in "bdfgklmnprstvz" for b in "aeiou" for c in "nrstxz" for d in "aeo"]
    rng.shuffle(words)
    as_often = [1 / rank for rank in range(1, len(words) + 1)]  # as words of a language are (Zipf)

    def prose(count: int) -> list[str]:
        return rng.choices(words, as_often, k=count)

    han = [chr(c) for c in range(0x4E00, 0x4E00 + 3000)]
    rare = rng.sample(han, count)
    common = [c for c in han if c not in set(rare)]
    with tempfile.TemporaryDirectory() as folder:
        docs = Path(folder) / "docs"
        docs.mkdir()
        for number, one in enumerate(rare):
            line = [rng.choice(common) for _ in range(40)]
            line.insert(rng.randrange(41), one)
            (docs / f"zh{number}.txt").write_text("".join(line) + "\n", encoding="utf-8")
            (docs / f"en{number}.txt").write_text(" ".join(prose(80)) + f" subject{number} matter{number}\n")
        library = Library(Path(folder) / "library.db")
        library.add([docs])

        def recall(asked: Sequence[str], told: Sequence[str]) -> float:
            found = [asyncio.run(library.search(question, 5)) for question in asked]
            return sum(any(what in p.text for p in ps) for what, ps in zip(told, found, strict=True)) / len(asked)

        one = recall(rare, rare)
        long = [" ".join([*prose(198), f"subject{n}", f"matter{n}"]) for n in range(count)]
        many = recall(long, [f"subject{n} " for n in range(count)])
        library.close()
    yield Row("recall@5, questions of one Chinese character", "at least 0.95", one, one >= 0.95)
    yield Row("recall@5, questions of 200 words", "at least 0.95", many, many >= 0.95)


ADD = (
    "import sys\nfrom pathlib import Path\nfrom jielong.use.retrieval.library import Library\n"
    "library = Library(Path(sys.argv[1]))\nlibrary.add([Path(sys.argv[2])])\nlibrary.close()"
)


def changes(rounds: int, files: int = 300) -> Iterator[Row]:
    """Documents of mixed kinds, changed at random while two processes add the folder; at the end as a fresh library is."""
    rng = random.Random(0)
    begun_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        docs, file = Path(folder) / "docs", Path(folder) / "library.db"
        docs.mkdir()

        def write(path: Path) -> None:
            path.parent.mkdir(exist_ok=True)
            words = " ".join(f"word{rng.randrange(5000)}" for _ in range(40))
            text = {".json": json.dumps({"text": words}), ".csv": f"a,b\n{words},1\n", ".html": f"<p>{words}</p>"}
            path.write_text(text.get(path.suffix, words + "\n"))

        def place() -> Path:
            return (
                docs
                / f"part{rng.randrange(5)}"
                / f"{rng.randrange(10**6)}{rng.choice(['.txt', '.md', '.html', '.json', '.csv'])}"
            )

        for _ in range(files):
            write(place())
        failed: list[str] = []
        for _ in range(rounds):
            both = [
                subprocess.Popen([sys.executable, "-c", ADD, str(file), str(docs)], stderr=subprocess.PIPE, text=True)
                for _ in range(2)
            ]
            while any(process.poll() is None for process in both):
                there = [p for p in docs.rglob("*") if p.is_file()]
                for path in rng.sample(there, 3):
                    new = place()
                    new.parent.mkdir(exist_ok=True)
                    rng.choice([lambda p=path: write(p), lambda p=path, n=new: p.rename(n), path.unlink])()
                    if len(there) < files:
                        write(place())
                time.sleep(0.02)
            failed += [told.strip().splitlines()[-1] for p in both if (told := p.communicate()[1]).strip()]
        subprocess.run([sys.executable, "-c", ADD, str(file), str(docs)], check=True)
        subprocess.run([sys.executable, "-c", ADD, str(Path(folder) / "fresh.db"), str(docs)], check=True)
        old, fresh = Library(file), Library(Path(folder) / "fresh.db")
        contents = [
            {(k.path, tuple(sorted(t for (t,) in lib._sql(
                "SELECT text FROM chunks JOIN files ON files.id = file WHERE path = ?", (str(Path(k.path).resolve()),)
            )))) for k in lib.files()}
            for lib in (old, fresh)
        ]  # fmt: skip
        wrong = old.check() + old.changed()
        old.close(), fresh.close()
    name = f"{files} documents, {rounds} rounds of two processes"
    yield Row(
        f"{name}: files that differ from a fresh library",
        "0",
        len(contents[0] ^ contents[1]),
        contents[0] == contents[1],
    )
    yield Row(f"{name}: what check finds", "0", len(wrong), not wrong)
    yield Row(f"{name}: processes that failed", "0", len(failed), not failed)
    yield Row(f"{name}: time", "-", time.monotonic() - begun_s, True, "s")


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a folder of real JSONL files")
    parser.add_argument("--cases", type=Path, help="a folder of odd files")
    parser.add_argument("--gigabytes", type=float, default=1.0, help="of the large file (default: 1)")
    parser.add_argument("--rounds", type=int, default=100, help="of changes to a library (default: 100)")
    options = parser.parse_args(words)
    rows = [*splits(), *questions()]
    rows += [*real_files(options.data)] if options.data else []
    rows += [*odd_files(options.cases)] if options.cases else []
    rows += [*large_file(options.gigabytes), *changes(options.rounds)]
    write_rows("brought", rows)
    return 0 if all(row.ok for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
