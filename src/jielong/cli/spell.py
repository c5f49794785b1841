"""The search for the words before a question with which a model answers best: on some questions, tested on others."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import Any

from jielong.cli.tools import add_timeout
from jielong.errors import ConfigError
from jielong.opening.ports import MODEL_HELP, open_port
from jielong.records import Sampling
from jielong.runs import write_json, write_text

METHODS = ("opro", "reinforce", "random")


def add_parser(commands: Any) -> None:
    """Add `jielong spell` to the commands."""
    spell = commands.add_parser(
        "spell",
        help="search for the instruction that makes a model answer best",
        description=__doc__,
        usage="jielong spell MODEL --task FILE [OPTION ...]",
    )
    asked = spell.add_argument_group("what is asked")
    asked.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    asked.add_argument(
        "--task", type=Path, required=True, metavar="FILE", help='one {"question": ..., "answer": ...} a line, JSONL'
    )
    asked.add_argument(
        "--train", type=int, default=20, metavar="N", help="questions that score; the others test (default: 20)"
    )
    searched = spell.add_argument_group("search")
    searched.add_argument(
        "--method",
        choices=tuple(METHODS),
        default="opro",
        help="a model's own proposals (default), a rewarded policy over words, or words drawn by chance: the control",
    )
    searched.add_argument(
        "--scorings", type=int, default=40, metavar="N", help="instructions to try, none among them (default: 40)"
    )
    searched.add_argument("--proposer", metavar="MODEL", help="the model that opro asks for ideas (default: the same)")
    searched.add_argument("--seed", type=int, default=0, metavar="N")
    limits = spell.add_argument_group("limits")
    limits.add_argument(
        "--max-tokens", type=int, default=64, metavar="N", help="of each answer and proposal (default: 64)"
    )
    add_timeout(limits)
    spell.add_argument_group("output").add_argument(
        "--out",
        type=Path,
        default=Path("spell.txt"),
        metavar="FILE",
        help="the spell; its search goes beside it (default: spell.txt)",
    )
    spell.set_defaults(command=_spell)


def _spell(arguments: argparse.Namespace) -> int:
    """Search for an instruction and write the best."""
    # late: the command line starts without numpy
    from jielong.use.examples import read_examples
    from jielong.use.port import Options
    from jielong.use.prompting import language_of
    from jielong.use.spells.methods import Chance, Opro, Reinforce
    from jielong.use.spells.search import Method, ScoredInstruction, Search, search, spelled, split

    if arguments.out.suffix != ".txt":
        raise ConfigError(f"--out {arguments.out} must end in .txt, as the file of a spell does")
    task = split(read_examples(arguments.task), arguments.train, arguments.seed)
    language = language_of("".join(e.question for e in task.train))
    methods: dict[str, Method] = {
        "opro": Opro(task.train, language),
        "reinforce": Reinforce(language),
        "random": Chance(language),
    }
    options = Options(Sampling(max_tokens=arguments.max_tokens, temperature=0.0), arguments.seed)
    port = open_port(arguments.model, timeout_s=arguments.timeout)
    proposer = open_port(arguments.proposer, timeout_s=arguments.timeout) if arguments.proposer else None
    highest = -1.0

    def show(number: int, trial: ScoredInstruction) -> None:
        """Print a trial that is the best so far."""
        nonlocal highest
        if trial.value > highest:
            highest = trial.value
            print(
                f"{number:4d} of {arguments.scorings}   {trial.value:4.0%}   {trial.instruction or '(no instruction)'}"
            )

    async def work() -> Search:
        """Run the search, then close the ports."""
        try:
            return await search(
                task,
                methods[arguments.method],
                port.ask,
                arguments.scorings,
                options,
                proposer=proposer.ask if proposer else None,
                on_trial=show,
            )
        finally:
            await port.close()
            if proposer:
                await proposer.close()

    found = asyncio.run(work())
    record, instruction = arguments.out.with_suffix(".json"), found.best.instruction
    write_json(record, found.to_dict())
    cost = (
        f"Cost: {found.asked.calls} answers and {found.proposed.calls} proposals, "
        f"{found.asked.tokens + found.proposed.tokens:,} tokens; all that was tried is in {record}"
    )
    if not instruction:
        print(
            f"\nNo instruction was better than none, which is right on {_mean(found.test):.0%} of the others.\n{cost}"
        )
        return 0
    write_text(arguments.out, spelled(instruction.replace("$", "$$"), "$question") + "\n")
    better = sum(new > old for new, old in zip(found.test, found.plain_test, strict=True))
    worse = sum(new < old for new, old in zip(found.test, found.plain_test, strict=True))
    print(
        f"\nOn {len(found.test)} other questions: {_mean(found.test):.0%} right with it, {_mean(found.plain_test):.0%} "
        f"without; {better} are better and {worse} worse.\n{cost}\n"
        f"Spell:   {arguments.out}\n"
        f"Use it:  jielong ask {arguments.model} QUESTION --strategy spell:{arguments.out}"
    )
    return 0


def _mean(scores: tuple[float, ...]) -> float:
    return sum(scores) / len(scores)
