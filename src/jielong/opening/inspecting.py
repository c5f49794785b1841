"""Inspection of a path before training: its kind, and how much of it can be used; chats, preferences, folders, models.

Files of records are read one record at a time and nothing of them is held, so that size is no matter. Records are shown
exactly as they would be trained on: rendered, with the marks of the chat template, and cut where training cuts them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jielong.data.chat_files import Forms, Tally, as_sequence_reader, each_record
from jielong.data.forms import chat_of, is_plain_text
from jielong.data.judged import is_own, preferences_of
from jielong.data.sources import list_folder
from jielong.errors import CheckpointError, ConfigError, DataError
from jielong.outside import HEAD_BYTES, open_unpacked, read_lines
from jielong.records import Conversation, Preference
from jielong.runs import is_run
from jielong.tokens.chat import Rendered, render_preference, texts
from jielong.tokens.tokenizer import Tokenizer, TokenizerConfig, train_tokenizer
from jielong.use.tools.rendering import render_conversation

if TYPE_CHECKING:
    from jielong.model.transformer import ModelConfig

SAMPLE = 500
"""Records from which a tokenizer is trained where none is given."""

VOCAB_SIZE = 4096

_FIRST = 20
"""Records among which the first that can be parsed tells what a file is."""


@dataclass
class Lengths:
    """The lengths of records in tokens, counted by powers of two, so that the largest file takes no memory."""

    count: int = 0
    total: int = 0
    longest: int = 0
    above: int = 0
    """Records that are longer than the context."""
    untrained: int = 0
    """Of those, records of which nothing that is trained lies within the context."""
    by_power: Counter[int] = field(default_factory=Counter)

    def add(self, rendered: Rendered, context: int) -> None:
        """Count one rendered record, and whether it is cut or left without trained tokens by `context`."""
        size = len(rendered.ids)
        self.count, self.total, self.longest = self.count + 1, self.total + size, max(self.longest, size)
        self.by_power[max(0, size - 1).bit_length()] += 1
        if size > context:
            self.above += 1
            self.untrained += not any(rendered.trained[1:context])

    def median_below(self) -> int:
        """Return a power of two that at least half of the records do not exceed."""
        seen = 0
        for power in sorted(self.by_power):
            seen += self.by_power[power]
            if 2 * seen >= self.count:
                return 1 << power
        return 0


@dataclass
class Inspected:
    """The findings on a path: `usable` is how much of it can be used, `shown` are examples as they are trained on."""

    path: str
    taken_for: str
    usable: int
    findings: list[str] = field(default_factory=list)
    shown: list[list[tuple[str, bool]]] = field(default_factory=list)
    """Of each example its pieces of text, and whether the assistant is trained to write them."""
    figures: dict[str, Any] = field(default_factory=dict)


def inspect(
    path: Path,
    *,
    tokenizer: Tokenizer | None = None,
    context: int = 512,
    num_shown: int = 3,
    progress: Callable[[int], None] | None = None,
) -> Inspected:
    """Inspect a file or a folder; DataError or CheckpointError where it cannot be opened at all.

    Tokens are those of `tokenizer`, or of one that is trained on the first records, as a recipe would train it.
    """
    from jielong.runs import named_stage

    if named_stage(path)[1] is not None:
        return _inspect_model(path)
    if path.is_dir():
        is_model = any((path / name).exists() for name in ("config.json", "adapter_config.json"))
        return _inspect_model(path) if is_model or is_run(path) else _inspect_folder(path)
    with open_unpacked(path) as file:
        head = file.read(HEAD_BYTES)
    if head.startswith(b"GGUF"):
        return _inspect_gguf(path)
    begin = list(islice(read_lines(path), _FIRST))
    if not begin:
        return Inspected(str(path), "an empty file", 0, ["it holds no record"])
    data = next((line.data for line in begin if isinstance(line.data, dict)), {})
    if is_own(data) or ("chosen" in data and "rejected" in data):
        return _inspect_records(path, "preferences", preferences_of, tokenizer, context, num_shown, progress)
    if is_plain_text(data):
        return _inspect_texts(path, num_shown)
    return _inspect_records(path, "chats", as_sequence_reader(chat_of), tokenizer, context, num_shown, progress)


def _inspect_gguf(path: Path) -> Inspected:
    """Inspect a model in a GGUF file."""
    from jielong.model.gguf import GgufFile

    what = "a model in a GGUF file"
    try:
        config = GgufFile(path).config
    except (CheckpointError, ConfigError, DataError) as error:
        return Inspected(str(path), what, 0, [str(error)])
    return Inspected(str(path), what, 1, [_size(config), f"import it: jielong import {path}"])


def _size(config: ModelConfig) -> str:
    """Describe a model's family, parameters and positions."""
    from jielong.model.presets import num_parameters

    millions = num_parameters(config) / 1e6
    return f"{config.model_type}, {millions:,.1f}M parameters, {config.max_position_embeddings:,} positions"


def _inspect_model(path: Path) -> Inspected:
    """Inspect a run, a model folder or an adapter, with its tokenizer."""
    from jielong.model import adapter_files
    from jielong.model.hf import Files, read_config
    from jielong.runs import find_model

    folder, adapted = find_model(path), []
    try:
        if adapter_files.is_adapter(folder):
            adapter, _ = adapter_files.read_config(folder)
            folder = adapter_files.base_of(folder)
            kind = "a decomposed adapter (DoRA)" if adapter.decomposed else "an adapter"
            adapted = [f"{kind} of rank {adapter.rank} for {folder}"]
        config, _ = read_config(folder)
        with Files(folder):  # opens the weights and reads their headers
            pass
    except (CheckpointError, ConfigError, DataError) as error:
        return Inspected(str(path), "a model folder", 0, [str(error)])
    findings = [
        *adapted,
        _size(config),
        f"{config.num_hidden_layers} layers, {config.hidden_size} wide, {config.vocab_size:,} ids",
    ]
    try:
        tokenizer = Tokenizer.load(folder)
        has_template = tokenizer.is_own or tokenizer.template is not None
        findings.append(
            f"a tokenizer of {tokenizer.vocab_size:,} ids, {'with' if has_template else 'without'} a chat template"
        )
        if tokenizer.template is not None and tokenizer.template.fault:
            findings.append(f"it can write and not chat: {tokenizer.template.fault}")
    except (CheckpointError, ConfigError, DataError) as error:
        findings.append(f"no tokenizer that can be used: {error}")
    return Inspected(str(path), "a run" if is_run(path) else "a model folder", 1, findings)


def _inspect_folder(path: Path) -> Inspected:
    """Inspect a folder of documents by the kinds and sizes of its files."""
    listing = list_folder(path)
    kinds = Counter(p.suffix.lower() for p in listing.paths)
    size = sum(p.stat().st_size for p in listing.paths if p.exists())
    findings = [str(listing), f"{size:,} bytes in files to read"]
    findings += [f"{count:,} end in {ending}" for ending, count in kinds.most_common()]
    figures = {"files": len(listing.paths), "bytes": size, "endings": dict(kinds), "skipped": dict(listing.skipped)}
    return Inspected(str(path), "a folder of documents", len(listing.paths), findings, figures=figures)


def _inspect_texts(path: Path, num_shown: int) -> Inspected:
    """Inspect JSON lines of plain texts, as a folder of documents may hold them."""
    count, wrong = 0, 0
    shown: list[list[tuple[str, bool]]] = []
    for line in read_lines(path):
        if line.problem or not isinstance(line.data, dict) or not isinstance(line.data.get("text"), str):
            wrong += 1
            continue
        count += 1
        if len(shown) < num_shown:
            shown.append([(line.data["text"], True)])
    findings = [
        f"{count:,} texts; put the file into a folder and give that to jielong adapt or jielong run own, as --source"
    ]
    if wrong:
        findings.append(f"wrong: {wrong:,} records have no text")
    return Inspected(str(path), "plain texts", count, findings, shown, {"texts": count, "wrong": wrong})


def _inspect_records(
    path: Path,
    what: str,
    formed: Forms[Any],
    tokenizer: Tokenizer | None,
    context: int,
    num_shown: int,
    progress: Callable[[int], None] | None,
) -> Inspected:
    """Inspect a file of chats or preferences: forms, errors, lengths and rendered examples."""
    is_given = tokenizer is not None
    tokenizer = tokenizer or _train_on_first(path, formed)
    tally, lengths, refused = Tally(), Lengths(), Counter[str]()
    shown: list[list[tuple[str, bool]]] = []
    for _, found in each_record(path, formed, tally):
        if progress is not None:
            progress(tally.num_records)
        if tokenizer is None:
            continue
        try:
            sides = _sides(found.record, tokenizer)
        except DataError as error:
            refused[str(error)] += 1
            continue
        for one in sides:
            lengths.add(one, context)
        if len(shown) < num_shown:
            shown += [_pieces(one, tokenizer) for one in sides]
    num_refused = sum(refused.values())
    findings = tally.sentences()
    if refused:
        findings.append(
            f"left out: {num_refused:,} that the chat template does not take: {refused.most_common(1)[0][0]}"
        )
    if lengths.count:
        of_whom = "the model's tokenizer" if is_given else "a tokenizer that was trained on the first records"
        findings += [
            f"{lengths.total:,} tokens of {of_whom}: half have at most {lengths.median_below():,}, the longest "
            f"{lengths.longest:,}",
            f"longer than {context:,} tokens: {lengths.above:,}, of which {lengths.untrained:,} have nothing to learn within",
        ]
    figures = {
        "records": tally.num_records,
        "used": tally.num_used - num_refused,
        "forms": dict(tally.forms),
        "left_out": {why: places.count for why, places in tally.useless.items()},
        "odd": {why: places.count for why, places in tally.odd.items()},
        "not_read": dict(tally.unread),
        "wrong": tally.num_problems,
        "refused_by_template": num_refused,
        "tokens": lengths.total,
        "longest": lengths.longest,
        "longer_than_context": lengths.above,
        "nothing_within_context": lengths.untrained,
        "context": context,
    }
    # a file with a wrong record is refused as a whole
    usable = 0 if tally.num_problems else tally.num_used - num_refused
    return Inspected(str(path), what, usable, findings, shown, figures)


def _train_on_first(path: Path, formed: Forms[Any]) -> Tokenizer | None:
    """Train a tokenizer of our own on the first records; None where none of them can be used."""

    def said() -> Iterator[str]:
        """Yield the texts of the first records."""
        for number, (_, found) in enumerate(each_record(path, formed, Tally())):
            if number >= SAMPLE:
                return
            record = found.record
            turns = record.messages if isinstance(record, Conversation) else (*record.prompt, *record.chosen)
            yield from texts(turns)

    sample = list(said())
    return train_tokenizer(sample, TokenizerConfig(vocab_size=VOCAB_SIZE)) if sample else None


def _sides(record: Conversation | Preference, tokenizer: Tokenizer) -> list[Rendered]:
    """Render a chat, or both conversations of a preference."""
    if isinstance(record, Preference):
        pair = render_preference(record, tokenizer)
        return [pair.chosen, pair.rejected]
    return [render_conversation(record, tokenizer)]


def _pieces(rendered: Rendered, tokenizer: Tokenizer) -> list[tuple[str, bool]]:
    """Split the exact text into trained and untrained pieces."""
    pieces: list[tuple[list[int], bool]] = []
    for token, is_trained in zip(rendered.ids, rendered.trained, strict=True):
        if not pieces or pieces[-1][1] != is_trained:
            pieces.append(([], is_trained))
        pieces[-1][0].append(token)
    return [(tokenizer.decode_bytes(ids, skip_special=False).decode("utf-8", "replace"), t) for ids, t in pieces]
