"""transformers' Trainer on the job's rows: the same weights in its own Qwen3, automatic mixed precision, fused AdamW."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments

from bench.peers.protocol import Line, Steps


class Rows(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """One row after the other, in the order of the steps."""

    def __init__(self, file: Path) -> None:
        rows = np.load(file)
        self.rows = rows.reshape(-1, rows.shape[-1])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        ids = torch.from_numpy(self.rows[index].astype(np.int64))
        return {"input_ids": ids, "labels": ids}


class Reports(TrainerCallback):
    """Tells the loss of each step, which is logged after it."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.steps.wait()

    def on_log(self, *_: Any, **of: Any) -> None:
        if "loss" in of["logs"]:
            self.steps.after(float(of["logs"]["loss"]))


def main() -> None:
    line = Line()
    job, folder = line.job, Path(line.job["folder"])
    torch.set_num_threads(job["threads"])
    is_half = job["dtype"] == "bfloat16"
    model = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32)
    arguments = TrainingArguments(
        output_dir=str(folder / "trainer"),
        per_device_train_batch_size=job["micro_rows"],
        gradient_accumulation_steps=job["rows"] // job["micro_rows"],
        max_steps=job["steps"],
        learning_rate=job["lr"],
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=job["warmup_steps"],
        weight_decay=0.05,
        adam_beta1=0.9,
        adam_beta2=0.95,
        max_grad_norm=1.0,
        optim="adamw_torch_fused",
        bf16=is_half,
        use_cpu=not torch.cuda.is_available(),
        torch_compile=job["compile"],
        logging_steps=1,
        train_sampling_strategy="sequential",
        remove_unused_columns=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )

    @torch.no_grad()
    def check() -> dict[str, float]:
        rows = np.load(folder / "held_out_rows.npy").reshape(-1, job["micro_rows"], job["length"])
        total = 0.0
        for part in rows:
            ids = torch.from_numpy(part.astype(np.int64)).to(model.device)
            with torch.autocast(model.device.type, torch.bfloat16, enabled=is_half):
                total += float(model(input_ids=ids, labels=ids).loss)
        return {"loss": total / len(rows)}

    steps = Steps(line, {"held_out": check})
    trainer = Trainer(model, arguments, train_dataset=Rows(folder / "rows.npy"), callbacks=[Reports(steps)])
    line.say(versions={"torch": torch.__version__, "transformers": transformers.__version__})
    trainer.train()


if __name__ == "__main__":
    main()
