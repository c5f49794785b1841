"""Procedural puzzles, generated and scored by reasoning-gym (Stojanovski et al. 2025, arXiv 2505.24760).

An offered generator gives full marks to its own right answer and to no nonsense, makes a puzzle in less than 50 ms and
3,000 characters, and never runs code from an answer. Some of the package's scorers pass answers to Python's eval, which
a model must not reach.
"""

from __future__ import annotations

import functools
import re
from importlib.util import find_spec
from typing import Any

from jielong.errors import ConfigError, did_you_mean
from jielong.evaluate.tasks import Item, Task
from jielong.records import Message
from jielong.use.answers import final

GENERATORS = (
    "ab acre advanced_geometry aiw arc_1d base_conversion basic_arithmetic bf binary_alternation caesar_cipher "
    "calendar_arithmetic chain_sum circuit_logic color_cube_rotation complex_arithmetic count_bits count_primes "
    "course_schedule cryptarithm decimal_arithmetic decimal_chain_sum dice emoji_mystery family_relationships "
    "figlet_font fraction_simplification game_of_life gcd group_anagrams gsm_symbolic isomorphic_strings jugs "
    "kakurasu knights_knaves largest_island lcm leg_counting letter_counting letter_jumble list_functions "
    "manipulate_matrix maze mini_sudoku modulo_grid number_filtering number_format number_sequence "
    "palindrome_generation palindrome_partitioning path_star polynomial_equations power_function prime_factorization "
    "products quantum_lock ransom_note rotate_matrix rotten_oranges self_reference sentence_reordering shortest_path "
    "simple_equations simple_geometry spell_backward string_manipulation string_splitting string_synthesis sudoku "
    "survo syllogism time_intervals tower_of_hanoi tsumego word_ladder word_sequence_reversal word_sorting"
).split()

SIZE = 1000
"""Puzzles of one seed; number i of a generator and a seed is always the same."""

_TAGGED = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)


def make_puzzles(generator: str, count: int, seed: int) -> Task:
    """Make the first `count` puzzles of a seed; ConfigError where the generator is not offered or the package is
    missing.
    """
    if not 1 <= count <= SIZE:
        raise ConfigError(f"{count} puzzles are asked for; a seed has 1 to {SIZE}")
    return Task(
        f"reasoning-gym-{generator}",
        tuple(
            Item(
                f"{seed}-{number}",
                (Message("user", _puzzle(generator, seed, number)["question"]),),
                "puzzle",
                meta={"generator": generator, "seed": seed, "number": number},
            )
            for number in range(count)
        ),
    )


def check_generator(generator: str) -> None:
    """Raise ConfigError for a generator that is not offered, or where the package is missing."""
    if generator not in GENERATORS:
        raise ConfigError(
            f"reasoning-gym's generator {generator!r} is not offered; {did_you_mean(generator, GENERATORS)}"
        )
    if find_spec("reasoning_gym") is None:
        raise ConfigError("puzzles need reasoning-gym; pip install 'jielong[tasks]'")


def solves(item: Item, text: str) -> bool:
    """Whether the generator gives full marks to an answer: the content of <answer> tags, its final part, or all of it."""
    generator, seed, number = (item.meta[name] for name in ("generator", "seed", "number"))
    made, puzzle = _dataset(generator, seed), _puzzle(generator, seed, number)
    tagged = _TAGGED.findall(text)
    readings = tagged[-1:] or [final(text), text]
    try:
        return any(made.score_answer(reading.strip(), puzzle) == 1.0 for reading in readings)
    except Exception:  # some judges stumble over an answer in another form than theirs, which is wrong
        return False


@functools.lru_cache(maxsize=8 * SIZE)
def _puzzle(generator: str, seed: int, number: int) -> Any:
    return _dataset(generator, seed)[number]


@functools.lru_cache(maxsize=16)
def _dataset(generator: str, seed: int) -> Any:
    """Open a generator of reasoning-gym; ConfigError where it is not offered or the package is missing."""
    check_generator(generator)
    import reasoning_gym

    return reasoning_gym.create_dataset(generator, size=SIZE, seed=seed)
