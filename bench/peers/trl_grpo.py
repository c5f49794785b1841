"""TRL's GRPOTrainer on the job's model and prompts, in the number type, the cache and the compiling that the job names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
import trl
from datasets import Dataset
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, TrainerCallback

from bench.peers.protocol import Line


def words(vocab_size: int) -> PreTrainedTokenizerFast:
    """A tokenizer whose words are the numbers of its ids."""
    inner = Tokenizer(WordLevel({str(id): id for id in range(vocab_size)}, unk_token="0"))
    inner.pre_tokenizer = WhitespaceSplit()
    # the end is an id that is hardly ever drawn: every sample is to be as long as it may
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="1", eos_token="2", unk_token="0")


class Steps(TrainerCallback):
    """Lets the trainer go one step for each question, and tells how long each part of it took."""

    def __init__(self, line: Line) -> None:
        self.line, self.began_s = line, 0.0
        self.spent: dict[str, float] = {}
        self.reward = self.length = 0.0

    def wait(self) -> None:
        self.line.hear()
        self.spent = {"generation": 0.0, "rollout": 0.0}
        self.began_s = self.line.clock()

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.wait()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        seconds = self.line.clock() - self.began_s
        parts = {
            "generation": self.spent["generation"],
            "scoring": self.spent["rollout"] - self.spent["generation"],
            "update": seconds - self.spent["rollout"],
        }
        self.line.say(seconds=seconds, parts=parts, reward=self.reward, length=self.length)
        self.wait()

    def timed(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """`work`, with its seconds added to a part of the step."""

        def run(*arguments: Any, **options: Any) -> Any:
            began_s = self.line.clock()
            try:
                return work(*arguments, **options)
            finally:
                self.spent[name] += self.line.clock() - began_s

        return run


def main() -> None:
    line = Line()
    job = line.job
    torch.set_num_threads(job["threads"])
    model = AutoModelForCausalLM.from_pretrained(Path(job["folder"]) / "model", dtype=getattr(torch, job["kept_in"]))
    steps = Steps(line)

    def share_of_even(completion_ids: list[list[int]], **_: Any) -> list[float]:
        found = [sum(id % 2 == 0 for id in ids) / len(ids) for ids in completion_ids]
        steps.reward = sum(found) / len(found)
        steps.length = sum(map(len, completion_ids)) / len(completion_ids)
        return found

    rows = job["prompts"] * job["group_size"]
    arguments = trl.GRPOConfig(
        output_dir=str(Path(job["folder"]) / "theirs"),
        per_device_train_batch_size=job["micro_rows"],
        gradient_accumulation_steps=rows // job["micro_rows"],
        steps_per_generation=rows // job["micro_rows"],
        num_generations=job["group_size"],
        max_completion_length=job["tokens"],
        beta=job["kl"],
        loss_type="grpo",
        temperature=1.0,
        learning_rate=1e-5,
        lr_scheduler_type="constant",
        max_steps=10_000,
        adam_beta2=0.95,
        weight_decay=0.05,
        max_grad_norm=1.0,
        optim="adamw_torch_fused",
        bf16=job["dtype"] == "bfloat16",
        use_cpu=True,
        gradient_checkpointing=False,
        cache_implementation=job["cache"] or None,
        torch_compile=job["compile"],
        use_transformers_continuous_batching=job["is_continuous"],
        shuffle_dataset=False,
        logging_steps=1000,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    trainer = trl.GRPOTrainer(
        model=model,
        reward_funcs=share_of_even,
        args=arguments,
        train_dataset=Dataset.from_list([{"prompt": " ".join(map(str, ids))} for ids in job["asked"]]),
        processing_class=words(job["vocab_size"]),
        callbacks=[steps],
    )
    trainer._generate_single_turn = steps.timed("generation", trainer._generate_single_turn)
    trainer._generate_and_score_completions = steps.timed("rollout", trainer._generate_and_score_completions)
    line.say(versions={"torch": torch.__version__, "transformers": transformers.__version__, "trl": trl.__version__})
    trainer.train()


if __name__ == "__main__":
    main()
