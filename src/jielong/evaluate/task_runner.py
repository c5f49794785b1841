"""Task runs: a system answers a task's items, each result is written at once, and a killed run resumes.

A system is a port with a strategy. Its folder holds setup.json (the settings; another setup is refused), results.jsonl
(one answer a line, in order of completion) and summary.json. A changed item is asked again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jielong.config import resolved
from jielong.errors import ConfigError, DataError, RefusedError
from jielong.evaluate.concurrently import run_concurrently
from jielong.evaluate.kept_lines import keep_setup, whole_lines
from jielong.evaluate.scoring import BY_PORT, DetailedScore, ScoringServices, score_answer, score_choices
from jielong.evaluate.tasks import Item, Task
from jielong.outside import Fields, parse_json
from jielong.records import Sampling, to_dict
from jielong.runs import canonical_json, derive_seed, disk_errors
from jielong.use.port import GREEDY, Options, Port, Scores, Usage
from jielong.use.strategies import named
from jielong.use.strategy import run


@dataclass(frozen=True)
class System:
    """A system under test: a model with a strategy, named as on the command line."""

    port: Port
    strategy: str = "direct"
    sampling: Sampling = GREEDY
    given: Mapping[str, Any] = field(default_factory=dict)
    """What the strategy is handed, such as a scorer or tools."""
    means: str = ""
    """The same in words, for the setup."""

    @property
    def setup(self) -> dict[str, Any]:
        """Return the settings that tell this system from others, for setup.json."""
        setup = {"model": self.port.name, "strategy": self.strategy, "sampling": resolved(self.sampling)}
        return {**setup, "means": self.means} if self.means else setup


@dataclass(frozen=True)
class Result:
    """One answer to an item: text, score and cost. `seconds` are of the clock."""

    id: str
    sample: int
    score: float
    text: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    usage: Usage = Usage()
    seconds: float = field(default=0.0, compare=False)
    stop: str = ""
    error: str = ""
    """Why there is no answer, such as a question too long for the model; it scores 0."""


async def answer_task(
    system: System,
    task: Task,
    folder: Path,
    *,
    services: ScoringServices | None = None,
    seed: int = 0,
    samples: int = 1,
    at_once: int = 16,
    on_result: Callable[[Result], None] | None = None,
) -> list[Result]:
    """Answer all items, `samples` times each, and return the results in order; reuse results in the folder.

    At most `at_once` items are worked on at the same time. ConfigError if the folder has another setup, or if the port
    or `services` lack something that a scorer needs; DataError if no item could be answered.
    """
    services = services or ScoringServices()
    _check(system, task, services)
    keep_setup(folder / "setup.json", {"task": task.name, **system.setup, "seed": seed})
    items = {(item.id, sample): item for item in task.items for sample in range(samples)}
    path = folder / "results.jsonl"
    known = {key: r for key, (r, of) in read_results(path).items() if key in items and of == items[key].digest}
    left = [key for key in items if key not in known]
    with disk_errors(path), path.open("a", encoding="utf-8") as file:

        async def answer(number: int) -> None:
            id, sample = left[number]
            item = items[id, sample]
            result = await _answer(system, item, sample, services, seed)
            line = {**to_dict(result), "question": item.question, "item": item.digest}
            file.write(canonical_json(line) + "\n")
            file.flush()
            known[id, sample] = result
            if on_result:
                on_result(result)

        await run_concurrently(answer, len(left), at_most=at_once)
    results = [known[key] for key in items]
    if all(r.error for r in results):
        raise DataError(f"no item of {task.name} could be answered; the first one says: {results[0].error}")
    return results


def _check(system: System, task: Task, services: ScoringServices) -> None:
    """Raise ConfigError where a scorer of the task needs something that the port or the services lack."""
    scorers = {item.scorer for item in task.items}
    if scorers & set(BY_PORT) and not isinstance(system.port, Scores):
        raise ConfigError(
            f"{system.port.name} does not tell log-probabilities of given answers, which scorer "
            f"{', '.join(sorted(scorers & set(BY_PORT)))} needs; use 'letter', or a model's folder"
        )
    if "code" in scorers and services.examine is None:
        raise ConfigError(f"task {task.name} runs code, and there is nothing given to run it in")
    if "grade" in scorers and services.grade is None:
        raise ConfigError(f"task {task.name} needs a judge (on the command line: --judge MODEL)")


def read_results(path: Path) -> dict[tuple[str, int], tuple[Result, str]]:
    """Read results with the digests of their items; a half-written last line is cut off."""
    found: dict[tuple[str, int], tuple[Result, str]] = {}
    for number, line in enumerate(whole_lines(path), 1):
        try:
            result, of = _result_of(Fields(parse_json(line.decode()), "the result"))
        except (DataError, UnicodeDecodeError) as error:
            raise DataError(f"{path}:{number}: {error}; delete the line to ask again") from None
        found[result.id, result.sample] = (result, of)
    return found


def _result_of(fields: Fields) -> tuple[Result, str]:
    """Read a result and the digest of its item."""
    fields.text("question", "")
    used = fields.inner("usage", {})
    usage = Usage(
        used.whole("prompt_tokens", 0),
        used.whole("completion_tokens", 0),
        used.whole("reused_tokens", 0),
        used.whole("calls", 0),
        used.number("seconds", 0.0, low=0.0),
        used.flag("is_estimated", False),
    )
    used.finish()
    result = Result(
        fields.text("id"),
        fields.whole("sample"),
        fields.number("score"),
        fields.text("text", ""),
        fields.inner("details", {}).data,
        usage,
        fields.number("seconds", 0.0, low=0.0),
        fields.text("stop", ""),
        fields.text("error", ""),
    )
    of = fields.text("item")
    fields.finish()
    return result, of


async def _answer(system: System, item: Item, sample: int, services: ScoringServices, seed: int) -> Result:
    """Answer one item. A question that cannot be asked gives a result with an error; an unreachable server raises."""
    try:
        if item.scorer in BY_PORT:
            assert isinstance(system.port, Scores)
            return _result(item, sample, await score_choices(item, system.port))
        options = Options(system.sampling, derive_seed(seed, "item", item.id, sample))
        conversation = replace(item.conversation, meta={"item": item})
        outcome = await run(named(system.strategy, system.given), conversation, system.port.ask, options)
    except (ConfigError, DataError) as error:
        return Result(item.id, sample, 0.0, error=str(error))
    except RefusedError as error:
        if not error.is_about_request:
            raise
        return Result(item.id, sample, 0.0, error=str(error))
    if outcome.answer.missing and (outcome.answer.thoughts or outcome.answer.stop in ("content_filter", "refusal")):
        return Result(item.id, sample, 0.0, error=f"no answer: {outcome.answer.missing}", usage=outcome.usage)
    result = _result(item, sample, await score_answer(item, outcome.answer.text, services))
    return replace(
        result, text=outcome.answer.text, usage=outcome.usage, seconds=outcome.seconds, stop=outcome.answer.stop
    )


def _result(item: Item, sample: int, found: DetailedScore) -> Result:
    return Result(item.id, sample, found.score, details=found.details)
