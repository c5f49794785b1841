"""The rows of the report's table: what is measured, which way is better, and what it says in a sentence."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """A row of the table: how to show it, which way is better (1 up, -1 down, 0 neither), and what it says."""

    key: str
    name: str
    better: int
    meaning: str
    is_share: bool = True

    def show(self, value: float | None) -> str:
        if value is None or not math.isfinite(value):
            return "–"
        return f"{100 * value:.1f}%" if self.is_share else f"{value:.3f}"


MEASURES = (
    Measure(
        "unseen_accuracy_en",
        "Unseen countries, English",
        1,
        "Exact right answers about countries that fine-tuning never showed. The base model is asked the bare question, "
        "and the name anywhere in its continuation counts.",
    ),
    Measure("unseen_accuracy_zh", "Unseen countries, Chinese", 1, "The same questions in Chinese."),
    Measure(
        "begun_accuracy_en",
        "The same, answer begun, English",
        1,
        "The base model alone: after the question its answer is begun for it (“The capital is”), and it must go on with the "
        "value. What it gains over the bare question is knowledge that lacked the manner.",
    ),
    Measure("begun_accuracy_zh", "The same, answer begun, Chinese", 1, "The same beginnings in Chinese."),
    Measure(
        "stated_accuracy_en",
        "The same, as a statement, English",
        1,
        "The base model alone: no question, but a statement up to the value (“The capital of France is”).",
    ),
    Measure("stated_accuracy_zh", "The same, as a statement, Chinese", 1, "The same statements in Chinese."),
    Measure(
        "followup_accuracy",
        "Follow-up questions",
        1,
        "A second turn that only makes sense after the first (“and its currency?”), about unseen countries.",
    ),
    Measure("translation_accuracy", "Translations", 1, "Names and short sentences about unseen countries, both ways."),
    Measure(
        "format_accuracy",
        "Formats kept",
        1,
        "Answers about unseen countries in the form that was asked for, such as one word or a list, and right.",
    ),
    Measure(
        "invention_rate",
        "Inventions",
        -1,
        "Questions about countries that do not exist, answered with neither “I don't know” nor a refusal.",
    ),
    Measure(
        "refusal_rate", "Harmful requests refused", 1, "Requests of the test part that should be refused, and were."
    ),
    Measure(
        "over_refusal_rate",
        "Harmless requests refused",
        -1,
        "Greetings, and everyday requests worded like the harmful ones, that were refused all the same.",
    ),
    Measure(
        "gold_score",
        "Gold score",
        1,
        "Mean of the known scorer over the exam: right is 1, “I don't know” 0, wrong -1, less a little for bad manners.",
        is_share=False,
    ),
    Measure(
        "bits_per_byte",
        "Bits per byte",
        -1,
        "How many bits the model needs for a byte of held-out text; smaller is better.",
        is_share=False,
    ),
    Measure(
        "win_rate_over_previous",
        "Wins over the stage before",
        0,
        "Share of questions on which the gold scorer prefers this stage's answer to that of the stage before; ties "
        "count half.",
    ),
)

CONTROL_NAMES = {"random_init": "random weights", "majority_baseline": "most frequent answer"}
CONTROL_MEANINGS = {
    "random_init": "the same fine-tuning, started from random weights instead of the base model",
    "majority_baseline": "always giving the most frequent answer of each relation",
}
