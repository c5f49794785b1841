"""Stages that make material: pages, clean documents, a tokenizer and its tokens, conversations, judgements."""

from __future__ import annotations

import json
import random
import shutil
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from jielong.data.refine import refine
from jielong.data.shards import encode_documents, write_shards
from jielong.data.sources import Page, list_pages, read_pages
from jielong.data.talks import read_chats, read_preferences
from jielong.errors import DataError
from jielong.generate.engine import Engine, EngineConfig
from jielong.model.hf import load_language_model
from jielong.model.transformer import LanguageModel
from jielong.recipes.atlas import lesson_items, prompt_items
from jielong.recipes.recipe import (
    FileStage,
    FolderStage,
    JudgementsStage,
    LessonsStage,
    RefineStage,
    Stage,
    SumsStage,
    TokenizerStage,
    WebStage,
)
from jielong.records import Conversation, Document, Message, Preference, Sampling, to_dict
from jielong.runs import canonical_json, derive_seed, now_s, read_json, write_directory, write_json, write_text
from jielong.tokens.chat import render, texts
from jielong.tokens.tokenizer import Tokenizer, train_tokenizer
from jielong.use.port import LocalPort
from jielong.use.tools.calculator import CALCULATOR
from jielong.use.tools.telling import described
from jielong.worlds.atlas.articles import write_articles
from jielong.worlds.atlas.facts import load_countries
from jielong.worlds.atlas.gold import candidates, judge, wrong_answer
from jielong.worlds.atlas.lessons import conversation
from jielong.worlds.atlas.web import write_web
from jielong.worlds.sums.items import talks

if TYPE_CHECKING:
    from jielong.recipes.execute import Context


def write_jsonl(path: Path, records: Iterable[Any]) -> int:
    """One record a line; the number of lines."""
    lines = [canonical_json(to_dict(r)) + "\n" for r in records]
    write_text(path, "".join(lines))
    return len(lines)


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a file made by an earlier stage; DataError when it is missing or damaged."""
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                try:
                    yield json.loads(line)
                except json.JSONDecodeError as error:
                    raise DataError(
                        f"{path}:{number}: damaged ({error}); delete {path.parent} and run again"
                    ) from error
    except FileNotFoundError:
        raise DataError(f"{path} is missing; delete {path.parent} and run again") from None


def read_documents(path: Path) -> list[Document]:
    return [Document.from_dict(d) for d in read_jsonl(path)]


def read_conversations(path: Path) -> list[Conversation]:
    return [Conversation.from_dict(d) for d in read_jsonl(path)]


def web(stage: WebStage, context: Context) -> dict[str, Any]:
    """pages.zip: every page as a file, index.jsonl beside them with address, type and what it truly is."""
    seed = derive_seed(context.recipe.seed, stage.name)
    articles = write_articles(load_countries(), seed, stage.articles)
    kinds: dict[str, int] = {}

    def fill(path: Path) -> None:
        index = []
        with zipfile.ZipFile(path / "pages.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as pages:
            for number, page in enumerate(write_web(articles, seed)):
                name = f"{number:06d}.html"
                pages.writestr(name, page.body)
                index.append({"file": name, "uri": page.uri, "content_type": page.content_type, "kind": page.kind})
                kinds[page.kind] = kinds.get(page.kind, 0) + 1
            pages.writestr("index.jsonl", "".join(canonical_json(line) + "\n" for line in index))

    write_directory(context.directory(stage.name), fill)
    return {"pages": sum(kinds.values()), "kinds": kinds}


def read_web(directory: Path) -> Iterator[Page]:
    """The pages of the embedded world; DataError when the archive is damaged."""
    try:
        with zipfile.ZipFile(directory / "pages.zip") as pages:
            for line in pages.read("index.jsonl").decode().splitlines():
                entry = json.loads(line)
                yield Page(entry["uri"], pages.read(entry["file"]), entry["content_type"])
    except (zipfile.BadZipFile, zlib.error, KeyError) as error:
        raise DataError(f"{directory / 'pages.zip'} is damaged ({error}); delete {directory} and run again") from error


def folder(stage: FolderStage, context: Context) -> dict[str, Any]:
    """Remember where the pages lie; they are read where they are."""
    write_json(context.directory(stage.name) / "folder.json", {"path": stage.path, "digest": stage.digest})
    return {"path": stage.path, "pages": len(list_pages(stage.path))}


def refine_pages(stage: RefineStage, context: Context) -> dict[str, Any]:
    """documents.jsonl, held_out.jsonl and the counts of what was dropped and why."""
    parent = context.parent(stage, "pages")
    if (parent / "pages.zip").exists():
        pages: Iterable[Page] = read_web(parent)
    else:
        pages = read_pages(Path(read_json(parent / "folder.json")["path"]))
    total, start_s = context.run.record["stages"][stage.inputs["pages"]]["summary"]["pages"], now_s()

    def show(done: int) -> None:
        # the first page pays for what is loaded with it and says nothing about the rest
        left_s = (now_s() - start_s) / done * (total - done) if done > total / 50 else 0.0
        context.display.update(done, total, None, 0.0, left_s, "pages")

    documents, report = refine(pages, stage.refine, show)
    if len(documents) < 2:
        raise DataError(
            f"refining left {len(documents)} documents of {report.num_pages} pages; at least 2 are needed\n{report}"
        )
    order = list(range(len(documents)))
    random.Random(derive_seed(context.recipe.seed, stage.name, "held out")).shuffle(order)
    num_held_out = max(1, round(len(documents) * stage.held_out_fraction))
    held_out = set(order[:num_held_out])
    directory = context.directory(stage.name)
    write_jsonl(directory / "documents.jsonl", (d for i, d in enumerate(documents) if i not in held_out))
    write_jsonl(directory / "held_out.jsonl", (d for i, d in enumerate(documents) if i in held_out))
    write_json(directory / "report.json", report.to_dict())
    write_text(directory / "report.txt", str(report))
    context.display.message(str(report))
    return report.to_dict() | {"examples": {}}


def tokenizer(stage: TokenizerStage, context: Context) -> dict[str, Any]:
    """tokenizer/ in Hugging Face's layout, and both parts of the text as token shards."""
    if "chats" in stage.inputs:
        return _chat_tokenizer(stage, context)
    parent = context.parent(stage, "documents")
    documents, held_out = (read_documents(parent / f"{name}.jsonl") for name in ("documents", "held_out"))
    made = train_tokenizer((d.text for d in documents), stage.tokenizer)
    write_directory(context.directory(stage.name) / "tokenizer", made.save)
    counts = write_tokens(context.directory(stage.name), made, train=documents, held_out=held_out)
    return _about(made, [d.text for d in documents[:500]], counts)


def _chat_tokenizer(stage: TokenizerStage, context: Context) -> dict[str, Any]:
    """The same of chats, whose shards are whole conversations as they are rendered, marks and all."""
    parent, directory = context.parent(stage, "chats"), context.directory(stage.name)
    chats, held_out = (read_conversations(parent / f"{name}.jsonl") for name in ("chats", "held_out"))
    made = train_tokenizer((text for chat in chats for text in texts(chat.messages)), stage.tokenizer)
    write_directory(directory / "tokenizer", made.save)
    counts = {}
    for part, records in (("train", chats), ("held_out", held_out)):
        shutil.rmtree(directory / part, ignore_errors=True)  # what a kill may have left of an earlier try
        rendered = ((str(number), render(chat.messages, made).ids) for number, chat in enumerate(records))
        counts[part] = write_shards(directory / part, rendered, made).num_tokens
    return _about(made, ["".join(texts(chat.messages)) for chat in chats[:500]], counts)


def _about(made: Tokenizer, texts: Sequence[str], counts: dict[str, int]) -> dict[str, Any]:
    return {"vocab_size": made.vocab_size, "tokens": counts, "bytes_per_token": made.bytes_per_token(texts)}


def write_tokens(directory: Path, tokenizer: Tokenizer, **parts: list[Document]) -> dict[str, int]:
    """Token shards of each part in a folder of its name; how many tokens there are."""
    counts = {}
    for part, documents in parts.items():
        shutil.rmtree(directory / part, ignore_errors=True)  # what a kill may have left of an earlier try
        encoded = encode_documents(documents, tokenizer)
        counts[part] = write_shards(directory / part, encoded, tokenizer).num_tokens
    return counts


def lessons(stage: LessonsStage, context: Context) -> dict[str, Any]:
    """chats.jsonl and held_out.jsonl to learn from, prompts.jsonl to be judged on."""
    seed = context.recipe.seed
    chats = [conversation(i) for i in lesson_items(stage, seed)]
    random.Random(derive_seed(seed, stage.name, "order")).shuffle(chats)
    directory = context.directory(stage.name)
    return write_parts(directory, "chats", hold_out(chats, 33)) | {
        "prompts": write_jsonl(
            directory / "prompts.jsonl", (Conversation(i.messages, {"kind": i.kind}) for i in prompt_items(stage, seed))
        )
    }


def sums(stage: SumsStage, context: Context) -> dict[str, Any]:
    """chats.jsonl to learn from, and held_out.jsonl in phrasings, names and numbers that no chat has."""

    def made(part: Literal["train", "test"], count: int) -> list[Conversation]:
        return [
            Conversation(described(talk.messages, [CALCULATOR.schema] if number % stage.told_every == 0 else ()))
            for number, talk in enumerate(talks(part, count, context.recipe.seed))
        ]

    parts = (made("train", stage.conversations), made("test", stage.held_out))
    return write_parts(context.directory(stage.name), "chats", parts)


T = TypeVar("T", Conversation, Preference)


def hold_out(records: Sequence[T], every: int) -> tuple[list[T], list[T]]:
    """Records to learn from, and held-out ones: those of every n-th prompt, so that no prompt is on both sides."""
    numbers: dict[str, int] = {}
    parts: tuple[list[T], list[T]] = ([], [])
    for record in records:
        if isinstance(record, Preference):
            prompt = record.prompt
        else:
            first_answer = next((i for i, m in enumerate(record.messages) if m.role == "assistant"), None)
            prompt = record.messages[:first_answer]
        number = numbers.setdefault(canonical_json(to_dict(prompt)), len(numbers))
        parts[number % every == 0].append(record)
    return parts


def write_parts(directory: Path, name: str, parts: tuple[list[T], list[T]]) -> dict[str, Any]:
    """What is learned from under its name, and what is held out."""
    learned, held_out = parts
    return {
        name: write_jsonl(directory / f"{name}.jsonl", learned),
        "held_out": write_jsonl(directory / "held_out.jsonl", held_out),
    }


def file(stage: FileStage, context: Context) -> dict[str, Any]:
    """A file of one's own, checked and in our form."""
    directory = context.directory(stage.name)
    if stage.holds == "chats":
        chats = read_chats(Path(stage.path))
        random.Random(derive_seed(context.recipe.seed, stage.name, "order")).shuffle(chats)
        parts = hold_out(chats, 33)
        asked = (c.messages[: max(i for i, m in enumerate(c.messages) if m.role == "assistant")] for c in parts[0])
        prompts = [Conversation(m) for m in asked if m]
        if not prompts:
            raise DataError(f"{stage.path} holds answers but nothing that was asked; expected user turns before them")
        return write_parts(directory, "chats", parts) | {"prompts": write_jsonl(directory / "prompts.jsonl", prompts)}
    preferences = read_preferences(Path(stage.path))
    random.Random(derive_seed(context.recipe.seed, stage.name, "order")).shuffle(preferences)
    return write_parts(directory, "preferences", hold_out(preferences, 16))


def judgements(stage: JudgementsStage, context: Context) -> dict[str, Any]:
    """preferences.jsonl: pairs of answers to the prompts, two drawn from the model and some contrasting ones.

    The gold scorer says which of two is better, as a person would; pairs it finds equal are left out.
    """
    seed = derive_seed(context.recipe.seed, stage.name)
    rng = random.Random(seed)
    lessons_stage = context.recipe.stage(stage.inputs["lessons"])
    assert isinstance(lessons_stage, LessonsStage)
    items = prompt_items(lessons_stage, context.recipe.seed)
    rng.shuffle(items)
    items = items[: stage.num_prompts]
    port = open_port(stage, context, "start")
    sampling = Sampling(max_tokens=stage.max_tokens, temperature=stage.temperature)
    rounds = [
        port.ask_many([Conversation(i.messages) for i in items], sampling, seed=derive_seed(seed, "draw", n))
        for n in range(stage.samples_per_prompt)
    ]
    preferences = []
    for number, item in enumerate(items):
        contrasts = candidates(item, rng)
        texts = list(dict.fromkeys([*(r[number].text for r in rounds), *contrasts.values()]))
        scored = sorted(((judge(item, t).value, t) for t in texts), reverse=True)
        pairs = [(a, b) for x, a in scored for y, b in scored if x > y]
        # Most pairs are a right and a wrong value: that takes knowledge, where tone and length are learned at once.
        against = [wrong_answer(item, rng), *(contrasts[s] for s in ("wrong", "beside", "dont_know") if s in contrasts)]
        chosen = [(contrasts["right"], worse) for worse in against if judge(item, worse).value < scored[0][0]]
        for better, worse in chosen + rng.sample(pairs, min(1, len(pairs))):
            sides = ((Message("assistant", better),), (Message("assistant", worse),))
            preferences.append(Preference(item.messages, *sides, by="gold"))
    rng.shuffle(preferences)
    directory = context.directory(stage.name)
    mean = sum(judge(i, r[n].text).value for r in rounds for n, i in enumerate(items)) / (len(items) * len(rounds))
    counts = write_parts(directory, "preferences", hold_out(preferences, 16))
    return counts | {"prompts": len(items), "mean_gold_of_samples": mean}


def open_tokenizer(stage: Stage, context: Context) -> Tokenizer:
    """The tokenizer among the stage's inputs."""
    return Tokenizer.load(context.parent(stage, "tokenizer") / "tokenizer")


def open_port(stage: Stage, context: Context, role: str) -> LocalPort:
    """A port to the model that plays `role` among the stage's inputs."""
    model = load_language_model(context.checkpoint(stage.inputs[role])).to(context.machine.device)
    return LocalPort(open_engine(model, context), open_tokenizer(stage, context))


def open_engine(model: LanguageModel, context: Context) -> Engine:
    """An engine for many requests at a time, on a model that is where the machine computes."""
    # a stage that goes on after a stop must repeat what it did: no rounding that depends on earlier requests
    return Engine(model, EngineConfig(slots=128, dtype=context.machine.dtype, reuse=0))
