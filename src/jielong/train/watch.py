"""A watch on prompts that are kept apart from reinforcement: how their answers score, and how far they are from the start.

The reward of training rises on prompts that were learned from. The same dice are thrown at every look, so two looks differ
by the policy alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from jielong.data.batches import PAD_ID
from jielong.errors import DataError
from jielong.model.adapters import weights_of
from jielong.records import LocalGenerator, Sampling, Scorer
from jielong.runs import derive_seed
from jielong.train.objectives.policy import kl_estimate
from jielong.train.parallel import Ranks
from jielong.train.roles import Modules
from jielong.train.rollout_settings import RolloutSettings
from jielong.train.samples import batch_of_samples, draw, log_probabilities, rewards_of
from jielong.train.sources import Prompt


def keep_apart(prompts: Sequence[Prompt], count: int, seed: int) -> tuple[list[Prompt], list[Prompt]]:
    """Part prompts into those to learn from and about `count` others; equal prompts stay together.

    Raises DataError if nothing would be left to learn from.
    """
    kinds = list(dict.fromkeys(prompt.ids for prompt in prompts))
    order = np.random.default_rng(derive_seed(seed, "watch", "prompts")).permutation(len(kinds))
    apart = {kinds[place] for place in order[:count]}
    learned, watched = ([p for p in prompts if (p.ids in apart) == is_apart] for is_apart in (False, True))
    if not learned:
        raise DataError(f"{count} prompts are to be watched, and there are {len(kinds)}; lower watch_prompts")
    return learned, watched


def watch(
    prompts: Sequence[Prompt],
    engine: LocalGenerator,
    scorer: Scorer,
    settings: RolloutSettings,
    stop_ids: Sequence[int],
    *,
    seed: int,
    pad_id: int = PAD_ID,
    ranks: Ranks = Ranks(),  # noqa: B008 - frozen
) -> Callable[[Modules, int], dict[str, float]]:
    """Make a check that draws an answer to each prompt and judges it.

    It finds "held_out_score", "held_out_kl" (nats per sample to the reference), "held_out_length" (tokens), of a mixture
    the measures of its parts, and "held_out_reward": score and penalties, less the KL times the first coefficient.
    """
    sampling = Sampling(max_tokens=settings.max_tokens, temperature=settings.temperature, stop_ids=tuple(stop_ids))
    numbers = range(ranks.rank, len(prompts), ranks.size)
    seeds = [derive_seed(seed, "watch", number) for number in numbers]

    def look(modules: Modules, step: int) -> dict[str, float]:
        """Draw and judge this rank's share, and sum over all ranks."""
        policy = modules["policy"]
        engine.load(weights_of(policy), step)
        drawn = draw([prompts[n] for n in numbers], seeds, engine, scorer, sampling)
        batch = batch_of_samples(drawn.samples, pad_id).to(next(policy.parameters()).device)
        known = {name: modules[name] for name in ("policy", "reference")}
        streams = log_probabilities(known, batch, drawn.samples, settings.temperature, settings.micro_rows)
        sums: Mapping[str, float] = {
            "held_out_score": sum(drawn.judged.values),
            "held_out_kl": float(kl_estimate(streams["old_logprobs"], streams["ref_logprobs"], "k1").sum()),
            "held_out_length": float(batch.weights.sum()),
            **{f"held_out_{name}": sum(values) for name, values in drawn.judged.measures.items()},
            "held_out_reward": sum(rewards_of(drawn, settings)),
        }
        means = {name: total / len(prompts) for name, total in ranks.sum_numbers(sums).items()}
        means["held_out_reward"] -= settings.kl_coefficient * means["held_out_kl"]
        return means

    return look
