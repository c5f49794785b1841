"""`jielong adapt`: a model that exists, taught one's own text, chats, judged answers or problems through an adapter."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from jielong.cli.parsing import former_name
from jielong.cli.walk import add_walk_options, run_with_display, say_at_once, say_what_next
from jielong.errors import ConfigError
from jielong.opening.ports import folder_of


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = commands.add_parser("adapt", help="fine-tune a model that exists (LoRA) on text, chats or preferences")
    parser.add_argument("model", type=Path, metavar="MODEL", help="a model directory, a run's folder or a stage in it")
    parser.add_argument("--source", type=Path, metavar="DIR", help="a folder of documents, text or code")
    parser.add_argument("--chat", type=Path, metavar="FILE.jsonl", help="conversations to learn from")
    parser.add_argument(
        "--preferences",
        type=Path,
        metavar="FILE.jsonl",
        help="which of two answers is better; after --chat, if both are given",
    )
    parser.add_argument(
        "--method",
        help="how preferences are learned: dpo (default), cdpo, ipo, kto, simpo or orpo; reward makes a model that scores answers",
    )
    parser.add_argument(
        "--members",
        type=int,
        default=1,
        metavar="N",
        help="of --method reward: train N reward models, an ensemble (default: 1)",
    )
    parser.add_argument(
        "--prompts",
        metavar="FILE.jsonl",
        help="prompts whose right answer is known, to be rewarded by a rule; or reasoning-gym:GENERATOR, or sums",
    )
    parser.add_argument(
        "--reward",
        metavar="RULE",
        help="with --prompts, how answers are compared: match, exact, number, regex, contains, f1, puzzle, or stated "
        "(default: the rule that a prompt names, or match)",
    )
    parser.add_argument("--max-tokens", type=int, metavar="N", help="with --prompts, the longest answer (default: 128)")
    parser.add_argument(
        "--rank",
        type=int,
        default=16,
        metavar="N",
        help="rank of the adapter (default: 16); with --prompts, 0 trains all weights",
    )
    weights = parser.add_argument(
        "--weights",
        dest="base",
        default="compute",
        help="how the frozen weights are kept: compute (default), float32 or int8",
    )
    former_name(parser, weights, "--base")
    parser.add_argument(
        "--merge", action="store_true", help="also keep the merged model in the run (jielong export merges too)"
    )
    add_walk_options(parser)
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Adapt, report what changed and what to do next; return exit code 0."""
    if arguments.members != 1 and arguments.method != "reward":
        raise ConfigError("--members makes several reward models; add --method reward")
    if arguments.prompts:
        return _solve(arguments)
    if arguments.method == "reward":
        return _reward(arguments)
    if arguments.reward or arguments.max_tokens is not None:
        raise ConfigError("--reward and --max-tokens are for --prompts FILE.jsonl, prompts whose right answer is known")
    learned = arguments.preferences or arguments.chat or arguments.source
    say_at_once(f"adapt: loading what trains, and reading {arguments.model} and {learned}")
    from jielong.recipes.adapt import adapt

    recipe = adapt(
        folder_of(str(arguments.model)),
        source=arguments.source,
        chat=arguments.chat,
        preferences=arguments.preferences,
        method=method_of(arguments),
        rank=arguments.rank,
        base=arguments.base,
        merge=arguments.merge,
        seed=arguments.seed,
    )
    done = run_with_display(recipe, arguments)
    if done is None:
        return 0
    print((done.path / "samples.txt").read_text(encoding="utf-8"))
    print(f"Adapter:             {done.path / 'adapter'}  (PEFT opens it too)")
    if arguments.merge:
        print(f"Merged model:        {done.path / 'merged'}")
    say_what_next(done, can_talk=True)
    return 0


def _reward(arguments: argparse.Namespace) -> int:
    """Train a reward model and report how well it judges; return exit code 0."""
    method_of(arguments)
    if arguments.source or arguments.chat or arguments.merge:
        raise ConfigError("--method reward learns from --preferences alone; leave out --source, --chat and --merge")
    say_at_once(f"adapt: loading what trains, and reading {arguments.model} and {arguments.preferences}")
    from jielong.recipes.reward import reward_model

    model, members = folder_of(str(arguments.model)), arguments.members
    done = run_with_display(reward_model(model, arguments.preferences, members=members, seed=arguments.seed), arguments)
    if done is None:
        return 0
    print((done.path / "reward.txt").read_text(encoding="utf-8"))
    path = shlex.quote(str(done.path))
    print(f"Reward model:        {done.path / 'reward'}")
    for number in range(2, members + 1):
        print(f"Another member:      {done.path / f'reward_{number}'}")
    print(f"Best of 8 answers:   jielong ask MODEL QUESTION --strategy best-of:n=8 --reward {path}")
    print(f"Where it came from:  jielong lineage {path}")
    return 0


def _solve(arguments: argparse.Namespace) -> int:
    """Reinforce on problems and report how many are solved before and after; return exit code 0."""
    for option in ("source", "chat", "preferences", "method", "merge"):
        if getattr(arguments, option):
            raise ConfigError(f"--prompts goes without --{option}: what it learns from is the rule's reward alone")
    say_at_once(f"adapt: loading what trains, and reading {arguments.model} and {arguments.prompts}")
    from jielong.recipes.solving import solving

    recipe = solving(
        folder_of(str(arguments.model)),
        arguments.prompts,
        rule=arguments.reward or "stated",
        rank=arguments.rank,
        base=arguments.base,
        max_tokens=arguments.max_tokens,
        seed=arguments.seed,
    )
    done = run_with_display(recipe, arguments)
    if done is None:
        return 0
    print((done.path / "solved.txt").read_text(encoding="utf-8"))
    say_what_next(done, can_talk=True)
    return 0


def method_of(arguments: argparse.Namespace) -> str:
    """Return the method by which preferences are learned. Raises ConfigError for a method without preferences."""
    if arguments.method and not arguments.preferences:
        raise ConfigError(f"--method {arguments.method} learns from preferences; add --preferences FILE.jsonl")
    return str(arguments.method or "dpo")
