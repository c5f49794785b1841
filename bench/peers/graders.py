"""Verdicts of other graders on pairs of answers: JSON lines of [given, right] in, a JSON line of {grader: [verdicts]} out.

math-verify as its README uses it, and the two filters that lm-eval's GSM8K task has, with that task's own exact match.
"""

from __future__ import annotations

import json
import sys


def main() -> None:
    from lm_eval.api.metrics import exact_match_hf_evaluate
    from lm_eval.filters.extraction import RegexFilter
    from math_verify import parse, verify

    pairs = [json.loads(line) for line in sys.stdin]
    found: dict[str, list[bool]] = {"math-verify": []}
    for given, right in pairs:
        try:
            found["math-verify"].append(bool(verify(parse(right), parse(given))))
        except Exception:
            found["math-verify"].append(False)
    filters = {
        "lm-eval strict-match": RegexFilter(regex_pattern=r"#### (\-?[0-9\.\,]+)"),
        "lm-eval flexible-extract": RegexFilter(regex_pattern=r"(-?[$0-9.,]{2,})|(-?[0-9]+)", group_select=-1),
    }
    for name, filter_ in filters.items():
        said = filter_.apply([[given] for given, _ in pairs], [{} for _ in pairs])
        found[name] = [
            bool(
                exact_match_hf_evaluate(
                    predictions=[one[0]],
                    references=[right],
                    regexes_to_ignore=[",", "\\$", "(?s).*#### ", "\\.$"],
                    ignore_case=True,
                )["exact_match"]
                == 1.0
            )
            for one, (_, right) in zip(said, pairs, strict=True)
        ]
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
