"""Whether the losses and advantages of the online methods are TRL's, on identical logits.

TRL's newest for the methods that compare groups, 1.12.0 for PPO, which later versions lack; each in an environment of its
own. `python -m bench.alignment.trl` writes tests/golden/online_trl.json from the first seed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from bench.alignment.setting import Setting
from bench.environments import ROOT, ask, environment
from bench.rows import Row
from jielong.data.batches import Batch, pad_rows
from jielong.runs import write_text
from jielong.tokens.chat import Rendered
from jielong.train.advantages import gae, group_advantages, kl_penalised_rewards, leave_one_out, whiten
from jielong.train.objectives.policy import PPO, PolicyConfig, PolicyGradient, PPOConfig, ValueConfig
from jielong.train.online import ONLINE

SEEDS = 3
BOUND = 1e-6
GOLDEN = ROOT / "tests" / "golden" / "online_trl.json"
ROWS, LONGEST, VOCABULARY, GROUP = 8, 5, 4, 4
PEERS = {"ppo": "trl with ppo"}
"""Method -> the environment that has it, where it is not the newest."""

CLIPS = {"clip_low": 0.2, "clip_high": 0.28, "beta": 0.0, "temperature": 0.7}
SETTINGS: tuple[dict[str, Any], ...] = (
    {**CLIPS, "method": "grpo", "loss_type": "grpo"},
    {**CLIPS, "method": "grpo", "loss_type": "grpo", "beta": 0.3, "loss_kl": "k3"},
    {**CLIPS, "method": "dr_grpo", "loss_type": "dr_grpo"},
    {**CLIPS, "method": "dapo", "loss_type": "dapo"},
    {**CLIPS, "method": "gspo", "loss_type": "grpo", "level": "sequence", "clip_low": 0.03, "clip_high": 0.04},
    # TRL's epsilon_high is then the largest ratio itself
    {**CLIPS, "method": "cispo", "loss_type": "cispo", "clip_high": 1.5},
    {**CLIPS, "method": "rloo"},
    {
        **CLIPS,
        "method": "ppo",
        "clip_high": 0.2,
        "beta": 0.3,
        "gamma": 0.98,
        "lam": 0.9,
        "value_clip": 0.2,
        "value_coefficient": 0.3,
    },
)


def case_of(setting: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Logits for ragged samples (full ones for PPO, where TRL's place of the score differs), and what a rollout knows."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    ids = torch.randint(0, VOCABULARY, (ROWS, LONGEST), generator=generator)
    sizes = torch.randint(1, LONGEST + 1, (ROWS, 1), generator=generator)
    if setting["method"] == "ppo":
        sizes = torch.full_like(sizes, LONGEST)
    logits = drawn(ROWS, LONGEST, VOCABULARY)
    logprobs = torch.log_softmax(logits / setting["temperature"], dim=-1).gather(2, ids[:, :, None])[:, :, 0]
    old_values = drawn(ROWS, LONGEST)
    made = {
        **setting,
        "divide_by_std": setting["method"] != "dr_grpo",
        "group_size": GROUP,
        "max_tokens": LONGEST + 2,
        "ids": ids.tolist(),
        "mask": (torch.arange(LONGEST)[None] < sizes).long().tolist(),
        "logits": logits.tolist(),
        "old": (logprobs + 0.2 * drawn(ROWS, LONGEST)).tolist(),
        "reference": (logprobs + 0.5 * drawn(ROWS, LONGEST)).tolist(),
        "rewards": drawn(ROWS).tolist(),
        "old_values": old_values.tolist(),
        "values": (old_values + 0.3 * drawn(ROWS, LONGEST)).tolist(),
    }
    return {name: _short(value) if isinstance(value, list) else value for name, value in made.items()}


def _short(values: Any) -> Any:
    """Numbers with few digits, for the golden file."""
    return [_short(value) for value in values] if isinstance(values, list) else round(values, 4)


class Given(nn.Module):
    """A model whose logits, or values, at the places of a sample are given; rows begin with a prompt of one token."""

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.values = nn.Parameter(values)

    def forward(self, inputs: Tensor, positions: Tensor | None = None, segments: Tensor | None = None) -> Tensor:
        padding = self.values.new_zeros(inputs.shape[0], inputs.shape[1] - self.values.shape[1], *self.values.shape[2:])
        return torch.cat([self.values, padding], dim=1)

    def logits(self, hidden: Tensor) -> Tensor:
        return hidden


def ours(case: Mapping[str, Any]) -> dict[str, Tensor]:
    """Our loss, advantages and gradients of a case."""
    ids, mask = case["ids"], torch.tensor(case["mask"])
    rows = [
        Rendered((0, *row[:size]), (False,) + (True,) * size)
        for row, size in zip(ids, mask.sum(1).tolist(), strict=True)
    ]
    batch = pad_rows(rows)
    width = batch.length

    def stream(name: str) -> Tensor:
        padded = nn.functional.pad(torch.tensor(case[name]), (0, max(0, width - LONGEST)))[:, :width]
        return torch.where(batch.weights != 0, padded, 0.0)

    rewards, old, reference = torch.tensor(case["rewards"]), stream("old"), stream("reference")
    extra = {"old_logprobs": old, "engine_logprobs": old, "ref_logprobs": reference}
    modules: dict[str, nn.Module] = {"policy": Given(torch.tensor(case["logits"])[:, :width])}
    if case["method"] == "ppo":
        modules["critic"] = Given(torch.tensor(case["values"])[:, :width])
        penalised = kl_penalised_rewards(rewards, old, reference, batch.weights, case["beta"])
        advantages, returns = gae(penalised, stream("old_values"), batch.weights, gamma=case["gamma"], lam=case["lam"])
        told = whiten(advantages, batch.weights)
        extra |= {"advantages": told, "returns": returns, "old_values": stream("old_values")}
        told = told[:, :LONGEST]
    else:
        if case["method"] == "rloo":
            told = leave_one_out(rewards, case["group_size"])
        else:
            told = group_advantages(rewards, case["group_size"], divide_by_std=case["divide_by_std"])
        extra["advantages"] = torch.where(batch.weights != 0, told[:, None], 0.0)
    numbers = {name: torch.tensor(float(case[name])) for name in ("temperature", "max_tokens")}
    whole = Batch(**{**vars(batch), "extra": {**extra, **numbers}})
    loss = _objective(case)(modules, whole)
    total = cast(Tensor, sum(value / weight for value, weight in loss.terms.values()))
    total.backward()
    found = {"loss": total.detach(), "advantages": told, "gradient": _gradient(modules["policy"])}
    return found | ({"value_gradient": _gradient(modules["critic"])} if "critic" in modules else {})


def _gradient(module: nn.Module) -> Tensor:
    """The gradient on what was given, as long as the longest sample may be."""
    (given,) = module.parameters()
    assert given.grad is not None
    missing = LONGEST - given.shape[1]
    return torch.cat([given.grad, given.grad.new_zeros(ROWS, missing, *given.shape[2:])], dim=1)


def _objective(case: Mapping[str, Any]) -> PPO | PolicyGradient:
    settings = {**ONLINE[case["method"]].policy, "mismatch_cap": 0.0, "clip_low": case["clip_low"]}
    if case["method"] == "cispo":
        settings["largest_ratio"] = case["clip_high"]
    else:
        settings["clip_high"] = case["clip_high"]
    if "loss_kl" in case:
        settings |= {"loss_kl": case["loss_kl"], "loss_kl_coefficient": case["beta"]}
    policy = PolicyConfig(**settings)
    if case["method"] == "ppo":
        return PPO(PPOConfig(policy, ValueConfig(case["value_clip"], case["value_coefficient"])))
    return PolicyGradient(policy)


def differences(case: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, float]:
    """The largest difference in loss, advantages and gradients."""
    found = ours(case)
    return {name: float((found[name] - torch.tensor(value)).abs().max()) for name, value in theirs.items()}


def name_of(setting: Mapping[str, Any]) -> str:
    return f"{setting['method']} with k3 in the loss" if "loss_kl" in setting else str(setting["method"])


def rows(setting: Setting) -> Iterator[Row]:
    """The largest difference of each method over the seeds, in loss, advantages and gradients."""
    peers = setting.peers or Path.home() / ".cache" / "jielong-bench"
    for peer in ("trl", *PEERS.values()):
        asked = [s for s in SETTINGS if PEERS.get(s["method"], "trl") == peer]
        cases = [case_of(s, seed) for s in asked for seed in setting.seeds]
        answer = ask(environment(peer, peers), "bench.online_trl", cases)
        for number, method in enumerate(asked):
            part = slice(number * len(setting.seeds), (number + 1) * len(setting.seeds))
            found = [differences(c, t) for c, t in zip(cases[part], answer["found"][part], strict=True)]
            for name in found[0]:
                largest = max(f[name] for f in found)
                measure = f"{name_of(method)}, TRL {answer['version']}, {name}: largest difference"
                yield Row(measure, f"at most {BOUND:g}", largest, largest <= BOUND, seeds=setting.seeds)


def write_golden(peers: Path) -> None:
    """Write the cases of seed 0 and TRL's answers for the tests."""
    made = []
    for peer in ("trl", *PEERS.values()):
        asked = [s for s in SETTINGS if PEERS.get(s["method"], "trl") == peer]
        cases = [case_of(setting, 0) for setting in asked]
        answer = ask(environment(peer, peers), "bench.online_trl", cases)
        for setting, case, found in zip(asked, cases, answer["found"], strict=True):
            made.append({"name": name_of(setting), "trl": answer["version"], "case": case, "found": found})
    write_text(GOLDEN, "[\n" + ",\n".join(map(json.dumps, made)) + "\n]\n")


if __name__ == "__main__":
    import sys

    write_golden(Path(sys.argv[1]) if len(sys.argv) > 1 else Path.home() / ".cache" / "jielong-bench")
