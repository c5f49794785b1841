"""Losses, gradients and advantages of the online methods are those that TRL found for the same logits.

`python -m bench.alignment.trl PEERS` made the golden file: TRL 1.16.0, and 1.12.0 for PPO, ran their own code on the cases
in it (`bench/online_trl.py`). Rows are ragged; for PPO they are full, as TRL pays the score of a shorter one a column late.
"""

from __future__ import annotations

from typing import Any

import pytest
from bench.alignment.trl import GOLDEN, SETTINGS, differences, name_of

from jielong.runs import read_json
from jielong.train.online import ONLINE

CASES = read_json(GOLDEN)


def test_every_online_method_has_a_golden_case() -> None:
    assert {case["name"] for case in CASES} == {name_of(setting) for setting in SETTINGS} > set(ONLINE)


@pytest.mark.parametrize("golden", CASES, ids=lambda golden: golden["name"])
def test_a_method_is_that_of_trl(golden: dict[str, Any]) -> None:
    found = differences(golden["case"], golden["found"])
    assert {"loss", "advantages", "gradient"} <= found.keys()
    assert max(found.values()) <= 1e-6, found


def test_another_clip_would_be_noticed() -> None:
    for golden in CASES:
        case = {**golden["case"], "clip_high": 1.01 if golden["name"] == "cispo" else 1e-3}
        assert differences(case, golden["found"])["gradient"] > 1e-4, golden["name"]
