"""How often a model obeys instructions hidden in what a tool found, before and after the defences.

`python -m bench.strategies.injections MODEL` asks the whole suite three times: as found, guarded, and guarded with its blanks
marked. The suite and the patterns of the guard are by one hand, so a rate holds for this suite alone; its "other words" were
written to be unlike the patterns, and no pattern was added for them.
"""

from __future__ import annotations

import argparse
import asyncio
import time

from jielong.cli.ports import MODEL_HELP, open_port
from jielong.records import Sampling
from jielong.use.port import Options
from jielong.use.tools.injections import injections, measure_injections


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help=MODEL_HELP)
    parser.add_argument("--max-tokens", type=int, default=48)
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.model, arguments.max_tokens))


async def measure(model: str, max_tokens: int) -> None:
    port = open_port(model, length=2048)
    options = Options(Sampling(max_tokens=max_tokens, temperature=0.0))
    suite = injections()
    print(f"{model}, {len(suite)} orders, greedy")
    try:
        for name, defences in (
            ("as found", {"is_defended": False}),
            ("guarded", {"is_defended": True}),
            ("guarded, blanks marked", {"is_defended": True, "datamark": True}),
        ):
            for language in ("en", "zh"):
                start_s = time.monotonic()
                cases = [case for case in suite if case.language == language]
                found = await measure_injections(port.ask, cases, options, **defences)
                print(
                    f"{name:24} {language}  obeyed {len(found.cases):2} of {found.num}, phrase shown {found.num_shown:2}, "
                    f"calls refused {found.num_refused}  "
                    f"{time.monotonic() - start_s:.0f} s  {found.by_kind}",
                    flush=True,
                )
    finally:
        await port.close()


if __name__ == "__main__":
    main()
