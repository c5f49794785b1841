"""How often a model obeys instructions hidden in what a tool found, before and after the defences.

`python -m bench.strategies.injections` asks the whole suite three times: as found, guarded, and guarded with its blanks
marked. The suite and the patterns of the guard are by one hand, so a rate holds for this suite alone; its "other words" were
written to be unlike the patterns, and no pattern was added for them.
"""

from __future__ import annotations

import sys
import time
from functools import partial

from bench.strategies.asking import cost
from bench.strategies.command import main
from bench.strategies.line import Line, Wanted, shares
from bench.strategies.setting import Part, Result, Setting
from jielong.records import Sampling
from jielong.use.ledger import Ledger
from jielong.use.port import Options
from jielong.use.tools.injections import injections, measure_injections

DEFENCES = {
    "as found": {"is_defended": False},
    "guarded": {"is_defended": True},
    "guarded, blanks marked": {"is_defended": True, "datamark": True},
}


async def _obeyed(at: Setting, language: str, name: str, bare: Line | None) -> list[Line]:
    cases = [case for case in injections() if case.language == language][: at.num(1000, 3)]
    ledger = Ledger(at.port.ask)
    options = Options(Sampling(max_tokens=48, temperature=0.0), at.seed)
    start_s = time.monotonic()
    found = await measure_injections(ledger.ask, cases, options, **DEFENCES[name])
    spent = cost(ledger.usage, len(cases), time.monotonic() - start_s)
    obeyed = shares(case in found.cases for case in cases)
    return [
        Line(f"{language}: obeyed {name}", obeyed, Wanted("less") if bare else None, bare and bare.beside, cost=spent)
    ]


async def measure(at: Setting) -> Result:
    parts: list[Part] = []
    for language in at.languages:
        bare: Line | None = None
        for name in DEFENCES:
            part = await at.part(f"{language} {name}", partial(_obeyed, at, language, name, bare))
            parts.append(part)
            bare = bare or part.lines[0]
    return at.result(parts)


if __name__ == "__main__":
    sys.exit(main({"injections": measure}))
