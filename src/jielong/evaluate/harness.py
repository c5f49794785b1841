"""A bridge to EleutherAI's lm-eval (Gao et al. 2021): its tasks, answered by the engine in this process.

`harness_model` wraps a port as lm-eval's model class. Texts are tokenized and cut as in its own class for transformers,
so that the same weights get the same figures. As there, the text of a special token becomes that token, which chat
templates need. The package is large and only imported here, when asked for.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from jielong.errors import ConfigError, DataError
from jielong.evaluate.concurrently import run_concurrently
from jielong.evaluate.quality import ScoringEngine
from jielong.records import Sampling
from jielong.runs import derive_seed
from jielong.tokens.templates import CHATML, ChatTemplate
from jielong.use.port import LocalPort, Options

_MAX_TOKENS = 256
"""What lm-eval writes where a task names no limit."""
_NEVER = "\U0010fffd"
"""A character that stands in no text: no special token's text is taken for anything else."""


def run_harness(
    port: LocalPort, task: str, *, limit: int = 0, seed: int = 0, is_chat: bool = False
) -> dict[str, dict[str, Any]]:
    """Run a task of lm-eval, by name or as a YAML file; return {task: {metric: value}}.

    With `is_chat`, questions and their examples are turns in the model's chat template instead of bare text. Raises
    ConfigError if the package or the task is missing.
    """
    import_harness()
    from lm_eval.evaluator import simple_evaluate
    from lm_eval.tasks import TaskManager

    path = Path(task)
    is_file = path.suffix in (".yaml", ".yml")
    name = _task_name(path) if is_file else task
    manager = TaskManager(include_path=str(path.resolve().parent) if is_file else None)
    if name not in manager.all_tasks:
        raise ConfigError(f"lm-eval has no task {name!r}; its names are listed by: lm-eval ls tasks")
    found = simple_evaluate(
        harness_model(port),
        tasks=[name],
        task_manager=manager,
        limit=limit or None,
        apply_chat_template=is_chat,
        fewshot_as_multiturn=is_chat,
        log_samples=False,
        random_seed=seed,
        numpy_random_seed=seed,
        torch_random_seed=seed,
        fewshot_random_seed=seed,
    )
    return {task: dict(figures) for task, figures in found["results"].items()}


def _task_name(path: Path) -> str:
    """Read the task's name from its YAML file. Raises DataError if there is none."""
    try:
        found = re.search(r"^task:\s*['\"]?([^\s'\"]+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the task {str(path)!r}: {error}") from error
    if not found:
        raise DataError(f"{path} names no task; expected a line such as 'task: my-task'")
    return found[1]


def import_harness() -> Any:
    """Import lm-eval. Raises ConfigError if it is missing."""
    try:
        import lm_eval.api.model
    except ImportError:
        raise ConfigError("tasks of lm-eval need that package; pip install 'jielong[bench]'") from None
    return lm_eval


def harness_model(port: LocalPort, *, seed: int = 0) -> Any:
    """Wrap the port as an `lm_eval.api.model.LM`; its requests are answered in batches."""
    import_harness()
    from lm_eval.api.model import TemplateLM
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

    tokenizer, engine = port.tokenizer, cast(ScoringEngine, port.engine)
    template = ChatTemplate(CHATML) if tokenizer.is_own else tokenizer.template

    class JielongLM(TemplateLM):
        """Log-likelihoods and texts of one port."""

        tokenizer_name = port.name.replace("/", "__")
        """A part of the names of lm-eval's cache files."""

        def chat_template(self, chat_template: bool | str = False) -> str | None:
            return template.source if template and chat_template else None

        def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
            if template is None:
                raise ConfigError(f"{port.name} has no chat template; measure it without --chat")
            try:
                text = template.text(chat_history, add_generation_prompt=add_generation_prompt)
            except DataError:  # some templates know no system message
                chat_history = [message for message in chat_history if message["role"] != "system"]
                text = template.text(chat_history, add_generation_prompt=add_generation_prompt)
            if add_generation_prompt:
                return text
            # the last turn is gone on with, after its blanks if the template keeps them
            begun = chat_history[-1]["content"].strip()
            start = text.rindex(begun)
            whole = chat_history[-1]["content"].lstrip()
            return text[:start] + (whole if text.startswith(whole, start) else begun)

        @property
        def eot_token_id(self) -> int:
            return tokenizer.endoftext

        @property
        def prefix_token_id(self) -> int:
            return tokenizer.opening[0] if tokenizer.opening else tokenizer.endoftext

        def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
            ids = tokenizer.encode_marked(string, _NEVER)[0]
            is_opened = add_special_tokens is False or ids[: len(tokenizer.opening)] == list(tokenizer.opening)
            return ids if is_opened else [*tokenizer.opening, *ids]

        def _loglikelihood_tokens(self, requests: Sequence[Any], **_: Any) -> list[tuple[float, bool]]:
            # what does not fit is cut off at the left
            pairs = [_cut_from_left(before, ids, engine.length) for _, before, ids in requests]
            scored = zip(engine.score_many(pairs), engine.are_likeliest(pairs), strict=True)
            return [(sum(logprobs), all(likeliest)) for logprobs, likeliest in scored]

        def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
            totals = []
            for request in requests:
                windows = get_rolling_token_windows(
                    token_list=self.tok_encode(request.args[0]),
                    prefix_token=self.prefix_token_id,
                    max_seq_len=engine.length,
                    context_len=1,
                )
                pairs = [(None, *make_disjoint_window(window)) for window in windows]
                totals.append(sum(logprob for logprob, _ in self._loglikelihood_tokens(pairs)))
            return totals

        def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
            async def one(number: int) -> str:
                text, wanted = requests[number].args
                sampling = _sampling(wanted)
                ids = self.tok_encode(text)[-max(1, engine.length - sampling.max_tokens) :]
                options = Options(sampling, derive_seed(seed, "harness", number))
                return (await port.go_on(tuple(ids), options)).text

            return asyncio.run(run_concurrently(one, len(requests)))

    return JielongLM()


def _cut_from_left(before: Sequence[int], ids: Sequence[int], length: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Cut a pair of context and ids from the left to `length` inputs (the last id is only predicted); keep some
    context.
    """
    kept = (*before, *ids)[-(length + 1) :]
    num_judged = min(len(ids), len(kept) - 1)
    return kept[:-num_judged], kept[-num_judged:]


def _sampling(wanted: dict[str, Any]) -> Sampling:
    """Translate the generation options of lm-eval: greedy unless they say otherwise."""
    until = wanted.get("until") or []
    return Sampling(
        max_tokens=int(wanted.get("max_gen_toks", _MAX_TOKENS)),
        temperature=float(wanted.get("temperature", 1.0)) if wanted.get("do_sample") else 0.0,
        top_p=float(wanted.get("top_p", 1.0)),
        top_k=int(wanted.get("top_k") or 0),
        stop=tuple([until] if isinstance(until, str) else filter(None, until)),
    )
