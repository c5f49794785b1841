"""Models in and out: `jielong import`, `export`, `push` and `pull`; `extend`, which changes no weight, and `quality`.

An import is a GGUF file or a folder in Hugging Face's layout and becomes a model folder as in our runs: config.json,
safetensors in float32 and tokenizer.json. An export is one of those, or a stage of a run, in that layout or as
one GGUF file; an adapter is merged into its model. `push` and `pull` copy whole folders to and from another folder
or, as hf:OWNER/NAME, a hub.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jielong.cli.as_json import add_json, print_json
from jielong.cli.parsing import former_name
from jielong.errors import CheckpointError, ConfigError, DataError, ResourceError
from jielong.opening.models import WEIGHTS, open_engine
from jielong.opening.ports import folder_of
from jielong.outside import own_file
from jielong.runs import find_model, is_run, named_stage

if TYPE_CHECKING:
    from jielong.model.transformer import LanguageModel, ScalarModel

HUB = "hf:"
_BESIDE = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")


def add_parser(commands: Any) -> None:
    """Add the commands."""
    get = commands.add_parser("import", help="make a model folder of a GGUF file or of a folder from elsewhere")
    get.add_argument(
        "source", type=Path, metavar="MODEL", help="a .gguf file, or a folder with config.json and safetensors"
    )
    get.add_argument("--out", type=Path, metavar="DIR", help="the folder to make (default: models/NAME)")
    get.add_argument("--force", action="store_true", help="replace what is there")
    get.set_defaults(command=_import)

    give = commands.add_parser("export", help="write a model for other programs: Hugging Face's layout, or GGUF")
    give.add_argument(
        "source", type=Path, metavar="MODEL", help="a run's folder, RUN:STAGE, or a model or adapter folder"
    )
    give.add_argument(
        "--format", choices=("hf", "gguf"), default="hf", help="Hugging Face's folder (default) or one GGUF file"
    )
    number = give.add_argument(
        "--type",
        help="of the weights. hf: float32 or bfloat16 (default: as they lie there, unread); gguf: f32, f16 (default), "
        "bf16 or q8_0",
    )
    former_name(give, number, "--dtype")
    give.add_argument("--stage", help="of a run: pretrain, sft or rl; without it, the last one trained")
    give.add_argument(
        "--out", type=Path, metavar="PATH", help="the folder or .gguf file to make (default: exports/NAME)"
    )
    give.add_argument("--force", action="store_true", help="replace what is there")
    give.set_defaults(command=_export)

    extend = commands.add_parser("extend", help="let a model read longer texts than it was trained on (YaRN)")
    extend.add_argument("source", type=Path, metavar="MODEL", help="a run's folder or a model folder")
    extend.add_argument("--positions", type=int, required=True, metavar="N", help="how many tokens it shall take")
    extend.add_argument("--stage", help="of a run: pretrain, sft or rl; without it, the last one trained")
    extend.add_argument("--out", type=Path, metavar="DIR", help="the folder to make (default: models/NAME-POSITIONS)")
    extend.add_argument("--force", action="store_true", help="replace what is there")
    extend.set_defaults(command=_extend)

    push = commands.add_parser("push", help="copy a model to a folder or a hub")
    push.add_argument("source", type=Path, metavar="MODEL", help="a run's folder or a model folder")
    push.add_argument("target", metavar="TARGET", help=f"a folder, or {HUB}OWNER/NAME")
    push.add_argument("--stage", help="of a run: pretrain, sft or rl; without it, the last one trained")
    push.add_argument("--public", action="store_true", help="a hub: whether a new repository is open to all")
    push.add_argument("--force", action="store_true", help="a folder: replace what is there")
    push.set_defaults(command=_push)

    pull = commands.add_parser("pull", help="copy a model from a folder or a hub")
    pull.add_argument("source", metavar="MODEL", help=f"a folder, or {HUB}OWNER/NAME")
    pull.add_argument("--revision", help="a hub: branch, tag or commit")
    pull.add_argument("--out", type=Path, metavar="DIR", help="the folder to make (default: models/NAME)")
    pull.add_argument("--force", action="store_true", help="replace what is there")
    pull.set_defaults(command=_pull)

    judge = commands.add_parser("quality", help="what rounded weights cost: bits per byte and greedy agreement")
    judge.add_argument("model", type=Path, metavar="MODEL", help="a run's or model's folder")
    judge.add_argument("--stage", help="of a run: pretrain, sft or rl; without it, the last one trained")
    judge.add_argument("--weights", choices=WEIGHTS[1:], help="what is compared with float32 (default: int8)")
    judge.add_argument("--text", type=Path, metavar="FILE", help="a text to judge; without it, the model writes one")
    judge.add_argument(
        "--tokens", type=int, default=8192, metavar="N", help="how much of the text is read (default: 8192)"
    )
    add_json(judge)
    judge.set_defaults(command=quality)


def add_weights(parser: argparse._ActionsContainer) -> None:
    """Add the option for the number format of an engine's weights."""
    parser.add_argument(
        "--weights",
        choices=WEIGHTS,
        help="how the weights are kept: float32, bfloat16 (default where that is faster), or int8, fastest and smallest "
        "(what it costs: jielong quality)",
    )


def quality(arguments: argparse.Namespace) -> int:
    """Measure and print the cost of quantised weights; return exit code 0."""
    from jielong.evaluate.quality import compare, own_text, windows

    folder = folder_of(str(arguments.model), arguments.stage)
    room = {"slots": 16, "length": 512}
    exact, tokenizer = open_engine(folder, "float32", **room)
    rounded, _ = open_engine(folder, arguments.weights or "int8", **room)
    if arguments.text:
        try:
            read = arguments.text.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise DataError(f"{arguments.text} cannot be read: {error.strerror}; give a text file") from error
        pairs = windows(read, tokenizer, exact.length, arguments.tokens)
        source = str(arguments.text)
    else:
        pairs, source = own_text(exact, tokenizer), "text that the model wrote"
    if not pairs:
        raise DataError(f"{source} holds fewer than two tokens; give a longer one with --text FILE")
    found = compare(exact, rounded, pairs, tokenizer)
    if arguments.json:
        sizes = {"weight_bytes_before": exact.weight_bytes, "weight_bytes_after": rounded.weight_bytes}
        print_json({"model": folder, "weights": arguments.weights or "int8", "text": source, **vars(found), **sizes})
        return 0
    print(f"{folder}: {arguments.weights or 'int8'} against float32, {found.num_tokens:,} tokens of {source}")
    change = found.after / found.before - 1
    print(f"bits per byte        {found.before:.4f} -> {found.after:.4f} ({change:+.2%})")
    print(f"greedy agreement     {found.agreement:.1%} of the likeliest tokens are the same")
    print(f"weights of a pass    {exact.weight_bytes / 2**20:,.0f} -> {rounded.weight_bytes / 2**20:,.0f} MiB")
    return 0


def _check_free(path: Path, force: bool) -> Path:
    """Return `path`. Raises ConfigError if something lies there and `force` is off, or if it is a run."""
    if path.exists() and not force:
        raise ConfigError(f"{path} is already there; choose another place, or replace it with --force")
    if is_run(path):
        raise ConfigError(f"{path} is a run; choose another place")
    return path


def _copy_beside(source: Path, target: Path, names: Sequence[str] = _BESIDE) -> None:
    """Copy those of the files `names` that lie in the folder `source` to the folder `target`."""
    for name in names:
        if (source / name).exists():
            shutil.copyfile(own_file(source / name), target / name)


def _import(arguments: argparse.Namespace) -> int:
    """Import a GGUF file or a folder as a model folder."""
    source: Path = arguments.source
    out = _check_free(
        arguments.out or Path("models") / (source.stem if source.is_file() else source.resolve().name), arguments.force
    )
    if source.is_dir():
        _rewrite_in_our_layout(source, out)
    elif source.exists():
        from jielong.model.gguf import import_gguf

        import_gguf(source, out)
    else:
        raise CheckpointError(f"{source} does not exist; give a .gguf file or a folder with config.json")
    _print_model(out)
    return 0


def _rewrite_in_our_layout(source: Path, out: Path) -> None:
    """Save a folder from elsewhere in our layout, whatever shards and types it had."""
    if not (source / "tokenizer.json").exists():
        raise CheckpointError(f"{source} has no tokenizer.json; save it there with transformers' fast tokenizer first")
    _save_again(source, out, "float32")


def _save_again(source: Path, out: Path, dtype: str, positions: int = 0) -> None:
    """Save the model of `source` with its weights in `dtype`, for more `positions` if given, and the tokenizer beside
    it.

    An adapter is merged into its model.
    """
    from jielong.model import hf
    from jielong.runs import write_directory

    if dtype not in hf.DTYPES:  # before a large model is read
        raise ConfigError(f"--type {dtype!r} is not available; expected one of {', '.join(hf.DTYPES)}")
    model, home = _whole_model(source)
    _, data = hf.read_config(home)
    end = data.get("eos_token_id")
    if end is None:
        raise CheckpointError(f"{home}/config.json names no eos_token_id; add the id of the token that ends a text")

    if positions:
        model.config = model.config.extended(positions)

    def fill(aside: Path) -> None:
        hf.save(model, aside, eos_token_id=end, pad_token_id=data.get("pad_token_id"), dtype=dtype)
        _copy_beside(home, aside)

    write_directory(out, fill)


def _whole_model(source: Path) -> tuple[LanguageModel | ScalarModel, Path]:
    """Load the model in a folder, an adapter merged into its own; return it and the folder of its config and tokenizer."""
    from jielong.model import adapter_files, hf

    if not adapter_files.is_adapter(source):
        return hf.load(source), source
    home = adapter_files.base_of(source)
    print(f"Merged:  the adapter in {source} into {home}")
    return adapter_files.load_merged(source, home), home


def _print_model(folder: Path) -> None:
    """Print the model's folder and shape, and the next command."""
    from jielong.model.hf import read_config
    from jielong.model.presets import num_parameters

    config, _ = read_config(folder)
    print(
        f"Model:   {folder}\nShape:   {config.model_type}, {num_parameters(config) / 1e6:,.1f}M parameters, "
        f"{config.max_position_embeddings:,} positions\nNext:    jielong export {folder} --format gguf"
    )


def _export(arguments: argparse.Namespace) -> int:
    """Export a model as a folder or a GGUF file."""
    source, name = folder_of(str(arguments.source), arguments.stage), _name_of(arguments.source, arguments.stage)
    if arguments.format == "hf":
        out = _check_free(arguments.out or Path("exports") / name, arguments.force)
        if arguments.type:
            _save_again(source, out, arguments.type)
        else:
            _copy_model(source, out)
        print(f"Model:   {out}\nOpen:    transformers.AutoModelForCausalLM.from_pretrained({str(out)!r})")
        return 0
    from jielong.model.gguf import check_export, export_gguf
    from jielong.model.hf import as_language_model

    number = arguments.type or "f16"
    check_export(number)
    out = _check_free(arguments.out or Path("exports") / f"{name}-{number}.gguf", arguments.force)
    model, home = _whole_model(source)
    warnings = export_gguf(as_language_model(model, source), home, out, number, name)
    for warning in warnings:
        print(f"Note:    {warning}")
    print(f"Model:   {out}  ({out.stat().st_size / 1e6:,.1f} MB)\nOpen:    llama-cli -m {out}")
    return 0


def _extend(arguments: argparse.Namespace) -> int:
    """Save a model for more positions."""
    source, positions = folder_of(str(arguments.source), arguments.stage), arguments.positions
    name = f"{_name_of(arguments.source, arguments.stage)}-{positions}"
    out = _check_free(arguments.out or Path("models") / name, arguments.force)
    _save_again(source, out, "float32", positions)
    _print_model(out)
    return 0


def _name_of(source: Path, stage: str | None) -> str:
    """Return the beginning of the file name of a model: its folder's, and the stage's if one is named."""
    path, stage = named_stage(source, stage)
    return path.resolve().name + (f"-{stage}" if stage else "")


def _copy_model(source: Path, out: Path) -> None:
    """Copy the files of a model folder, whole or not at all, without the subfolders that hold training states. An
    adapter is merged into its model and saved in float32.
    """
    from jielong.model.adapter_files import is_adapter
    from jielong.model.hf import Files, read_config
    from jielong.runs import write_directory

    if is_adapter(source):
        _save_again(source, out, "float32")
        return
    read_config(source)
    with Files(source):
        pass  # all are there and open
    if out.resolve() == source.resolve():
        raise ConfigError(f"{source} cannot be copied onto itself; choose another place")

    def fill(aside: Path) -> None:
        _copy_beside(source, aside, sorted(file.name for file in source.iterdir() if file.is_file()))

    write_directory(out, fill)


def _import_hub() -> Any:
    """Import huggingface_hub. Raises ConfigError if it is missing."""
    try:
        import huggingface_hub
    except ImportError:
        raise ConfigError("a hub needs huggingface_hub; add it with: pip install huggingface_hub") from None
    return huggingface_hub


def _repository(address: str) -> str:
    """Return OWNER/NAME of a hub's address."""
    name = address.removeprefix(HUB)
    if name.count("/") != 1 or not all(name.split("/")):
        raise ConfigError(f"{address!r} is no address of a hub; expected {HUB}OWNER/NAME")
    return name


def _push(arguments: argparse.Namespace) -> int:
    """Copy a model to a folder or a hub."""
    from jielong.model.adapter_files import is_adapter

    source = folder_of(str(arguments.source), arguments.stage)
    if not arguments.target.startswith(HUB):
        out = _check_free(Path(arguments.target), arguments.force)
        _copy_model(source, out)
        print(f"Model:   {out}\nBack:    jielong pull {out}")
        return 0
    name, hub = _repository(arguments.target), _import_hub()
    try:
        hub.create_repo(name, private=not arguments.public, exist_ok=True)
        with tempfile.TemporaryDirectory() as aside:
            if is_adapter(source):
                _save_again(source, source := Path(aside) / "model", "float32")
            where = hub.upload_folder(repo_id=name, folder_path=source, ignore_patterns=[".*"])
    except (OSError, ValueError) as error:  # httpx and the hub's own errors are both of these
        raise ResourceError(f"{name} could not be pushed ({_first_line(error)}); see: hf auth login") from error
    print(f"Model:   {where}\nBack:    jielong pull {arguments.target}")
    return 0


def _pull(arguments: argparse.Namespace) -> int:
    """Copy a model from a folder or a hub."""
    address: str = arguments.source
    is_hub = address.startswith(HUB)
    name = _repository(address).split("/")[1] if is_hub else Path(address).resolve().name
    out = _check_free(arguments.out or Path("models") / name, arguments.force)
    if is_hub:
        _download(_repository(address), arguments.revision, out)
    else:
        _copy_model(find_model(Path(address)), out)
    _print_model(out)
    return 0


def _download(name: str, revision: str | None, out: Path) -> None:
    """Download a model from a hub."""
    from jielong.model.hf import read_config
    from jielong.runs import write_directory

    hub = _import_hub()

    def fill(aside: Path) -> None:
        """Download into a folder and check its config."""
        try:
            hub.snapshot_download(
                name, revision=revision, local_dir=aside, allow_patterns=["*.json", "*.safetensors", "*.jinja", "*.txt"]
            )
        except (OSError, ValueError) as error:
            raise ResourceError(f"{name} could not be pulled ({_first_line(error)})") from error
        shutil.rmtree(aside / ".cache", ignore_errors=True)
        read_config(aside)

    write_directory(out, fill)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
