"""Speed of our tokenizer against those libraries that are installed beside it: `python -m bench.tokenizer --text FILES`.

All contestants encode the same documents with the same merges, in one process and in turn; medians and ratios are of this
run. One-thread figures count the processor time of that thread, so that a busy machine changes them little; figures of
several threads are by the clock. Every contestant's ids are compared with those of the saved tokenizer.json. `--only`
may also ask for training, and for a long stream of text with how far the memory grew.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil
import tokenizers

from jielong.tokens.fast import num_threads
from jielong.tokens.tokenizer import HAN_SPLITS, Tokenizer, TokenizerConfig, _split_pattern, train_tokenizer
from jielong.worlds.atlas.articles import write_articles
from jielong.worlds.atlas.facts import load_countries


def texts_of(files: Iterable[Path], megabytes: float) -> list[str]:
    """Documents of about 1,500 characters from .txt files, and the longer strings of .jsonl files, shuffled; repeated
    in a new order until there are enough. Without files, articles of the embedded world."""
    found: list[str] = []
    for file in files:
        text = file.read_text(encoding="utf-8")
        if file.suffix == ".jsonl":
            found += [s for line in text.splitlines() for s in strings(json.loads(line)) if len(s) > 20]
        else:
            found += [text[i : i + 1500] for i in range(0, len(text), 1500)]
    if not found:
        found = [d.text for d in write_articles(load_countries(), 0, 20_000)]
    rng = random.Random(0)
    out: list[str] = []
    size = 0.0
    while size < megabytes * 1e6:
        rng.shuffle(found)
        for text in found:
            out.append(text)
            size += len(text.encode())
            if size >= megabytes * 1e6:
                break
    return out


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from strings(inner)


def contestants(tokenizer: Tokenizer, threads: int) -> dict[str, Callable[[list[str]], list[Any]]]:
    """By name, what encodes a list of texts; only libraries that are installed."""
    pattern = _split_pattern(next(iter(HAN_SPLITS)))
    ranks = {tokenizer.token_bytes(i): i for i in range(64, tokenizer.vocab_size)}
    library = tokenizers.Tokenizer.from_str(tokenizer.to_json())
    found: dict[str, Callable[[list[str]], list[Any]]] = {
        f"jielong, {threads} thread(s)": lambda texts: list(tokenizer.encode_documents(texts, threads)),
        "jielong, one text a call": lambda texts: [tokenizer.encode(t) for t in texts],
        "tokenizers, encode_batch_fast": lambda texts: [e.ids for e in library.encode_batch_fast(texts)],
    }
    try:
        import tiktoken

        plain = tiktoken.Encoding("plain", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
        found["tiktoken, one text a call"] = lambda texts: [plain.encode_ordinary(t) for t in texts]
        found["tiktoken, batch"] = lambda texts: plain.encode_ordinary_batch(texts, num_threads=threads)
    except ImportError:
        pass
    return found


def encoding(tokenizer: Tokenizer, texts: list[str], rounds: int, threads: int) -> None:
    megabytes = sum(len(t.encode()) for t in texts) / 1e6
    reference = tokenizers.Tokenizer.from_str(tokenizer.to_json())
    reference.encode_special_tokens = True
    expected = [e.ids for e in reference.encode_batch_fast(texts)]
    for count in dict.fromkeys((1, threads)):
        taking = contestants(tokenizer, count)
        if count > 1:
            taking = {n: work for n, work in taking.items() if "one text" not in n}
        seconds: dict[str, list[float]] = {name: [] for name in taking}
        # one thread: its processor time, or the whole process's for a library with threads of its own
        clock = time.process_time if count == 1 else time.perf_counter
        for _ in range(rounds):
            for name, work in taking.items():
                start = clock()
                made = work(texts)
                seconds[name].append(clock() - start)
                is_same = all(list(a)[: len(b)] == b for a, b in zip(made, expected, strict=True))
                if not is_same:
                    print(f"  {name}: other ids")
        first = next(iter(seconds))
        print(f"\nencoding {megabytes:.1f} MB, {len(texts)} documents, {count} thread(s)")
        for name, took in seconds.items():
            ratio = statistics.median(b / a for a, b in zip(seconds[first], took, strict=True))
            print(f"  {name:<34}{megabytes / statistics.median(took):>8.1f} MB/s {ratio:>8.2f}x the time of the first")


def training(texts: list[str], vocab_size: int, rounds: int) -> None:
    pattern = _split_pattern(next(iter(HAN_SPLITS)))
    taking: dict[str, Callable[[], object]] = {
        "jielong": lambda: train_tokenizer(texts, TokenizerConfig(vocab_size=vocab_size))
    }
    try:
        import rustbpe

        # 64 special ids are no part of its vocabulary
        taking["rustbpe"] = lambda: rustbpe.Tokenizer().train_from_iterator(
            iter(texts), vocab_size - 64, pattern=pattern
        )
    except ImportError:
        pass
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in taking}
    for _ in range(rounds):
        for name, work in taking.items():
            wall, cpu = time.perf_counter(), time.process_time()
            work()
            seconds[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    print(f"\ntraining {vocab_size} ids on {sum(len(t.encode()) for t in texts) / 1e6:.1f} MB")
    for name, took in seconds.items():
        by_clock, by_processor = (statistics.median(t) for t in zip(*took, strict=True))
        print(f"  {name:<34}{by_clock:>8.2f} s by the clock, {by_processor:.2f} s of processor time")


def streaming(tokenizer: Tokenizer, texts: list[str], megabytes: float, threads: int) -> None:
    process = psutil.Process()
    highest = 0

    def endless() -> Iterator[str]:
        nonlocal highest
        done = 0.0
        while done < megabytes * 1e6:
            for number, text in enumerate(texts):
                # a new string each time, as a file would give
                yield f"{number} {text}"
                done += len(text.encode())
                if number % 1024 == 0:
                    highest = max(highest, process.memory_info().rss)
                if done >= megabytes * 1e6:
                    return

    before = process.memory_info().rss
    start = time.perf_counter()
    num_tokens = sum(len(ids) for ids in tokenizer.encode_documents(endless(), threads))
    took = time.perf_counter() - start
    grown = (highest - before) / 1e6
    print(
        f"\nstream of {megabytes:.0f} MB, {threads} thread(s): {num_tokens:,} tokens, {megabytes / took:.1f} MB/s by the"
    )
    print(f"  clock, memory grew by {grown:.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, nargs="*", default=[], help=".txt and .jsonl files")
    parser.add_argument("--megabytes", type=float, default=8.0)
    parser.add_argument("--vocab", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=num_threads())
    parser.add_argument("--only", nargs="+", choices=["encoding", "training", "stream"], default=["encoding"])
    parser.add_argument("--stream", type=float, default=1000.0, metavar="MB", help="length of the stream")
    options = parser.parse_args()

    texts = texts_of(options.text, options.megabytes)
    tokenizer = train_tokenizer(texts, TokenizerConfig(vocab_size=options.vocab))
    start = time.perf_counter()
    tokenizer.encode("a")
    print(f"first text of a new tokenizer: {1e3 * (time.perf_counter() - start):.0f} ms")
    if "encoding" in options.only:
        encoding(tokenizer, texts, options.rounds, options.threads)
    if "training" in options.only:
        training(texts, options.vocab, options.rounds)
    if "stream" in options.only:
        streaming(tokenizer, texts, options.stream, options.threads)


if __name__ == "__main__":
    main()
