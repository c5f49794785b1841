"""The rows of the report's table: known measures, their units, and which direction is better."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from jielong.report.words import ENGLISH, Words

Unit = Literal["share", "number"]


@dataclass(frozen=True)
class Measure:
    """A row of the table: its unit, and which way is better (1 up, -1 down, 0 neither).

    A "share" of questions or requests is shown in percent; the name of another "number" says what it counts.
    """

    key: str
    better: int
    unit: Unit = "share"

    def name(self, words: Words = ENGLISH) -> str:
        return words.known(f"measure.{self.key}", self.key.replace("_", " "))

    def meaning(self, words: Words = ENGLISH) -> str:
        """Return its explanation in a sentence or two; "" for a measure that only the data know."""
        return words.known(f"meaning.{self.key}", "")

    def show(self, value: float | None) -> str:
        """Format a value with its unit; a dash where there is none."""
        if value is None or not math.isfinite(value):
            return "–"
        return f"{100 * value:.1f}%" if self.unit == "share" else f"{value:.3f}"

    def change(self, difference: float) -> str:
        """Format a difference of two values: of shares in percentage points."""
        return f"{100 * difference:+.1f}" if self.unit == "share" else f"{difference:+.3f}"


MEASURES = (
    Measure("unseen_accuracy_en", 1),
    Measure("unseen_accuracy_zh", 1),
    Measure("begun_accuracy_en", 1),
    Measure("begun_accuracy_zh", 1),
    Measure("stated_accuracy_en", 1),
    Measure("stated_accuracy_zh", 1),
    Measure("followup_accuracy", 1),
    Measure("translation_accuracy", 1),
    Measure("format_accuracy", 1),
    Measure("invention_rate", -1),
    Measure("refusal_rate", 1),
    Measure("over_refusal_rate", -1),
    Measure("gold_score", 1, "number"),
    Measure("bits_per_byte", -1, "number"),
    Measure("win_rate_over_previous", 0),
)
_KNOWN = {measure.key: measure for measure in MEASURES}


def measure_of(key: str) -> Measure:
    """Return the known measure of this key, or one without unit that only the data know."""
    return _KNOWN.get(key) or Measure(key, 0, "number")
