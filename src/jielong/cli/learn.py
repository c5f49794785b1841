"""A model taught by judgements of its answers: trained, compared blind, and promoted, refused or undone: `jielong learn`.

The work is done by a process of its own, which goes on when this one ends; the same command watches it again. Exit codes: 0 when
a model was promoted or a person is to be asked later, 3 when it was refused or cancelled, 2 for a mistake or a failure.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jielong.cli.as_json import add_json, print_json
from jielong.cli.learn_words import Words
from jielong.cli.parsing import former_name
from jielong.cli.report import locale_language
from jielong.errors import ConfigError, DataError, JielongError
from jielong.opening.ports import MODEL_HELP, default_store, folder_of, long_name, newest_run, served_name
from jielong.report import terminal

if TYPE_CHECKING:
    from jielong.learning.asking import ShownPair
    from jielong.learning.attempt import Attempt

WORDS = ("go", "status", "pause", "resume", "cancel", "undo")
METHODS = ("auto", "sft", "dpo", "kto", "reward+ppo")
REFUSED = 3
_TICK_S = 1.0


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `jielong learn` to the commands."""
    parser = commands.add_parser(
        "learn", help="teach a model by judgements of its answers, and compare it blind", description=__doc__
    )
    parser.add_argument(
        "what",
        nargs="?",
        choices=WORDS,
        default="go",
        help="go (default): begin, or go on; status, pause, resume or cancel: of the newest attempt; undo: the last promotion",
    )
    parser.add_argument("--base", metavar="MODEL", help=f"{MODEL_HELP}; without it, the newest run")
    parser.add_argument("--method", choices=METHODS, default="auto", help="default: what suits the judgements")
    store = parser.add_argument(
        "--store",
        default="",
        metavar="FILE",
        help="where judgements are kept, a file or a database's URL (default: where jielong serve keeps them)",
    )
    former_name(parser, store, "--from")
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="where runs lie (default: runs)")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    add_json(parser)
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Begin or go on with learning, pause, cancel or undo it, or print its status, as the command line says; return the
    exit code.
    """
    from jielong.learning import attempt as attempts
    from jielong.learning import pressing, standing, status

    if arguments.json and arguments.what != "status":
        raise ConfigError(f"--json is for status; jielong learn {arguments.what} works, and tells how far it is")
    words = Words(locale_language())
    spec = long_name(arguments.base or str(newest_run(arguments.runs)))
    base, base_path = served_name(spec), folder_of(spec)
    home = attempts.home_of(arguments.runs, base_path)
    newest = attempts.newest(home)
    if arguments.what == "undo":
        gone, now = standing.undo(home), standing.standing(home)
        print(words("undone", attempt=gone.attempt, now=now or base))
        return 0
    if arguments.what == "go":
        if newest is None or attempts.read(newest).state not in attempts.OPEN:
            newest = _press(arguments, base, base_path, words)
        else:
            pressing.resume(newest)
        return _go_on(home, newest, words)
    if newest is None:
        raise ConfigError(f"nothing has been learned for {base} yet; begin with: jielong learn --base {spec}")
    if arguments.what != "status":
        {"pause": pressing.pause, "resume": pressing.resume, "cancel": pressing.cancel}[arguments.what](newest)
    if arguments.json:
        print_json({**status.attempt_json(newest), "standing": standing.standing(home) or None})
        return 0
    _say_status(home, newest, words)
    return 0


def _press(arguments: argparse.Namespace, base: str, base_path: Path, words: Words) -> Path:
    """Begin an attempt on the judgements of the store, and say what will be done."""
    from jielong.learning import attempt as attempts
    from jielong.learning import pressing
    from jielong.learning.reasons import NotEnough, from_json, say
    from jielong.serve.store import open_store

    print(words("reading", store=arguments.store or default_store()), flush=True)
    store = open_store(arguments.store or default_store())
    try:
        judgements = store.judgements.nouns()
    finally:
        store.close()
    try:
        folder = pressing.press(
            arguments.runs, base, base_path, judgements, method=arguments.method, seed=arguments.seed
        )
    except NotEnough as error:
        raise DataError(say(error.reason, words.language)) from error
    attempt = attempts.read(folder)
    counts, prompts = attempt.figures["judgements"], attempt.figures["prompts"]
    print(words("has", **counts))
    for note in attempt.figures["notes"]:
        print(say(from_json(note), words.language))
    print(words("parts", **prompts))
    print(words("will", method=attempt.method, base=base, memory=attempt.memory_bytes / 1e9))
    return folder


def _go_on(home: Path, folder: Path, words: Words) -> int:
    """Show the progress of the learning attempt in `folder`, then ask for votes if a person is at the terminal.

    Returns the exit code of the command.
    """
    from jielong.learning import asking
    from jielong.learning import attempt as attempts

    _show_progress(folder, words)
    attempt = asking.settle(home, folder)
    if attempt.state == "asking":
        _say_figures(attempt, words)
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            print(words("ask later", base=attempt.base))
            return 0
        attempt = _ask(home, folder, words)
    return _say_end(attempt, words) if attempt.state not in attempts.OPEN else 0


def _show_progress(folder: Path, words: Words) -> None:
    """Print the progress of the learning attempt in `folder` until it stops working.

    Raises ConfigError if the attempt is paused or its process has ended.
    """
    from jielong.learning import attempt as attempts
    from jielong.learning import status

    said = ""
    is_live = sys.stderr.isatty()
    while True:
        told = status.attempt_json(folder)
        if told["state"] not in attempts.AT_WORK:
            break
        if told["is_paused"]:
            raise ConfigError(
                f"attempt {folder.name} is paused or its process was ended; go on with: jielong learn resume"
            )
        line = _line(told, words)
        if line != said and is_live:
            terminal.progress(line)
        elif told["state"] not in said:
            print(line, flush=True)
        said = line
        time.sleep(_TICK_S)
    if is_live and said:
        terminal.progress("")


def _line(told: dict[str, Any], words: Words) -> str:
    left = words("left", minutes=told["eta_s"] / 60) if told["eta_s"] else ""
    return f"{told['state']}: {told['progress']:.0%} {left} {told['note']}".rstrip()


def _ask(home: Path, folder: Path, words: Words) -> Attempt:
    """Show blind pairs and take votes until the attempt is decided, or the person goes away."""
    from jielong.learning import asking
    from jielong.learning import attempt as attempts

    keys = {"l": "left", "r": "right", "t": "tie", "b": "bad"}
    print(words("keys"))
    while (found := asking.next_pair(folder)) is not None:
        n, pair = found
        _print_pair(n, pair, words)
        said = ""
        while said not in (*keys, "q"):
            try:
                said = input("[l/r/t/b/q] ").strip().lower()[:1]
            except EOFError:  # Ctrl-D
                said = "q"
        if said == "q":
            print(words("kept", asked=len(asking.votes_of(folder))))
            break
        asking.vote(home, folder, n, keys[said], by="terminal", at=time.time())
    return attempts.read(folder)


def _print_pair(n: int, pair: ShownPair, words: Words) -> None:
    """Print one pair of answers for a vote, without saying whose they are."""
    print(f"\n{words('pair', n=n + 1)}")
    for message in pair.prompt:
        print(f"  {message.role}: {message.text}")
    print(f"\n{words('left side')}\n{pair.left}\n\n{words('right side')}\n{pair.right}\n")


def _reason_in_words(attempt: Attempt, words: Words) -> str:
    from jielong.learning.reasons import say

    return say(attempt.reason, words.language) if attempt.reason else ""


def _say_figures(attempt: Attempt, words: Words) -> None:
    """Print the figures of the gate: held-out pairs, the judge, and the regression questions."""
    from jielong.learning.reasons import from_json, say

    held_out, judge = attempt.figures["held_out"], attempt.figures["judge"]
    regression = attempt.figures["regression"]
    print(words("held out", **held_out))
    skipped = judge.get("skipped")
    print(say(from_json(skipped), words.language) if skipped else words("judge", **judge))
    print(words("regression", **{name: regression[name] for name in ("prompts", "changed")}))


def _say_end(attempt: Attempt, words: Words) -> int:
    """Print how an attempt ended, and return the exit code. Raises JielongError if it failed."""
    print(words(attempt.state, why=_reason_in_words(attempt, words)))
    if attempt.state == "failed":
        raise JielongError(f"attempt {attempt.id} failed: {attempt.why}")
    if attempt.state == "promoted":
        print(words("next", base=attempt.base))
        return 0
    return REFUSED


def _say_status(home: Path, folder: Path, words: Words) -> None:
    """Print the state of the attempt in `folder`, and the model that stands for the base."""
    from jielong.learning import attempt as attempts
    from jielong.learning import standing, status

    told, attempt = status.attempt_json(folder), attempts.read(folder)
    paused = f" ({words('paused')})" if told["is_paused"] else ""
    print(
        words("status", id=attempt.id, state=attempt.state, method=attempt.method, progress=told["progress"]) + paused
    )
    if attempt.state == "asking":
        print(words("votes", **told["pairs"]))
    if attempt.reason:
        print(_reason_in_words(attempt, words))
    print(words("stands", now=standing.standing(home) or attempt.base))
