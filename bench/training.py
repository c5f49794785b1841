"""Training: tokens per second and utilisation at three sizes, and seconds to a held-out loss on real text.

Everybody starts from the same weights (nanochat from its own), reads the same rows in the same order and updates after
the same number of them. Before anything is timed, the losses of the first steps are compared: equal weights on equal
rows must lose equally, and with equal rates must stay together.
"""

from __future__ import annotations

import itertools
import json
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.contest import Contestant, Result, Wanted, busy_elsewhere, in_turn, rounds
from bench.environments import OURS, Environment
from jielong.data.refine import cut_text
from jielong.data.shards import TokenArray, encode_documents
from jielong.data.steps import PackedTokens, held_out
from jielong.model import hf
from jielong.model.presets import flops_per_token, preset
from jielong.model.transformer import ModelConfig, fresh_language_model
from jielong.records import Document
from jielong.tokens.tokenizer import TokenizerConfig, train_tokenizer

OUR_ADAMW, OUR_MUON = "jielong AdamW", "jielong Muon"


@dataclass(frozen=True)
class Size:
    """A shape and the rows of one step. `sample_steps` are timed at once, `warmup_steps` before."""

    shape: ModelConfig
    rows: int
    micro_rows: int
    sample_steps: int
    warmup_steps: int
    times_transformers: float
    times_nanochat: float = 1.4
    mfu: float | None = None


SIZES = {
    "s": Size(preset("s"), 32, 16, 4, 4, 2.2, mfu=0.55),
    "m": Size(preset("m"), 16, 8, 2, 2, 1.7, mfu=0.55),
    "gpt2": Size(preset("gpt2"), 4, 2, 1, 1, 1.5, mfu=0.60),
}
QUICK = Size(
    ModelConfig(
        vocab_size=512,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        max_position_embeddings=64,
    ),
    *(4, 2, 2, 2, 1.0),
)
# bf16 rounds to 2^-8; averaged over thousands of positions two implementations of one model stay far closer than this
FIRST_LOSS, LAST_LOSS = 0.01, 0.05


@dataclass(frozen=True)
class Setting:
    """What holds for all measurements of one call."""

    folder: Path
    threads: int
    dtype: str
    clock: str
    """"wall" or "cpu", see `bench.peers.protocol`."""
    rounds: int
    peers: dict[str, Environment]
    missing: list[str]
    """Who did not take part, and why; added to while measuring."""
    is_quick: bool = False

    @property
    def seconds(self) -> str:
        """The unit of time."""
        return "s" if self.clock == "wall" else "CPU s"


def prepare(size: Size, tokens: NDArray[np.int64], setting: Setting, folder: Path, *, steps: int) -> dict[str, Any]:
    """Write weights and rows into `folder`; the job that all contestants share."""
    folder.mkdir(parents=True)
    (folder / "model").mkdir()
    hf.save(fresh_language_model(size.shape, seed=0), folder / "model", eos_token_id=0, pad_token_id=1)
    length = size.shape.max_position_embeddings
    layout: dict[str, Any] = {"length": length, "rows_per_step": size.rows, "micro_rows": size.micro_rows, "seed": 0}
    # the held-out rows are full, so that nobody has to leave out padding
    num_held_out = max(1, min(64, len(tokens) // 20 // length) // size.micro_rows) * size.micro_rows
    train, test = np.split(tokens, [len(tokens) - num_held_out * (length - 1) - 1])
    kind = np.uint16 if size.shape.vocab_size <= 65_536 else np.uint32
    source = PackedTokens(TokenArray(train, np.array([0, len(train)])), **layout)
    rows = [np.concatenate([batch.inputs.numpy() for batch in source.next_step()]) for _ in range(steps)]
    batches = held_out(PackedTokens(TokenArray(test, np.array([0, len(test)])), **layout))
    np.save(folder / "rows.npy", np.stack(rows).astype(kind))
    np.save(folder / "held_out_rows.npy", np.concatenate([batch.inputs.numpy() for batch in batches]).astype(kind))
    np.save(folder / "tokens.npy", train.astype(kind))
    np.save(folder / "held_out.npy", test.astype(kind))
    return {
        "folder": str(folder),
        "shape": asdict(size.shape),
        "length": length,
        "rows": size.rows,
        "micro_rows": size.micro_rows,
        "steps": steps,
        "seed": 0,
        "threads": setting.threads,
        "dtype": setting.dtype,
        "clock": setting.clock,
        "compile": not setting.is_quick,
        "lr": 1e-3,
        "rate_scale": 1.0,
        "muon_lr": 0.02,
        "warmup_steps": 0,
    }


def line_up(
    stack: ExitStack, job: dict[str, Any], setting: Setting, *, compiled_peers: bool = False, is_cold: bool = False
) -> dict[str, Contestant]:
    """Everybody who can train, each opened with the job, by name; `is_cold`: with nothing compiled before."""
    folder = Path(job["folder"])

    def enter(name: str, module: str, environment: Environment, **changes: Any) -> Callable[[], Contestant]:
        variables = {"NANOCHAT_DTYPE": job["dtype"]}
        if is_cold:
            variables["TORCHINDUCTOR_CACHE_DIR"] = str(folder / f"compiled-{name}")
        return lambda: stack.enter_context(Contestant(module, job | changes, environment, folder, variables))

    coming = {
        OUR_ADAMW: enter("adamw", "jielong_training", OURS, optimizer="adamw"),
        OUR_MUON: enter("muon", "jielong_training", OURS, optimizer="muon"),
    }
    if "transformers" in setting.peers:
        trainer = ("transformers_training", setting.peers["transformers"])
        coming["transformers eager"] = enter("trainer", *trainer, compile=False)
        if compiled_peers:
            coming["transformers compiled"] = enter("compiled-trainer", *trainer, compile=True)
    if "nanochat" in setting.peers:
        coming["nanochat compiled"] = enter("nanochat", "nanochat_training", setting.peers["nanochat"])
    return in_turn(coming, setting.missing)


def throughput(
    sizes: Mapping[str, Size], setting: Setting, versions: dict[str, str], *, compiled_peers: bool
) -> Iterator[Result]:
    """Tokens per second at each size."""
    for name, size in sizes.items():
        shape = size.shape
        # random ids cost what others cost; that most of the vocabulary does not occur can be learned at once
        tokens = np.random.default_rng(0).integers(0, shape.vocab_size // 8, 400_000)
        steps = size.warmup_steps + setting.rounds * size.sample_steps + 1
        folder = setting.folder / f"training-{name}"
        job = prepare(size, tokens, setting, folder, steps=steps)
        with ExitStack() as stack:
            present = line_up(stack, job, setting, compiled_peers=compiled_peers)
            for contestant in present.values():
                versions |= contestant.versions
            warm = {who: partial(c.ask, "steps", count=size.warmup_steps) for who, c in present.items()}
            losses = {who: answer["losses"] for who, answer in in_turn(warm, setting.missing).items()}
            asked = {who: partial(_rate, present[who], size, job["length"], losses[who]) for who in losses}
            samples = rounds({"peak": partial(_peak, present[OUR_ADAMW])} | asked, setting.rounds, setting.missing)
            busy = busy_elsewhere(present.values())
        per_token = flops_per_token(shape, job["length"])
        peak = max(samples.pop("peak"))  # neighbours can only make it slower
        # nanochat's shape has other FLOPs
        mfu = {w: statistics.median(s) * per_token / peak for w, s in samples.items() if not w.startswith("nanochat")}
        wanted = [Wanted(OUR_ADAMW, who, size.times_transformers) for who in present if who.startswith("transformers")]
        wanted.append(Wanted(OUR_MUON, "nanochat compiled", size.times_nanochat))
        yield Result(
            f"training {name}",
            f"tokens/{setting.seconds}",
            samples,
            wanted,
            mfu=mfu,
            mfu_wanted=size.mfu,
            busy=busy,
            checks=_compare({who: losses[who] for who in samples}, peak),
        )


def _peak(ours: Contestant) -> float:
    """FLOP/s of the matrix product."""
    return 1e9 * float(ours.ask("peak")["gflops"])


def _rate(contestant: Contestant, size: Size, length: int, losses: list[float]) -> float:
    """Tokens per second of one sample; its losses are added to `losses`."""
    answer = contestant.ask("steps", count=size.sample_steps)
    losses += answer["losses"]
    return float(size.sample_steps * size.rows * length / answer["seconds"])


def _compare(losses: dict[str, list[float]], peak: float) -> list[tuple[str, bool]]:
    """Equal weights lose equally at first, equal rates at the end too, and everybody learns."""
    ours, checks = losses[OUR_ADAMW], []
    for who, theirs in losses.items():
        is_right = theirs[-1] < theirs[0]
        if not who.startswith("nanochat"):
            is_right = is_right and abs(theirs[0] - ours[0]) <= FIRST_LOSS
        if who.startswith("transformers"):
            is_right = is_right and abs(theirs[-1] - ours[-1]) <= LAST_LOSS
        told = f"{who} lost {theirs[0]:.4f} nats in step 1 and {theirs[-1]:.4f} in step {len(theirs)}"
        checks.append((told, is_right))
    return [*checks, (f"the largest matrix product ran at {peak / 1e9:,.0f} GFLOP/s", True)]


# Seconds to a held-out loss -------------------------------------------------------------------------------------------


def read_text(folder: Path) -> list[Document]:
    """The text files, cut (a long one would be all that is held out, and unlike the rest), and JSON lines (their "text")."""
    found: list[Document] = []
    for file in sorted(folder.iterdir()):
        if file.suffix == ".txt":
            parts = cut_text(file.read_text(encoding="utf-8"), max_chars=2000)
            found += [Document(part, id=f"{file.name}:{i}") for i, part in enumerate(parts)]
        elif file.suffix == ".jsonl":
            lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
            found += [Document(d["text"], id=f"{file.name}:{i}") for i, d in enumerate(lines) if d.get("text")]
    if not found:
        raise SystemExit(f"{folder} holds no .txt file and no .jsonl file with a field 'text'")
    return found


def time_to_loss(
    text: Path, target: float, rates: Sequence[float], setting: Setting, versions: dict[str, str], *, limit_s: float
) -> Iterator[Result]:
    """Seconds of training, compiling included, until the held-out loss is `target`; each at the best of `rates`.

    nanochat has rates of its own for each kind of weight: they are scaled as far as `rates` are apart.
    """
    size = QUICK if setting.is_quick else SIZES["s"]
    documents = read_text(text)
    tokenizer = train_tokenizer((d.text for d in documents), TokenizerConfig(vocab_size=size.shape.vocab_size))
    size = replace(size, shape=replace(size.shape, vocab_size=tokenizer.vocab_size))
    pieces = [ids for _, ids in encode_documents(documents, tokenizer)]
    order = np.random.default_rng(0).permutation(len(pieces))
    tokens = np.concatenate([pieces[i] for i in order])
    best: dict[str, float] = {}
    checks: list[tuple[str, bool]] = []
    for rate in rates:
        folder = setting.folder / f"loss-{rate:g}"
        job = prepare(size, tokens, setting, folder, steps=4 if setting.is_quick else 2000)
        job |= {"lr": rate, "rate_scale": rate / rates[0], "warmup_steps": 20}
        with ExitStack() as stack:
            present = line_up(stack, job, setting, compiled_peers=not setting.is_quick, is_cold=True)
            for contestant in present.values():
                versions |= contestant.versions
            curves = _race(present, target, limit_s, 2 if setting.is_quick else 20, job["steps"], setting.missing)
        for who, curve in curves.items():
            seconds, loss = curve[-1]
            checks.append(
                (f"{who} at rate {rate:g}: held-out loss {loss:.3f} after {seconds:.0f} s", loss < curve[0][1])
            )
            reached = _crossing(curve, target)
            if reached is not None:
                best[who] = min(reached, best.get(who, reached))
    peers = [who for who in best if who not in (OUR_ADAMW, OUR_MUON)]
    wanted = [Wanted(ours, peer, 2.0) for peer in peers for ours in (OUR_ADAMW, OUR_MUON)]
    samples = {who: [seconds] for who, seconds in best.items()}
    yield Result(
        f"seconds to held-out loss {target:g}", setting.seconds, samples, wanted, lower_is_better=True, checks=checks
    )


def _race(
    present: dict[str, Contestant],
    target: float,
    limit_s: float,
    slice_steps: int,
    max_steps: int,
    missing: list[str],
) -> dict[str, list[tuple[float, float]]]:
    """(seconds of training, held-out loss) of each after every slice, until it has the target or has run too long."""

    def go_on(who: str) -> tuple[float, float]:
        seconds = curves[who][-1][0] + present[who].ask("steps", count=slice_steps)["seconds"] if curves else 0.0
        return seconds, float(present[who].ask("held_out")["loss"])

    curves: dict[str, list[tuple[float, float]]] = {}
    curves = {who: [point] for who, point in in_turn({w: partial(go_on, w) for w in present}, missing).items()}
    running = set(curves)
    for _ in range(max_steps // slice_steps):
        for who, point in in_turn({w: partial(go_on, w) for w in curves if w in running}, missing).items():
            curves[who].append(point)
        over = {w for w in running if curves[w][-1][1] <= target or curves[w][-1][0] > limit_s}
        running -= over
    return curves


def _crossing(curve: Sequence[tuple[float, float]], target: float) -> float | None:
    """When a curve of (seconds, loss) first comes down to `target`, on the straight line between two points."""
    for (early, high), (late, low) in itertools.pairwise(curve):
        if low <= target:
            return late if high <= target else early + (late - early) * (high - target) / (high - low)
    return None
