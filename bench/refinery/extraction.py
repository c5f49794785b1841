"""The main content of WCXB's development pages: rules, the forest on domains it has not seen, and trafilatura."""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from bench.environments import ROOT, Environment, Unavailable, environment
from bench.refinery.setting import Setting
from bench.refinery.wcxb import LabelledPage, by_kind, f1, read_pages, words
from bench.rows import Row
from jielong.data.content.forest import FILE
from jielong.data.extract import html_text, learned_text

WANTED = {
    "all": 0.84,
    "article": 0.92,
    "forum": 0.76,
    "product": 0.66,
    "collection": 0.66,
    "listing": 0.66,
    "service": 0.82,
    "documentation": 0.92,
}
FOLDS = 4


def rows(setting: Setting) -> Iterator[Row]:
    """Measure all three on the same pages, one after the other in one run."""
    if setting.wcxb is None:
        raise Unavailable("extraction needs WCXB's development pages, unpacked: --wcxb DIR")
    pages = list(read_pages(setting.wcxb))
    rules, rules_s = timed(pages, html_text)
    fitted, fitted_s = timed(pages, learned_text)
    theirs, theirs_s = of_trafilatura(pages, setting.wcxb, setting.peers, setting.folder)
    unseen = by_kind(pages, cross_validated(setting.wcxb, setting.peers, setting.folder))
    for kind, wanted in WANTED.items():
        yield Row(f"word F1, {kind}, domains unseen", f"at least {wanted}", unseen[kind], unseen[kind] >= wanted)
    for name, scores in (("rules", rules), ("trafilatura 2.3.1", theirs), ("on the pages it was fitted to", fitted)):
        for kind, value in by_kind(pages, scores).items():
            yield Row(f"word F1, {kind}, {name}", "reported", value, True)
    ratio = fitted_s / theirs_s
    yield Row("CPU of the forest's extractor over trafilatura's", "at most 0.33", ratio, ratio <= 0.33)
    for name, seconds in (("the forest", fitted_s), ("rules", rules_s), ("trafilatura", theirs_s)):
        yield Row(f"CPU a page, {name}", "reported", 1000 * seconds, True, "ms")
    size = (resources.files("jielong.data.content") / FILE).stat().st_size  # type: ignore[attr-defined]
    yield Row("coefficients", "at most 1 MB", size / 1e6, size <= 1e6, "MB")


def timed(pages: Sequence[LabelledPage], extract: Callable[[str], str]) -> tuple[dict[str, float], float]:
    """Return the F1 of each page and the mean CPU seconds of one."""
    scores, seconds = {}, []
    for page in pages:
        began_s = time.process_time()
        text = extract(page.html)
        seconds.append(time.process_time() - began_s)
        scores[page.id] = f1(words(text), words(page.truth))
    return scores, statistics.fmean(seconds)


def of_trafilatura(
    pages: Sequence[LabelledPage], wcxb: Path, peers: Path, folder: Path
) -> tuple[dict[str, float], float]:
    """Return trafilatura's F1 of each page and its mean CPU seconds, in an environment of its own."""
    out = folder / "trafilatura.json"
    _run(environment("trafilatura", peers), ["bench.peers.trafilatura_pages", str(wcxb / "html"), str(out)])
    found: Mapping[str, Any] = json.loads(out.read_text())
    scores = {page.id: f1(words(found[page.id]["text"]), words(page.truth)) for page in pages}
    return scores, statistics.fmean(float(found[page.id]["seconds"]) for page in pages)


def cross_validated(wcxb: Path, peers: Path, folder: Path) -> dict[str, float]:
    """Return the F1 of each page from a forest that has seen no page of its domain."""
    out = folder / "folds.json"
    peer = environment("lightgbm", peers)
    own = Environment(peer.python, (ROOT / "src",))
    _run(own, ["bench.refinery.fitting", "--wcxb", str(wcxb), "--folds", str(FOLDS), "--out", str(out)])
    scores: dict[str, float] = json.loads(out.read_text())
    return scores


def _run(peer: Environment, command: list[str]) -> None:
    done = subprocess.run([str(peer.python), "-m", *command], cwd=ROOT, env=peer.variables(1), check=False)
    if done.returncode:
        raise Unavailable(f"{command[0]} ended with exit code {done.returncode}")
