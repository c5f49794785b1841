"""TextWorld's games, where the extra is installed, are played like our own household."""

from __future__ import annotations

import asyncio
import importlib.util
from pathlib import Path

import pytest

from jielong.errors import ConfigError, DataError
from jielong.use.agents.acting import Dice, Limits, Told, act
from jielong.worlds.textworld import TextWorld

IS_INSTALLED = importlib.util.find_spec("textworld") is not None


@pytest.mark.skipif(IS_INSTALLED, reason="says what is missing where TextWorld is not installed")
def test_without_the_package_one_sentence_says_what_to_install() -> None:
    with pytest.raises(ConfigError, match=r"pip install 'jielong\[textworld\]'"):
        TextWorld(Path("game.z8"))


@pytest.mark.skipif(not IS_INSTALLED, reason="TextWorld is not installed; it is an extra (GPL parts), and optional")
# the package's own: escapes in its grammars, files it leaves open
@pytest.mark.filterwarnings("ignore")
def test_a_game_is_won_by_its_walkthrough_and_not_by_dice(tmp_path: Path) -> None:
    import textworld

    options = textworld.GameOptions()
    options.nb_rooms, options.nb_objects, options.quest_length, options.seeds = 3, 6, 4, 7
    options.path = str(tmp_path / "game.z8")
    path, game = textworld.make(options)
    world = TextWorld(Path(path))
    walkthrough = list(game.metadata["walkthrough"])
    won = asyncio.run(act(world, world.reset(), Told(iter(walkthrough))))
    assert won.is_success
    assert [step.action for step in won.steps] == walkthrough
    assert all(step.is_executable for step in won.steps)
    assert won.end.goal
    refused = asyncio.run(act(world, world.reset(), Told(iter(["dance"] * 9))))
    assert refused.stop == "repeated"
    limits = Limits(steps=10, repeats=10)
    dice = [asyncio.run(act(world, world.reset(), Dice(seed), limits)) for seed in range(3)]
    assert not all(episode.is_success for episode in dice)
    with pytest.raises(DataError, match="tw-make"):
        TextWorld(tmp_path / "none.z8")
