"""The whole circle: judgements from an empty store, learning, and blind comparisons of before and after, through HTTP."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.learn.judges import Judge, Outcome, Seen, is_hopeless, text_of, verdict, world_items
from bench.learn.setting import Setting
from bench.rows import Row
from bench.serve.server import Server
from jielong.evaluate.statistics import wilson
from jielong.worlds.atlas.lessons import Item

SAMPLING = {"temperature": 1.3, "max_tokens": 64}
"""At 1.0 four of five pairs of this model are two times the same answer."""

_POLL_S = 0.5
_LONGEST_S = 3600.0


@dataclass
class Circle:
    """One round of it, and what came of it."""

    server: Server
    judge: Judge
    items: Sequence[Item]
    num: int
    """Judgements before the button is pressed."""
    method: str = "auto"
    given: Counter[str] = field(default_factory=Counter)
    attempt: dict[str, Any] = field(default_factory=dict)
    to_gate_s: float = 0.0

    def post(self, path: str, **body: Any) -> Any:
        return self._sent(path, body).raise_for_status().json()

    def _sent(self, path: str, body: dict[str, Any]) -> Any:
        response = self.server.page.post(f"/api/{path}", json=body, timeout=600)
        if response.status_code not in (200, 409):
            raise RuntimeError(f"{path}: {response.status_code} {response.text[:500]}")
        return response

    def get(self, path: str) -> Any:
        return self.server.page.get(f"/api/{path}", timeout=600).raise_for_status().json()

    def judge_all(self) -> None:
        """Judge questions until there are as many judgements as are wanted.

        A question to which the model says one thing alone is no pair: the judge writes the better answer if that one is bad.
        """
        for item in self.items:
            if self.given.total() >= self.num:
                return
            response = self._sent("judging/pairs", {"prompt": text_of(item), "sampling": SAMPLING})
            if response.status_code == 409:
                continue
            left, right = response.json()["answers"]
            seen = Seen(item, left["text"], right["text"])
            if is_hopeless(self.judge, seen):
                self.write(item, left["id"])
            else:
                self.vote([left["id"], right["id"]], verdict(self.judge, seen))

    def write(self, item: Item, rejected: str) -> None:
        """Give the answer as the judge would have it."""
        self.post("judgements/demonstrations", rejected=rejected, answer=self.judge.written(item))
        self.given["written"] += 1

    def vote(self, answers: Sequence[str], outcome: Outcome) -> None:
        self.post("judgements", kind="preference", answers=answers, value={"outcome": outcome})
        self.given[outcome] += 1

    def learn(self) -> None:
        """Press the button, and wait for the gate."""
        begun_s = time.monotonic()
        self.attempt = self.post("learn", method=self.method)["attempt"]
        while self.attempt["state"] in ("training", "comparing"):
            if time.monotonic() - begun_s > _LONGEST_S:
                raise RuntimeError(f"learning has not ended after {_LONGEST_S:.0f} s: {self.attempt}")
            time.sleep(_POLL_S)
            self.attempt = self.get("learn")["attempt"]
        self.to_gate_s = time.monotonic() - begun_s

    def decide(self) -> None:
        """Judge the deciding pairs until there is a verdict."""
        by_text = {text_of(item): item for item in self.items}
        while self.attempt["state"] == "asking":
            pair = self.get(f"learn/{self.attempt['id']}/pair")
            if pair["n"] is None:
                self.attempt = pair["attempt"]
                break
            item = by_text[pair["prompt"]]
            outcome = verdict(self.judge, Seen(item, pair["left"]["text"], pair["right"]["text"]))
            told = self.post(f"learn/{self.attempt['id']}/pairs/{pair['n']}", outcome=outcome)
            self.attempt = told["attempt"]

    def run(self) -> Circle:
        self.server.open_page()
        self.judge_all()
        self.learn()
        self.decide()
        return self


def circles(setting: Setting, name: str, judge: Judge) -> Iterator[Circle]:
    """A circle of each seed, each from an empty store."""
    for seed in setting.seeds:
        folder = setting.folder / f"{name}-{seed}"
        folder.mkdir(parents=True)
        yield circle_in(setting, folder, judge, seed)


def circle_in(setting: Setting, folder: Path, judge: Judge, seed: int) -> Circle:
    """One circle whose files lie in this folder."""
    items = world_items(seed, judge.kinds)
    with Server(setting.model, folder, "--length", "512", "--runs", str(folder / "runs")) as server:
        return Circle(server, judge, items, setting.judgements, setting.method).run()


def rows_of(name: str, found: Sequence[Circle], seeds: tuple[int, ...], wanted_minutes: float) -> list[Row]:
    """Rows of one judge's circles: votes won, verdicts, and the slowest way from the press to the gate."""
    rows = []
    for seed, circle in zip(seeds, found, strict=True):
        pairs = circle.attempt["pairs"]
        decided = pairs["won"] + pairs["lost"]
        share = wilson(pairs["won"], decided) if decided else None
        said = f"; 95%: {share.low:.0%} to {share.high:.0%}" if share is not None else ""
        given = ", ".join(f"{count} {kind}" for kind, count in sorted(circle.given.items()))
        rows += [
            Row(
                f"{name}: blind comparisons won, of {decided} decided and {pairs['tied']} ties{said} (judged: {given})",
                "at least 75%",
                round(share.mean * 100, 1) if share is not None else 0.0,
                share is not None and share.mean >= 0.75,
                "%",
                (seed,),
            ),
            Row(
                f"{name}: verdict",
                "promoted",
                circle.attempt["state"],
                circle.attempt["state"] == "promoted",
                seeds=(seed,),
            ),
        ]
    slowest = max(circle.to_gate_s for circle in found) / 60
    rows.append(
        Row(
            f"{name}: from the press to the gate",
            f"at most {wanted_minutes:g}",
            slowest,
            slowest <= wanted_minutes,
            "minutes",
            seeds,
        )
    )
    return rows
