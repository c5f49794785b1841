"""Feedback that a model gives by a constitution: answers that it revises, and preferences in place of people's."""

from __future__ import annotations

import argparse
import asyncio
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jielong.cli.tools import add_timeout
from jielong.errors import ConfigError, DataError
from jielong.opening.ports import MODEL_HELP, open_port, shown_address
from jielong.report import terminal
from jielong.use.tools.tool import one_line

if TYPE_CHECKING:
    from jielong.evaluate.ai_labels import Candidates, Label, LabelReport
    from jielong.evaluate.statistics import Interval
    from jielong.records import Message
    from jielong.use.constitution import Principles
    from jielong.use.port import Port


def add_verbs(verbs: Any) -> None:
    """Add `revise` and `label` to the verbs of `jielong feedback`."""
    revise = verbs.add_parser("revise", help="let a model criticise and revise its answers, to learn from them")
    revise.add_argument("file", type=Path, metavar="FILE.jsonl", help="prompts, chats or judged answers")
    revise.add_argument("--model", required=True, metavar="MODEL", help=f"who answers and revises: {MODEL_HELP}")
    revise.add_argument("--rounds", type=int, default=1, metavar="N", help="revisions, each by another principle")
    _add_common(revise, "revised", temperature=0.7)
    revise.set_defaults(command=_revise)
    label = verbs.add_parser("label", help="let a model say which of two answers is better, to learn from that")
    label.add_argument("file", type=Path, metavar="FILE.jsonl", help="pairs; with --model, prompts or chats")
    label.add_argument("--judge", required=True, metavar="MODEL", help=f"who judges: {MODEL_HELP}")
    label.add_argument("--model", default="", metavar="MODEL", help="draw two answers to each prompt from this model")
    label.add_argument(
        "--letter",
        action="store_true",
        help="read how likely the letters A and B are, instead of a reason and a verdict (a model's folder only)",
    )
    _add_common(label, "labelled", temperature=1.0)
    label.set_defaults(command=_label)


def _add_common(parser: argparse.ArgumentParser, out: str, *, temperature: float) -> None:
    """Add the options that both verbs have."""
    add = parser.add_argument
    add(
        "--constitution", type=Path, metavar="FILE", help="principles of your own, .toml or a line each (default: ours)"
    )
    add("--limit", type=int, default=0, metavar="N", help="only the first so many")
    add("--max-tokens", type=int, default=256, metavar="N", help="of each call (default: 256)")
    add("--temperature", type=float, default=temperature, metavar="T", help=f"of answers (default: {temperature:g})")
    add("--seed", type=int, default=0, metavar="N")
    add_timeout(parser)
    add("--out", type=Path, default=Path(out), metavar="DIR", help=f"where everything lies (default: {out})")


def _setup(arguments: argparse.Namespace, principles: Principles, *names: str) -> dict[str, Any]:
    """Return the settings that decide the results, for setup.json; `names` are options beside the common ones."""
    common = ("max_tokens", "temperature", "seed")
    chosen = {name: getattr(arguments, name) for name in (*names, *common)}
    return {"file": str(arguments.file), **chosen, "principles": principles.text("en") + "\n" + principles.text("zh")}


def _limited(found: Sequence[Any], arguments: argparse.Namespace) -> list[Any]:
    if arguments.limit < 0:
        raise ConfigError(f"--limit is {arguments.limit}; it must be at least 0 (all)")
    return list(found[: arguments.limit or None])


def _progress(what: str) -> Any:
    """Return a function that shows how many of how many are done."""
    return lambda done, total: terminal.progress(f"{what}: {done:,} of {total:,}")


# Revising ----------------------------------------------------------------------------------------------------------


def _revise(arguments: argparse.Namespace) -> int:
    """Answer prompts, criticise and revise the answers, and write them as chats."""
    from jielong.data.prompts import read_prompts
    from jielong.evaluate.ai_labels import digest_of
    from jielong.evaluate.kept_lines import keep_setup, make_lines
    from jielong.records import Sampling, to_dict
    from jielong.runs import canonical_json, write_text
    from jielong.use.constitution import read_principles
    from jielong.use.port import Options
    from jielong.use.revising import revise, revised_from

    if arguments.rounds < 1:
        raise ConfigError(f"--rounds is {arguments.rounds}; it must be at least 1")
    prompts = _limited(read_prompts(arguments.file), arguments)
    principles = read_principles(arguments.constitution)
    options = Options(Sampling(max_tokens=arguments.max_tokens, temperature=arguments.temperature), arguments.seed)
    keep_setup(arguments.out / "setup.json", _setup(arguments, principles, "model", "rounds"))
    ids = [digest_of(prompt) for prompt in prompts]

    async def work() -> list[dict[str, Any]]:
        """Revise all answers, then close the port."""
        port = open_port(arguments.model, timeout_s=arguments.timeout)

        async def one(number: int) -> dict[str, Any]:
            try:
                of_one = options.draw(ids[number])
                return to_dict(await revise(prompts[number], port.ask, of_one, principles, arguments.rounds))
            except (ConfigError, DataError) as error:  # too long for the model; the other prompts are not
                return {"error": str(error)}

        try:
            path = arguments.out / "revisions.jsonl"
            return await make_lines(path, ids, one, on_line=_progress("revised"))
        finally:
            await port.close()
            terminal.progress("")

    lines = asyncio.run(work())
    revised = [revised_from(line) for line in lines if "error" not in line]
    if not revised:
        raise DataError(f"none of {len(lines)} prompts could be answered; the first one says: {lines[0]['error']}")
    chats = arguments.out / "chats.jsonl"
    write_text(chats, "".join(canonical_json(to_dict(one.chat)) + "\n" for one in revised))
    _say_failed([line["error"] for line in lines if "error" in line], len(lines), "prompts")
    print(f"{sum(one.is_changed for one in revised):,} of {len(revised):,} answers were changed by their revision")
    print(f"\nEverything: {arguments.out / 'revisions.jsonl'}")
    print(f"Chats:      {chats}")
    print(f"Learn:      jielong adapt MODEL --chat {shlex.quote(str(chats))}")
    return 0


def _say_failed(errors: Sequence[str], count: int, what: str) -> None:
    if errors:
        print(f"left out: {len(errors):,} of {count:,} {what}, for example: {one_line(errors[0], 160)}")


# Labelling ---------------------------------------------------------------------------------------------------------


def _label(arguments: argparse.Namespace) -> int:
    """Let the judge label pairs, and write them as preferences with a report."""
    from jielong.evaluate.ai_labels import label_report
    from jielong.evaluate.kept_lines import keep_setup
    from jielong.records import judgement_to
    from jielong.runs import canonical_json, write_json, write_text
    from jielong.use.constitution import read_principles

    principles = read_principles(arguments.constitution)
    given = _limited(_read(arguments), arguments)
    keep_setup(arguments.out / "setup.json", _setup(arguments, principles, "judge", "model", "letter"))
    labels = asyncio.run(_labelled(given, arguments, principles))
    by = shown_address(arguments.judge)
    made = [preference for label in labels if (preference := label.preference(by)) is not None]
    unread = [label.verdict.unreadable or "nothing at all" for label in labels if not label.verdict.is_read]
    if not made:
        raise DataError(
            f"a verdict could be read in none of {len(labels)} pairs; the judge said for example: "
            f"{one_line(unread[0], 160)} (--letter needs no words of it)"
        )
    found = label_report(labels)
    preferences = arguments.out / "preferences.jsonl"
    write_text(preferences, "".join(canonical_json(judgement_to(one)) + "\n" for one in made))
    write_json(arguments.out / "report.json", report_json(found))
    _say_failed(unread, len(labels), "pairs without a verdict")
    print("\n".join(describe(found)))
    path = shlex.quote(str(preferences))
    print(f"\nEverything:   {arguments.out / 'verdicts.jsonl'}")
    print(f"Preferences:  {preferences}  ({len(made):,})")
    print(f"Learn:        jielong adapt MODEL --preferences {path}")
    print(f"Or:           jielong adapt MODEL --preferences {path} --method reward")
    return 0


def _read(arguments: argparse.Namespace) -> list[Any]:
    """Read the pairs to be judged, or where a model is to answer them the prompts."""
    from jielong.data.chat_files import read_preferences
    from jielong.data.prompts import read_prompts
    from jielong.evaluate.ai_labels import Candidates

    if arguments.model:
        return list(read_prompts(arguments.file))
    try:
        pairs = read_preferences(arguments.file).records
    except DataError as error:
        raise DataError(f"{error}\nOf prompts without answers, --model MODEL draws two to each.") from None
    found = [Candidates(p.prompt, p.chosen, p.rejected, p.label) for p in pairs]
    return list({one.id: one for one in found}.values())


async def _labelled(given: Sequence[Any], arguments: argparse.Namespace, principles: Principles) -> list[Label]:
    """Draw answers where a model is to, judge all pairs, and close the ports."""
    ports: dict[str, Any] = {}
    try:
        for name in filter(None, (arguments.model, arguments.judge)):
            ports[name] = ports.get(name) or open_port(name, timeout_s=arguments.timeout)
        pairs = await _drawn(given, ports[arguments.model], arguments) if arguments.model else given
        return await _judged(pairs, ports[arguments.judge], arguments, principles)
    finally:
        for port in ports.values():
            await port.close()
        terminal.progress("")


async def _drawn(prompts: Sequence[tuple[Message, ...]], port: Port, arguments: argparse.Namespace) -> list[Candidates]:
    """Draw two different answers to each prompt; prompts that get one alone are counted and left out."""
    from jielong.evaluate.ai_labels import Candidates, digest_of, draw_two
    from jielong.evaluate.kept_lines import make_lines
    from jielong.records import Message, Sampling
    from jielong.use.port import Options

    if not arguments.temperature > 0:
        raise ConfigError(f"--temperature is {arguments.temperature:g}; two different answers need one above 0")
    options = Options(Sampling(max_tokens=arguments.max_tokens, temperature=arguments.temperature), arguments.seed)
    ids = [digest_of(prompt) for prompt in prompts]

    async def one(number: int) -> dict[str, Any]:
        try:
            return {"answers": await draw_two(prompts[number], port.ask, options.draw(ids[number]))}
        except (ConfigError, DataError) as error:
            return {"answers": [], "error": str(error)}

    lines = await make_lines(arguments.out / "answers.jsonl", ids, one, on_line=_progress("answered"))
    _say_failed([line["error"] for line in lines if "error" in line], len(lines), "prompts")
    alone = sum(len(line["answers"]) == 1 for line in lines)
    if alone:
        print(f"left out: {alone:,} of {len(lines):,} prompts, to which the model says one thing alone")
    sides = [tuple((Message("assistant", text),) for text in line["answers"]) for line in lines]
    found = [Candidates(p, *both) for p, both in zip(prompts, sides, strict=True) if len(both) == 2]
    if not found:
        raise DataError(f"none of {len(lines)} prompts got two different answers; raise --temperature")
    return found


async def _judged(
    pairs: Sequence[Candidates], port: Any, arguments: argparse.Namespace, principles: Principles
) -> list[Label]:
    """Judge all pairs."""
    from jielong.evaluate.ai_labels import label_by_letter, label_from, label_in_words, label_to
    from jielong.evaluate.kept_lines import make_lines
    from jielong.records import Sampling
    from jielong.use.port import Options, Scores

    if arguments.letter and not isinstance(port, Scores):
        raise ConfigError("--letter reads log-probabilities, which this server does not tell; leave it out")
    options = Options(Sampling(max_tokens=arguments.max_tokens, temperature=0.0), arguments.seed)

    async def one(number: int) -> dict[str, Any]:
        if arguments.letter:
            return label_to(await label_by_letter(pairs[number], port, principles))
        return label_to(await label_in_words(pairs[number], port.ask, options, principles))

    path = arguments.out / "verdicts.jsonl"
    lines = await make_lines(path, [pair.id for pair in pairs], one, on_line=_progress("judged"))
    return [label_from(line, pair) for line, pair in zip(lines, pairs, strict=True)]


def report_json(found: LabelReport) -> dict[str, Any]:
    """Return the report for programs."""
    from dataclasses import asdict

    return asdict(found)


def describe(found: LabelReport) -> list[str]:
    """Format the report in lines."""
    judge = found.judge
    num_read = judge.pairs - judge.unread
    lines = [
        f"{num_read:,} pairs are labelled, {found.ties:,} of them a tie",
        f"the same verdict in both orders: {_percent(judge.consistency)}; "
        f"where not, the first place won {_percent(judge.first_place)}",
        f"the longer answer won {_percent(judge.longer_wins)} of those that are decided",
    ]
    if found.place is not None:
        lines.append(f"log odds for being shown first: {found.place:+.2f}")
    if found.agreement is not None:
        lines.append(
            f"agreement with the labels of the file: {_interval(found.agreement)} of {found.compared:,} decided, "
            f"{found.undecided:,} undecided"
        )
    if found.agreement_averaged is not None:
        lines.append(f"by the mean of both orders: {_interval(found.agreement_averaged)}")
    return lines


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _interval(found: Interval) -> str:
    return f"{found.mean:.1%} ({found.low:.1%} to {found.high:.1%})"
