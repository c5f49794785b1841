"""The metrics of a run for TensorBoard: every stage a run of its own, every number of metrics.jsonl a scalar."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from jielong.errors import ConfigError
from jielong.runs import open_run, read_metrics


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser("tensorboard", help="write the metrics of a run as TensorBoard events")
    parser.add_argument("run", type=Path, metavar="RUN", help="a run's folder")
    parser.set_defaults(command=_tensorboard)


def _tensorboard(arguments: argparse.Namespace) -> int:
    """Write the events of a run and print how to look at them; return exit code 0."""
    where = write_events(arguments.run)
    print(f"Events:  {where}\nLook:    tensorboard --logdir {where}")
    return 0


def write_events(run_path: Path) -> Path:
    """Write event files under `run_path`/tensorboard anew. Raises ConfigError if the extra is not installed."""
    run = open_run(run_path)
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ConfigError("TensorBoard is not installed; in the checkout: pip install -e '.[tensorboard]'") from None
    folder = run_path / "tensorboard"
    stages = [s for s in run.record["stages"] if (run_path / s / "metrics.jsonl").exists()]
    shutil.rmtree(folder, ignore_errors=True)
    for stage in stages:
        with SummaryWriter(str(folder / stage)) as writer:
            for record in read_metrics(run_path / stage / "metrics.jsonl"):
                for name, value in record.items():
                    if name != "step" and isinstance(value, (int, float)):
                        writer.add_scalar(name, value, record.get("step", 0))
    return folder
