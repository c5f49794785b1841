"""Sources of training steps as a recipe configures them: rows of tokens, chats or pairs here, rollouts in their own
module.

A source's config names the modules that it needs and builds itself from a `SourceContext`: the stage's material, which
is read when it is asked for, and a generator, which is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from jielong.config import at_least
from jielong.data.ahead import Together
from jielong.data.batches import Batch
from jielong.data.shards import Tokens
from jielong.data.steps import PackedChats, PackedPairs, PackedTokens, PaddedPairs, Source, held_out
from jielong.errors import ConfigError, DataError
from jielong.model.transformer import LanguageModel
from jielong.records import Conversation, LocalGenerator, Scorer
from jielong.runs import derive_seed
from jielong.tokens.chat import Rendered, RenderedAnswer, RenderedPair
from jielong.train.parallel import Ranks
from jielong.train.roles import Modules, Role

CHECK_ROWS = 64
"""Held-out rows that a check looks at; of pairs, which are short, four times as many."""

Part = Literal["train", "held_out"]
Holds = Literal["tokens", "chats", "preferences", "ratings", "problems"]


@dataclass(frozen=True)
class Prompt:
    """A rendered prompt, the conversation it came from, and an item for the scorer."""

    ids: tuple[int, ...]
    conversation: Conversation = Conversation(())
    item: Any = None


class Material(Protocol):
    """The data of a stage, of the kinds that `holds` names; each part is read when it is asked for.

    `notes` are for people: records of the parts that could not be used.
    """

    @property
    def holds(self) -> Holds: ...
    @property
    def notes(self) -> Sequence[str]: ...
    def tokens(self, part: Part) -> Tokens: ...
    def rendered_chats(self, part: Part) -> list[Rendered]: ...
    def pairs(self, part: Part) -> list[RenderedPair]: ...
    def answers(self, part: Part) -> list[RenderedAnswer]: ...
    def prompts(self) -> list[Prompt]: ...


AskReference = Callable[[str, Sequence[Rendered], int], Sequence[float | None]]
"""How likely answers were before training: a name for the answers, and a length above which one is not asked for."""


@dataclass(frozen=True)
class SourceContext:
    """The surroundings that a source is built in, beside its config. `open_engine` gives a generator with a module's
    weights, `open_rule` the scorer of a rule's name, `open_judge` that of the stage's input that judges, with the score
    where it gives no mark.

    `is_packed`: pairs share rows, see `PackedPairs`. `reference` is there where the objective needs it.
    """

    material: Material
    seed: int
    ranks: Ranks = Ranks()
    modules: Modules | None = None
    open_engine: Callable[[LanguageModel], LocalGenerator] | None = None
    stop_ids: Sequence[int] = ()
    pad_id: int = 0
    is_packed: bool = False
    reference: AskReference | None = None
    open_rule: Callable[[str], Scorer] | None = None
    open_judge: Callable[[str, float], Scorer] | None = None


@dataclass(frozen=True)
class Check:
    """A validation: `run(modules, step)` every so many steps and after the last returns numbers for the log.

    When `tracks` names one of them, lower is better there unless `higher_is_better`: the best checkpoint is kept, and a
    turn is reported. The numbers must be the same on every rank.
    """

    every: int
    run: Callable[[Modules, int], Mapping[str, float]]
    tracks: str = ""
    higher_is_better: bool = False


@dataclass(frozen=True)
class Feed:
    """A source, held-out batches of the same kind (none for reinforcement), notes for people, and checks of its own."""

    source: Source
    held_out: Sequence[Batch] = ()
    notes: Sequence[str] = ()
    checks: Sequence[Check] = ()


def build_feed(source: SourceConfig, beside: SourceConfig | None, context: SourceContext) -> Feed:
    """Build the source, and where there is a second one beside it, the two together."""
    feed = source.build(context)
    if beside is None:
        return feed
    second = beside.build(replace(context, seed=derive_seed(context.seed, "ptx")))
    return replace(feed, source=Together(feed.source, second.source))


class SourceConfig:
    """The config of a source; subclasses are frozen dataclasses, and each builds its own kind."""

    def roles(self) -> tuple[Role, ...]:
        """Return the modules that it needs beside the objective's."""
        return ()

    def rows(self) -> RowsConfig | None:
        """Return itself where it has rows of one length that may be cut into micro-batches of any size, else None."""
        return None

    def check(self, inputs: Collection[str], rules: Collection[str]) -> None:
        """Raise ConfigError if it needs an input of the stage, or a rule, that is not among these."""

    def build(self, context: SourceContext) -> Feed:
        raise NotImplementedError


@dataclass(frozen=True)
class RowsConfig(SourceConfig):
    """Settings for steps of token rows: `rows_per_step` rows of `length` positions, `micro_rows` at a time."""

    length: int = 256
    """Tokens of a row: how far the model looks back while it is trained."""
    rows_per_step: int = 32
    """Rows of one optimizer step: the batch size."""
    micro_rows: int = 32
    """Rows that are computed at a time, as memory allows; the batch is made of several."""

    def __post_init__(self) -> None:
        at_least(self, 2, "length", "rows_per_step", "micro_rows")
        if self.rows_per_step % 2 or self.micro_rows % 2:
            raise ConfigError(
                f"rows_per_step {self.rows_per_step} and micro_rows {self.micro_rows} must be even: pairs take two rows"
            )

    def rows(self) -> RowsConfig:
        return self

    def build(self, context: SourceContext) -> Feed:
        """Build rows of whatever the material holds: documents, chats or pairs."""
        kinds = {
            "tokens": self._documents,
            "chats": self._chats,
            "preferences": self._pairs,
            "ratings": self._pairs,
        }
        return kinds[context.material.holds](context)

    def steps(self, epochs: float, context: SourceContext) -> int:
        """Return how many steps go through all rows `epochs` times."""
        source = self.build(context).source
        assert isinstance(source, PackedTokens | PackedChats | PaddedPairs)
        return source.steps(epochs)

    def _documents(self, context: SourceContext) -> Feed:
        """Build rows of packed documents."""

        def packed(part: Part) -> PackedTokens:
            return PackedTokens(context.material.tokens(part), **self._rows(context))

        return Feed(packed("train"), held_out(packed("held_out"), CHECK_ROWS))

    def _chats(self, context: SourceContext) -> Feed:
        """Build rows of packed conversations in which the assistant's turns are trained."""

        def packed(part: Part) -> PackedChats:
            return PackedChats(context.material.rendered_chats(part), **self._rows(context))

        train = packed("train")
        fit, notes = train.fit, []
        if fit.num_cut or fit.num_dropped:
            notes.append(
                f"of {fit.num_sequences} chats {fit.num_cut} are longer than {self.length} tokens and "
                f"lose their end, {fit.num_dropped} have no answer within them and are left out"
            )
        return Feed(train, self._held_out(lambda: packed("held_out"), CHECK_ROWS, notes), notes)

    def _held_out(
        self, make: Callable[[], PackedChats | PaddedPairs], max_rows: int, notes: list[str]
    ) -> Sequence[Batch]:
        """Build held-out batches; none, which is noted, where no held-out record fits: the others are trained all the
        same.
        """
        try:
            return held_out(make(), max_rows)
        except DataError as error:
            notes.append(f"the held-out loss is not looked at: {error}")
            return ()

    def _pairs(self, context: SourceContext) -> Feed:
        """Build rows of preference pairs, packed or padded, and note the pairs that are too long."""
        kind = PackedPairs if context.is_packed else PaddedPairs

        def made(part: Part) -> PaddedPairs:
            """Build the pairs of one part."""
            return kind(
                with_reference(context.material.pairs(part), part, self.length, context),
                length=self.length,
                pairs_per_step=self.rows_per_step // 2,
                micro_pairs=self.micro_rows // 2,
                seed=context.seed,
                rank=context.ranks.rank,
                world_size=context.ranks.size,
            )

        train = made("train")
        notes = (
            [f"{train.num_dropped} pairs are longer than {self.length} tokens and left out, {train.num_rows} remain"]
            if train.num_dropped
            else []
        )
        return Feed(train, self._held_out(lambda: made("held_out"), CHECK_ROWS * 4, notes), notes)

    def _rows(self, context: SourceContext) -> Mapping[str, Any]:
        """Return the arguments that all kinds of rows share."""
        return {
            "length": self.length,
            "rows_per_step": self.rows_per_step,
            "micro_rows": self.micro_rows,
            "seed": context.seed,
            "rank": context.ranks.rank,
            "world_size": context.ranks.size,
        }


def with_reference(pairs: list[RenderedPair], part: Part, length: int, context: SourceContext) -> list[RenderedPair]:
    """Add the reference log-probabilities of both answers to pairs, where the objective needs them."""
    if context.reference is None:
        return pairs
    found = context.reference(part, [side for p in pairs for side in (p.chosen, p.rejected)], length)
    both = zip(found[0::2], found[1::2], strict=True)
    return [
        replace(pair, ref_logprobs=None if chosen is None or rejected is None else (chosen, rejected))
        for pair, (chosen, rejected) in zip(pairs, both, strict=True)
    ]
