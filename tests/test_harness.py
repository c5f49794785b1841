"""The bridge to lm-eval, where that extra is installed: the same weights get the same figures as in its own class."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.test_port import MODEL, TOKENIZER

from jielong.errors import ConfigError, DataError
from jielong.evaluate.harness import harness_model, run_harness
from jielong.generate.engine import Engine, EngineConfig
from jielong.model import hf
from jielong.records import Conversation, Message
from jielong.use.port import LocalPort

IS_INSTALLED = importlib.util.find_spec("lm_eval") is not None
PORT = LocalPort(Engine(MODEL, EngineConfig(slots=4, dtype="float32")), TOKENIZER)
PAIRS = [
    ("the sea", " the sea"),
    ("the sea 大", "海"),
    ("", "the sea"),
    ("sea ", "大海"),
    ("the sea " * 60, "大海 the"),
]

installed = pytest.mark.skipif(not IS_INSTALLED, reason="lm-eval is not installed; it is an extra, and large")
# what its imports and its models warn of is theirs
quiet = pytest.mark.filterwarnings("ignore")


def request(*args: object) -> SimpleNamespace:
    return SimpleNamespace(args=args)


@pytest.mark.skipif(IS_INSTALLED, reason="says what is missing where lm-eval is not installed")
def test_without_the_package_one_sentence_says_what_to_install() -> None:
    with pytest.raises(ConfigError, match=r"pip install 'jielong\[bench\]'"):
        harness_model(PORT)


def exported(folder: Path) -> Any:
    """The same model in lm-eval's class for transformers."""
    from lm_eval.models.huggingface import HFLM

    hf.save(MODEL, folder, eos_token_id=TOKENIZER.im_end, pad_token_id=TOKENIZER.pad)
    TOKENIZER.save(folder)
    first = TOKENIZER.endoftext
    return HFLM(str(folder), device="cpu", dtype="float32", batch_size=2, prefix_token_id=first, max_length=128)


@installed
@quiet
def test_likelihoods_and_texts_equal_those_of_its_own_class_on_the_exported_model(tmp_path: Path) -> None:
    theirs, ours = exported(tmp_path), harness_model(PORT)
    requests = [request(*pair) for pair in PAIRS]
    for (logprob, is_greedy), (expected, is_theirs) in zip(
        ours.loglikelihood(requests, disable_tqdm=True), theirs.loglikelihood(requests, disable_tqdm=True), strict=True
    ):
        assert logprob == pytest.approx(expected, abs=1e-3) and is_greedy == is_theirs
    texts = [request("the sea 大海 the sea"), request("大海 " * 200)]
    assert ours.loglikelihood_rolling(texts) == pytest.approx(theirs.loglikelihood_rolling(texts), rel=1e-4)
    asked = [request(text, {"until": ["sea"], "max_gen_toks": 12, "do_sample": False}) for text in ("the", "大海 the")]
    assert ours.generate_until(asked) == theirs.generate_until(asked)


@installed
@quiet
def test_chats_are_written_and_answered_as_by_its_own_class(tmp_path: Path) -> None:
    theirs, ours = exported(tmp_path), harness_model(PORT)
    turns = [("system", "the sea"), ("user", "sea? "), ("assistant", "大海"), ("user", "the")]
    history = [{"role": role, "content": text} for role, text in turns]
    asked = ours.apply_chat_template(history)
    assert asked == theirs.apply_chat_template(history)
    begun = [*history, {"role": "assistant", "content": "the sea "}]
    goes_on = ours.apply_chat_template(begun, add_generation_prompt=False)
    assert goes_on == theirs.apply_chat_template(begun, add_generation_prompt=False)
    assert goes_on.endswith("<|im_start|>assistant\nthe sea ")
    assert ours.chat_template(True) == theirs.chat_template(True) and ours.chat_template(False) is None
    assert "/" not in ours.tokenizer_name
    assert ours.tok_encode(asked) == list(PORT.prompt_ids(Conversation(tuple(Message(*turn) for turn in turns))))
    pairs = [request(asked, "sea"), request(asked, "大海 the"), request(goes_on, " 大海")]
    for (logprob, is_greedy), (expected, is_theirs) in zip(
        ours.loglikelihood(pairs, disable_tqdm=True), theirs.loglikelihood(pairs, disable_tqdm=True), strict=True
    ):
        assert logprob == pytest.approx(expected, abs=1e-3) and is_greedy == is_theirs
    wanted = {"until": ["sea"], "max_gen_toks": 12, "do_sample": False}
    assert ours.generate_until([request(asked, wanted)]) == theirs.generate_until([request(asked, wanted)])


@installed
@quiet
def test_a_task_in_a_file_is_run_offline(tmp_path: Path) -> None:
    lines = [{"q": "the", "choices": ["sea", "大海"], "right": n % 2} for n in range(6)]
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    (tmp_path / "task.yaml").write_text(
        "task: own-sea\n"
        "dataset_path: json\n"
        f"dataset_kwargs:\n  data_files:\n    test: {tmp_path / 'items.jsonl'}\n"
        "test_split: test\n"
        "output_type: multiple_choice\n"
        "doc_to_text: '{{q}}'\n"
        "doc_to_choice: choices\n"
        "doc_to_target: right\n"
        "metric_list:\n  - metric: acc\n",
        encoding="utf-8",
    )
    found = run_harness(PORT, str(tmp_path / "task.yaml"))
    assert found["own-sea"]["acc,none"] == 0.5  # it always likes the same one, which is right every second time
    asked: list[tuple[int, ...]] = []

    class Watched(Engine):
        def score_many(self, pairs: Any) -> Any:
            asked.extend((*before, *ids) for before, ids in pairs)
            return super().score_many(pairs)

    port = LocalPort(Watched(MODEL, EngineConfig(slots=4, dtype="float32")), TOKENIZER)
    assert "own-sea" in run_harness(port, str(tmp_path / "task.yaml"), is_chat=True)
    prompt = PORT.prompt_ids(Conversation((Message("user", "the"),)))
    assert len(asked) == 12 and all(ids[: len(prompt)] == prompt for ids in asked)
    with pytest.raises(ConfigError, match="lm-eval has no task 'no-such-task'"):
        run_harness(PORT, "no-such-task")
    with pytest.raises(DataError, match="cannot read the task"):
        run_harness(PORT, str(tmp_path / "none.yaml"))
