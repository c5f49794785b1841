"""Tokens a second of the engine, of a loop over the training module without a cache, and of `transformers` generate.

Same weights, same prompts, same process. Prompts are random ids of 20 to 60 tokens; every row writes `--tokens` tokens
at temperature 1 (`--greedy`: at 0). The engine also runs a long queue (`--queue` requests, 8 to 24 tokens each), which
is what rollouts and evaluation look like. Give the threads in the environment: OMP_NUM_THREADS=2 python bench/generate.py
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from jielong.generate import Engine, EngineConfig
from jielong.model.transformer import LanguageModel, ModelConfig, fresh_language_model
from jielong.records import Request, Sampling


def naive(model: LanguageModel, prompt: list[int], tokens: int, temperature: float) -> None:
    """One row, the whole sequence again for each token."""
    ids = torch.tensor([prompt])
    with torch.inference_mode():
        for _ in range(tokens):
            logits = model.logits(model(ids)[:, -1]).float()
            drawn = torch.softmax(logits, -1).multinomial(1) if temperature else logits.argmax(-1, keepdim=True)
            ids = torch.cat([ids, drawn], dim=1)


def in_transformers(model: LanguageModel, dtype: torch.dtype) -> Callable[[list[list[int]], int, float], None]:
    """The same weights in Qwen3ForCausalLM."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = model.config
    other = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=config.vocab_size,
            hidden_size=config.hidden_size,
            intermediate_size=config.intermediate_size,
            num_hidden_layers=config.num_hidden_layers,
            num_attention_heads=config.num_attention_heads,
            num_key_value_heads=config.num_key_value_heads,
            head_dim=config.head_dim,
            max_position_embeddings=config.max_position_embeddings,
            rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
            tie_word_embeddings=config.tie_word_embeddings,
        )
    )
    other.load_state_dict(model.state_dict(), strict=False)
    other.to(dtype).eval()

    def run(prompts: list[list[int]], tokens: int, temperature: float) -> None:
        longest = max(map(len, prompts))
        ids = torch.tensor([[0] * (longest - len(p)) + p for p in prompts])
        mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
        other.generate(
            ids, attention_mask=mask, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=bool(temperature),
            top_k=0, pad_token_id=0,
        )  # fmt: skip

    return run


def timed(work: Callable[[], object], repeats: int) -> float:
    """Median seconds after one run to warm up."""
    work()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32, 128])
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--queue", type=int, default=1000, help="requests in the long queue; 0 leaves it out")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--greedy", action="store_true")
    parser.add_argument("--only-engine", action="store_true")
    options = parser.parse_args()

    rng = np.random.default_rng(0)
    model = fresh_language_model(ModelConfig(), seed=0).eval()
    dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}[options.dtype]
    model.model.compute_dtype = dtype
    temperature = 0.0 if options.greedy else 1.0
    other = None if options.only_engine else in_transformers(model, dtype)

    def prompts(count: int) -> list[list[int]]:
        return [rng.integers(64, 4096, rng.integers(20, 61)).tolist() for _ in range(count)]

    print(f"{options.dtype}, {torch.get_num_threads()} threads, {options.tokens} tokens a row, tokens/s")
    print(f"{'':>16}{'engine':>10}{'transformers':>14}{'no cache':>10}")
    for batch in options.batch:
        engine = Engine(model, EngineConfig(slots=batch, dtype=options.dtype, reuse=0, lookup=0))
        rows = prompts(batch)
        sampling = Sampling(max_tokens=options.tokens, temperature=temperature)
        requests = [Request(tuple(ids), sampling, seed) for seed, ids in enumerate(rows)]
        total = batch * options.tokens
        cells = [f"{total / timed(lambda: engine.generate(requests), options.repeats):>10.0f}"]  # noqa: B023
        if other is not None:
            cells.append(f"{total / timed(lambda: other(rows, options.tokens, temperature), options.repeats):>14.0f}")  # noqa: B023
            if batch == 1:
                cells.append(f"{total / timed(lambda: naive(model, rows[0], options.tokens, temperature), 1):>10.0f}")  # noqa: B023
        print(f"batch {batch:>10}{''.join(cells)}")
    if options.queue:
        engine = Engine(model, EngineConfig(slots=max(options.batch), dtype=options.dtype, reuse=0, lookup=0))
        lengths = rng.integers(8, 25, options.queue).tolist()
        requests = [
            Request(tuple(ids), Sampling(max_tokens=length, temperature=temperature), seed)
            for seed, (ids, length) in enumerate(zip(prompts(options.queue), lengths, strict=True))
        ]
        seconds = timed(lambda: engine.generate(requests), 1)
        read = sum(len(request.prompt_ids) for request in requests)
        print(
            f"queue {options.queue:>10}{sum(lengths) / seconds:>10.0f}  ({seconds:.2f} s, {read / seconds:.0f} read/s)"
        )


if __name__ == "__main__":
    main()
