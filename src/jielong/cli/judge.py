"""Compare two systems by a model that reads both answers in both orders: `jielong judge`."""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jielong.cli.as_json import add_json, print_json
from jielong.cli.tools import add_timeout
from jielong.opening.ports import MODEL_HELP, open_port
from jielong.use.tools.tool import one_line

if TYPE_CHECKING:
    from jielong.evaluate.judge import JudgeReport, Verdict


def add_parser(commands: Any) -> None:
    """Add `jielong judge` to the commands."""
    parser = commands.add_parser(
        "judge", help="let a model compare the answers of two result files", description=__doc__
    )
    parser.add_argument("a", type=Path, metavar="A.jsonl", help='lines with "id", "question" and "text"')
    parser.add_argument("b", type=Path, metavar="B.jsonl", help="other answers to the same questions")
    parser.add_argument("--model", required=True, metavar="MODEL", help=f"the judge: {MODEL_HELP}")
    add_timeout(parser)
    parser.add_argument("--limit", type=int, default=0, metavar="N", help="only the first so many pairs")
    parser.add_argument(
        "--max-tokens", type=int, default=256, metavar="N", help="of each verdict with its reason (default: 256)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("verdicts.jsonl"),
        metavar="FILE",
        help="where every verdict lies (default: verdicts.jsonl)",
    )
    add_json(parser)
    parser.set_defaults(command=_judge)


def _judge(arguments: argparse.Namespace) -> int:
    """Let a model judge the pairs of two result files, and print the report."""
    from jielong.errors import ConfigError, DataError
    from jielong.evaluate.judge import judge_pairs, judge_report, read_pairs
    from jielong.records import Sampling
    from jielong.runs import canonical_json, write_text
    from jielong.use.port import Options

    if arguments.limit < 0:
        raise ConfigError(f"--limit is {arguments.limit}; it must be at least 0 (all)")
    pairs = read_pairs(arguments.a, arguments.b)
    different = [pair for pair in pairs if pair.a.strip() != pair.b.strip()]
    asked = different[: arguments.limit or None]
    print(
        f"{len(pairs) - len(different)} of {len(pairs)} answers are the same in both files; {len(asked)} pairs are judged"
    )
    if not asked:
        raise DataError(f"all {len(pairs)} answers of {arguments.a} and {arguments.b} are the same")
    options = Options(Sampling(max_tokens=arguments.max_tokens, temperature=0.0), arguments.seed)

    async def work() -> list[Verdict]:
        """Judge all pairs, then close the port."""
        port = open_port(arguments.model, timeout_s=arguments.timeout)
        try:
            return await judge_pairs(asked, port.ask, options)
        finally:
            await port.close()

    verdicts = asyncio.run(work())
    write_text(arguments.out, "".join(canonical_json({**asdict(v), "value": v.value}) + "\n" for v in verdicts))
    unread = [v for v in verdicts if not v.is_read]
    said = next((one_line(v.unreadable, 160) for v in unread if v.unreadable.strip()), "nothing at all")
    if len(unread) == len(verdicts):
        raise DataError(
            f"a verdict could be read in none of {len(verdicts)} pairs; the judge was to end with a line such as "
            f'"Verdict: A", and said for example: {said} (all of it is in {arguments.out})'
        )
    report = judge_report(verdicts, seed=arguments.seed)
    if arguments.json:
        print_json({"same": len(pairs) - len(different), **vars(report), "verdicts": arguments.out})
        return 0
    print(describe(report))
    if unread:
        print(f"where no verdict could be read, the judge said for example: {said}")
    print(f"\nVerdicts: {arguments.out}")
    return 0


def describe(found: JudgeReport) -> str:
    """Format the report in lines."""
    decided, num_read = found.preference, found.pairs - found.unread
    assert decided is not None
    unread = f"a verdict could be read in both orders for {num_read} of {found.pairs} pairs; what follows is of these"
    lines = [
        *([unread] if found.unread else []),
        f"A wins {found.wins}, B wins {found.losses}, ties {found.ties}",
        f"preference for A: {decided.mean:.1%} ({decided.low:.1%} to {decided.high:.1%}), p = {found.p:.3g} (sign test)",
        f"the same verdict in both orders: {_share(found.consistency)}; "
        f"where not, the first place won {_share(found.first_place)}",
        f"correlation of the verdict with the ratio of lengths: {_number(found.length_correlation)}; "
        f"the longer answer won {_share(found.longer_wins)}",
    ]
    return "\n".join(lines)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:+.2f}"
