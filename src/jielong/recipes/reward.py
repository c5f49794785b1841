"""A reward model from a model that exists and judged answers: pairs, rankings, or marks.

All weights are trained, with a head that gives one number. Pairs, and each two answers of a ranking, are learned by
Bradley-Terry. A file of marks alone is learned by logistic regression on single answers, or where most prompts have several
answers with different marks, by comparing these with the gap of the marks as the margin. Several `members` are an
ensemble: the same training with another head and another order of the data, each a model of its own.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from jielong.data.chat_files import read_ratings
from jielong.data.judged import pairs_of_ratings
from jielong.errors import ConfigError
from jielong.model import adapter_files, hf
from jielong.recipes.shared.methods import kind_for_reward, num_answers, reward_training
from jielong.runs import find_model
from jielong.stages.files import file_stage
from jielong.stages.models import ModelStage, model_digest
from jielong.stages.recipe import Recipe
from jielong.stages.rewarded import RewardedStage

MOST_MEMBERS = 16


def reward_model(model: Path, preferences: Path, *, members: int = 1, seed: int = 0) -> Recipe:
    """A reward model that begins with the weights of `model` and learns from the file `preferences`, or `members` of
    them.
    """
    if not 1 <= members <= MOST_MEMBERS:
        raise ConfigError(f"members is {members}; an ensemble has 1 to {MOST_MEMBERS} reward models")
    path = find_model(model).resolve()
    if adapter_files.is_adapter(path):
        raise ConfigError(f"{path} is an adapter; merge it first with: jielong export {model}")
    kind = kind_for_reward(preferences)
    judged = file_stage(kind, preferences)
    longest = hf.read_config(path)[0].max_position_embeddings
    single = kind == "ratings" and not mostly_comparable(preferences)
    inputs = {"data": kind, "start": "base", "tokenizer": "base"}
    training = reward_training(inputs, num_answers(preferences, kind), length=min(1024, longest), single=single)
    names = ["reward", *(f"reward_{number}" for number in range(2, members + 1))]
    trainings = [replace(training, name=name) for name in names]
    measured = RewardedStage("measure", {**{name: name for name in names}, "data": kind, "tokenizer": "base"})
    where = hashlib.blake2b(f"{path}\n{preferences.resolve()}".encode("utf-8", "surrogateescape"), digest_size=3)
    stages = (ModelStage("base", str(path), model_digest(path)), judged, *trainings, measured)
    mirrored = dict(pairwise(names))
    return Recipe("reward", f"{preferences.stem}-{where.hexdigest()}", seed, stages, mirrored, model="reward")


def mostly_comparable(path: Path) -> bool:
    """Whether most prompts of a file of marks have answers with different marks."""
    ratings = read_ratings(path).records
    decided = {pair.prompt for pair in pairs_of_ratings(ratings) if pair.label != 0.5}
    return 2 * len(decided) > len({one.prompt for one in ratings})
