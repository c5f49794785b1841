"""The background process that trains and compares an attempt: `python -m jielong.learning.child FOLDER`.

It resumes an attempt from any state. It may be killed at any moment: the training continues from its newest checkpoint,
and the comparison from the stored answers. Other processes read its progress from the attempt's files.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from jielong import stopping
from jielong.errors import JielongError
from jielong.learning import attempt as attempts
from jielong.learning.attempt import ADAPTER, Attempt
from jielong.learning.reasons import Reason
from jielong.runs import now_s, write_json

if TYPE_CHECKING:
    from jielong.learning.advice import Plan

LOCK, PROCESS, LOG = ".working", "process.json", "log.txt"


def main(folder: Path) -> int:
    """Run the attempt until its blind comparison begins or it is over; return 0 unless it was ended or failed."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=1)
    except Timeout:
        return 0  # another child is at it
    with lock:
        stopping.listen()
        lower_priority()
        write_json(folder / PROCESS, _process())
        try:
            work(folder)
        except JielongError as error:
            attempts.change(folder, only_in=attempts.AT_WORK, state="failed", reason=Reason.of("said", text=str(error)))
            return 2
        except (stopping.Terminated, KeyboardInterrupt):
            return 143
        except Exception as error:
            traceback.print_exc()
            reason = Reason.of("bug", what=f"{type(error).__name__}: {error}", log=str(folder / LOG))
            attempts.change(folder, only_in=attempts.AT_WORK, state="failed", reason=reason)
            return 1
    return 0


def lower_priority() -> None:
    """Lower this process's priority below everybody else's.

    The kernel shares a machine among sessions before it looks at processes, and this one has a session of its own; so
    the session too is given the least share, if sessions are scheduled as groups. Only its own: whoever starts this
    process in a session with others would lower them all.
    """
    os.nice(19)
    if os.getsid(0) == os.getpid():
        with contextlib.suppress(OSError):
            Path("/proc/self/autogroup").write_text("19")


def work(folder: Path) -> None:
    """Train and compare; leave the attempt in state refused or asking."""
    from jielong.learning.advice import plan
    from jielong.learning.judged import sort_judgements
    from jielong.learning.training import FileDisplay, recipe_of, train, trained_in

    attempt = attempts.read(folder)
    if attempt.state not in attempts.AT_WORK or attempt.is_paused:
        return
    known = plan(sort_judgements(attempts.judgements_of(folder)), attempt.asked_method)
    base = Path(attempt.base_path)
    if attempt.state == "training":
        train(recipe_of(folder, base, known, attempt.seed), folder, FileDisplay(folder))
        attempt = attempts.change(folder, only_in=("training",), state="comparing")
    if attempt.state == "comparing":
        _compare(folder, attempt, known, trained_in(folder))


def _compare(folder: Path, attempt: Attempt, known: Plan, adapter: Path) -> None:
    """Compare the candidate at the gate, and store the outcome."""
    from jielong.learning import asking
    from jielong.learning.gate import Models, pass_gate
    from jielong.learning.training import TRAINING

    home, base = folder.parent, Path(attempt.base_path)
    stands = home / attempt.against / ADAPTER if attempt.against else base
    began_s = now_s()

    def tell(share: float, note: str) -> None:
        eta_s = (now_s() - began_s) * (1 - share) / share if share > 0.02 else None
        attempts.report(folder, TRAINING + (1 - TRAINING) * share, eta_s, note)

    tell(0.0, "fresh answers")
    outcome = pass_gate(folder, home, Models(base, stands, adapter), known, attempt.seed, tell)
    figures = {**attempt.figures, **outcome.figures}
    tell(1.0, "")
    if outcome.why is not None:
        attempts.change(folder, only_in=("comparing",), state="refused", reason=outcome.why, figures=figures)
        return
    press = asking.press_of(home, attempt.against)
    attempts.change(folder, only_in=("comparing",), state="asking", press=press, figures=figures)


def _process() -> dict[str, float]:
    import psutil

    return {"pid": os.getpid(), "created": psutil.Process().create_time()}


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
