"""Judgements of answers: their figures, export to a file, import from one, deletion, and those that a model gives."""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jielong.cli.as_json import add_json, print_json
from jielong.cli.feedback_by_models import add_verbs
from jielong.cli.history import is_kept
from jielong.cli.parsing import former_name
from jielong.errors import ConfigError, DataError, did_you_mean
from jielong.opening.ports import default_store

if TYPE_CHECKING:
    from jielong.evaluate.feedback import Feedback
    from jielong.evaluate.statistics import Interval
    from jielong.evaluate.strengths import ModelStrengths
    from jielong.serve.store import Judged, Store

FORMS = ("own", "trl", "kto", "sft")
_KINDS = {
    "preference": ("comparison", "comparisons"),
    "rating": ("mark", "marks"),
    "ranking": ("ranking", "rankings"),
    "demonstration": ("written answer", "written answers"),
}
_WIDEST_NAME = 34


def add_parser(commands: Any) -> None:
    """Add `jielong feedback` to the commands."""
    feedback = commands.add_parser(
        "feedback", help="judgements of answers: figures, files, and those of a model", description=__doc__
    )
    verbs = feedback.add_subparsers(title="what to do", required=True, metavar="VERB")

    def verb(name: str, command: Any, help: str) -> Any:
        """Add one verb with the option of the store."""
        parser = verbs.add_parser(name, help=help)
        parser.add_argument(
            "--store",
            default="",
            metavar="FILE",
            help="where they are kept, a file or a database's URL (default: where jielong serve keeps them)",
        )
        parser.set_defaults(command=command)
        return parser

    stats = verb("stats", _stats, "how many there are and by whom, how they agree, which models they prefer")
    add_json(stats)
    export = verb("export", _export, "write them to a file, one a line")
    export.add_argument("file", type=Path, metavar="FILE.jsonl")
    form = export.add_argument(
        "--format",
        dest="form",
        metavar="FORM",
        default="own",
        help="own: everything (default); trl: pairs; kto: marks as good or bad; sft: written answers as chats",
    )
    former_name(export, form, "--form")
    export.add_argument("--by", metavar="NAME", help="only those of this voter")
    bring = verb("import", _import, "read our own form, TRL's, KTO's, or Label Studio's JSON export")
    bring.add_argument("file", type=Path, metavar="FILE")
    remove = verb("delete", _delete, "delete judgements; of several conditions all must hold")
    remove.add_argument("--all", action="store_true", help="every judgement")
    remove.add_argument("--by", metavar="NAME", help="those of this voter")
    remove.add_argument("--before", metavar="DATE", help="those given before a day such as 2026-01-31, or a time on it")
    remove.add_argument("--id", nargs="+", default=[], metavar="ID", help="these, by the ids that export tells")
    remove.add_argument("--yes", action="store_true", help="do not ask")
    add_verbs(verbs)


# Figures -----------------------------------------------------------------------------------------------------------


def _stats(arguments: argparse.Namespace) -> int:
    """Print the figures of the store's judgements."""
    from jielong.evaluate.feedback import as_json, feedback_of

    with closing(_open_store(arguments.store)) as store:
        found = feedback_of(store.judgements.nouns(with_ids=False))
        where = store.where
    if arguments.json:
        print_json({"store": where, **as_json(found)})
        return 0
    print("\n".join(describe(found)))
    print(f"\nStore:  {where}")
    return 0


def describe(found: Feedback) -> list[str]:
    """Describe the figures in lines of at most 80 signs."""
    if not found.kinds:
        return ["No judgements yet; give some on the page of: jielong serve"]
    lines = [f"{sum(found.kinds.values()):,} judgements: {_counted(found.kinds)}"]
    if found.first:
        lines.append(f"given from {_day(found.first)} to {_day(found.last)}")
    lines.append("")
    for by, kinds in sorted(found.voters.items(), key=lambda voter: -sum(voter[1].values())):
        lines.append(f"  {_cut(by or '(no name)', 20):<20}  {_counted(kinds)}")
    lines.append("")
    if found.first_shown is not None:
        lines.append(f"The left answer won {_share(found.first_shown)} of {found.num_shown:,} decided pairs.")
    lines.append(
        f"Voters who preferred both of two answers, at different times: {found.contradictions:,}\n"
        f"Pairs on which voters disagree: {found.disagreements:,}\n"
        f"Votes given again, of which the newest counts: {found.repeated:,}"
    )
    for group in found.groups:
        lines += ["", *_table(group)]
    if found.groups:
        lines.append("A model beats another with probability 1 / (1 + exp(-difference of strengths)).")
    if found.without_model:
        lines.append(f"Left out: {found.without_model:,} comparisons of answers of which nobody knows the model.")
    if found.within_model:
        lines.append(f"Left out: {found.within_model:,} comparisons of two answers of one model.")
    return lines


def _table(group: ModelStrengths) -> list[str]:
    """Return models from the strongest to the weakest, in lines."""
    names = [_cut(s.name, _WIDEST_NAME) for s in group.models]
    width = max(map(len, [*names, "model"]))
    lines = [f"{'model':<{width}}  {'compared':>8}  {'won':>6}  {'strength':>8}  95% interval"]
    for name, s in zip(names, group.models, strict=True):
        is_reference = s.name == group.reference
        bounds = "(the reference)" if is_reference else f"{_number(s.strength.low)} to {_number(s.strength.high)}"
        lines.append(f"{name:<{width}}  {s.comparisons:>8.4g}  {s.won:>6.1%}  {_number(s.strength.mean):>8}  {bounds}")
    return lines


def _number(value: float) -> str:
    if math.isnan(value):
        return "unknown"
    return f"{value:+.2f}" if math.isfinite(value) else "no bound"


def _share(interval: Interval) -> str:
    return f"{interval.mean:.1%} ({interval.low:.1%} to {interval.high:.1%})"


def _counted(kinds: Counter[str]) -> str:
    return ", ".join(f"{count:,} {_KINDS[kind][count != 1]}" for kind, count in kinds.most_common())


def _cut(name: str, width: int) -> str:
    return name if len(name) <= width else name[: width - 1] + "…"


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d")


# Files -------------------------------------------------------------------------------------------------------------


def _export(arguments: argparse.Namespace) -> int:
    """Write judgements to a file in another trainer's form."""
    from jielong.data.judged_files import export_judgements
    from jielong.runs import write_text

    if arguments.form not in FORMS:
        raise ConfigError(f"no form is called {arguments.form!r}; {did_you_mean(arguments.form, FORMS)}")
    with closing(_open_store(arguments.store)) as store:
        nouns = store.judgements.nouns(store.judgements.all(by=arguments.by), with_ids=arguments.form == "own")
    made = export_judgements(nouns, arguments.form)
    _say_left_out(made.left_out)
    if not made.num_records:
        whose = "" if arguments.by is None else f" by {arguments.by!r}"
        raise DataError(
            f"the store holds no judgement{whose} that --format {arguments.form} can tell; nothing is written"
        )
    write_text(arguments.file, made.text, is_private=True)
    print(f"Records:  {arguments.file}  ({made.num_records:,}, for your eyes alone)")
    if arguments.form == "sft":
        print(f"Train:    jielong adapt MODEL --chat {arguments.file}")
    else:
        method = " --method kto" if arguments.form == "kto" else ""
        print(f"Train:    jielong adapt MODEL --preferences {arguments.file}{method}")
    return 0


def _import(arguments: argparse.Namespace) -> int:
    """Add the judgements of a file to the store, without those that it has."""
    from jielong.data.judged import digest_of
    from jielong.data.judged_files import read_judgements

    found = read_judgements(arguments.file)
    for sentence in found.tally.sentences():
        print(sentence)
    with closing(_open_store(arguments.store, is_new=True)) as store:
        # as often as the store has a judgement, as often is it taken to be there already
        known = Counter(map(digest_of, store.judgements.nouns(with_ids=False)))
        added, num_known = [], 0
        refused: Counter[str] = Counter()
        for one in found.judgements:
            digest = digest_of(one)
            if known[digest]:
                known[digest] -= 1
                num_known += 1
            elif why := store.judgements.refuses(one):
                refused[why] += 1
            else:
                added.append(one)
        store.judgements.add_nouns(added)
        where = store.where
    _say_left_out(refused)
    if num_known:
        print(f"known already: {num_known:,}, by their content")
    print(f"Added:  {len(added):,} to {where}")
    print("Figures:  jielong feedback stats" + (f" --store {arguments.store}" if arguments.store else ""))
    return 0


def _say_left_out(left_out: Counter[str]) -> None:
    for why, count in left_out.most_common():
        print(f"left out: {count:,}, {why}")


# Deleting ----------------------------------------------------------------------------------------------------------


def _delete(arguments: argparse.Namespace) -> int:
    """Delete the named judgements, after a confirmation."""
    if not (arguments.all or arguments.by is not None or arguments.before or arguments.id):
        raise ConfigError("say which judgements: --all, --by NAME, --before DATE or --id ID")
    before = _moment(arguments.before) if arguments.before else math.inf
    with closing(_open_store(arguments.store)) as store:
        judged = store.judgements.all(by=arguments.by, purpose=None)
        chosen = _chosen(judged, before, arguments.id)
        if not chosen:
            raise DataError("the store holds no such judgement; jielong feedback stats tells who gave some, and when")
        deciding = sum(bool(one.purpose) for one in chosen)
        told = f"{len(chosen):,} of {len(store.judgements.all(purpose=None)):,} judgements"
        told += f", {deciding:,} of which decided a comparison of models" if deciding else ""
        if not arguments.yes and not _agreed(f"Delete {told}? It cannot be undone. [y/N] "):
            print("Nothing is deleted.")
            return 0
        print(f"Deleted: {store.judgements.delete([one.id for one in chosen]):,} judgements")
    return 0


def _chosen(judged: Sequence[Judged], before: float, ids: Collection[str]) -> list[Judged]:
    """Select judgements by time and id; DataError for an unknown id."""
    unknown = set(ids) - {one.id for one in judged}
    if unknown:
        raise DataError(f"no judgement is called {min(unknown)!r}; export tells their ids, as id of vote")
    return [one for one in judged if one.created < before and (not ids or one.id in ids)]


def _moment(date: str) -> float:
    """Parse a day or a time, by default in this machine's zone, to seconds since the epoch."""
    try:
        return datetime.fromisoformat(date).timestamp()
    except (ValueError, OverflowError, OSError):
        raise ConfigError(f"--before is {date!r}; expected a day such as 2026-01-31, or a time on it") from None


def _agreed(question: str) -> bool:
    """Ask for confirmation; ConfigError where nobody can be asked."""
    if not sys.stdin.isatty():
        raise ConfigError("nobody can be asked here; add --yes to delete without being asked")
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:  # Ctrl-D
        return False


def _open_store(named: str, *, is_new: bool = False) -> Store:
    """Open the store; ConfigError where there is none, unless it `is_new`: then it is made."""
    if not is_kept():
        raise ConfigError("judgements are kept by the server's store; pip install 'jielong[serve]'")
    from jielong.serve.store import open_store

    where = named or str(default_store())
    if not is_new and "://" not in where and not Path(where).expanduser().exists():
        raise ConfigError(f"there is no store {where}; jielong serve makes one, and so does jielong feedback import")
    return open_store(where)
