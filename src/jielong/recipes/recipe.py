"""A recipe is plain data: named stages, each a frozen config with inputs (other stages) and fields.

Nothing here runs anything. A recipe function returns a `Recipe`; `--set sft.loop.steps=50` gives a changed copy; the
fingerprint of a stage covers its whole config, its parents' fingerprints and the version of the code that runs it, so a
stage is run again exactly when something that decides its result has changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from jielong.config import at_least, get_field, resolved, set_field
from jielong.data.refine import RefineConfig
from jielong.errors import ConfigError
from jielong.model.adapters import AdapterConfig
from jielong.model.transformer import ModelConfig
from jielong.runs import digest
from jielong.tokens.tokenizer import TokenizerConfig
from jielong.train.loop import LoopConfig
from jielong.train.objectives import BradleyTerryConfig, PPOConfig
from jielong.train.optim import OptimizerConfig
from jielong.train.rollouts import RolloutConfig
from jielong.worlds.echo import Kind


@dataclass(frozen=True)
class WebStage:
    """The embedded world as raw pages."""

    name: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    articles: int = 10_000
    # stands for the packages the facts come from: other facts are another world
    facts: str = ""
    version: int = 2

    def __post_init__(self) -> None:
        at_least(self, 2, "articles")


@dataclass(frozen=True)
class FolderStage:
    """A folder of one's own as raw pages; `digest` stands for what was in it."""

    name: str
    path: str
    digest: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    version: int = 1


@dataclass(frozen=True)
class RefineStage:
    """Pages to clean documents. Input: pages."""

    name: str
    inputs: Mapping[str, str]
    refine: RefineConfig = RefineConfig()
    held_out_fraction: float = 0.02
    version: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.held_out_fraction < 1:
            raise ConfigError(f"held_out_fraction is {self.held_out_fraction}; it must lie between 0 and 1")


@dataclass(frozen=True)
class TokenizerStage:
    """A tokenizer trained on documents, or on what is said in chats. Input: documents, or chats."""

    name: str
    inputs: Mapping[str, str]
    tokenizer: TokenizerConfig = TokenizerConfig()
    version: int = 1


@dataclass(frozen=True)
class ItemCounts:
    """How many items of each kind: questions per relation and the next three in all, each per country and language."""

    questions: int = 3
    followups: int = 4
    translations: int = 8
    formats: int = 5
    made_up: int = 30
    refusals: int = 600
    harmless: int = 500


@dataclass(frozen=True)
class ModelStage:
    """A model that exists, with its tokenizer, to start from; `digest` stands for what its files hold."""

    name: str
    path: str
    digest: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    version: int = 1


@dataclass(frozen=True)
class EncodeStage:
    """Documents as tokens of a tokenizer that exists. Inputs: documents, tokenizer."""

    name: str
    inputs: Mapping[str, str]
    version: int = 1


@dataclass(frozen=True)
class LessonsStage:
    """What the embedded world teaches: conversations to learn from, and prompts to be judged on."""

    name: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    chats: ItemCounts = ItemCounts()
    # Few conversations and a third of the prompts are about countries that do not exist: to say so is what reinforcement
    # is to teach.
    prompts: ItemCounts = ItemCounts(2, 2, 3, 2, made_up=1500)
    facts: str = ""
    version: int = 2


@dataclass(frozen=True)
class SumsStage:
    """Conversations of the world of sums, with the calls of a calculator that their questions need."""

    name: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    conversations: int = 30_000
    held_out: int = 300
    # Every so many begin with the description of the tool, as programs put it there; the others are shorter to read.
    told_every: int = 8
    version: int = 1

    def __post_init__(self) -> None:
        at_least(self, 1, "conversations", "held_out", "told_every")


@dataclass(frozen=True)
class ReadingStage:
    """Invented sheets, and conversations about them to learn reading from; as text for a tokenizer too."""

    name: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    holds: Literal["chats", "documents"] = "chats"
    lessons: int = 4000
    max_sheets: int = 5
    turns: int = 6
    version: int = 3

    def __post_init__(self) -> None:
        at_least(self, 2, "lessons")
        at_least(self, 1, "max_sheets", "turns")
        if self.max_sheets > 7:
            raise ConfigError(
                f"max_sheets is {self.max_sheets}; it must be at most 7: a lesson is about 8 things, of which one is missing"
            )


@dataclass(frozen=True)
class ReadingExamStage:
    """`each` held-out questions a language about sheets of which one answers; also without it, and without any.

    Inputs: model, tokenizer.
    """

    name: str
    inputs: Mapping[str, str]
    each: int = 200
    sheets: int = 5
    max_tokens: int = 48
    version: int = 2

    def __post_init__(self) -> None:
        at_least(self, 1, "each", "sheets", "max_tokens")


@dataclass(frozen=True)
class EchoStage:
    """Exercises in copying, made of the tokens of a tokenizer, `turns` in a conversation. Input: tokenizer."""

    name: str
    inputs: Mapping[str, str]
    kinds: tuple[Kind, ...] = ("repeat", "record", "common")
    conversations: int = 20_000
    turns: int = 1
    version: int = 1

    def __post_init__(self) -> None:
        at_least(self, 2, "conversations")
        at_least(self, 1, "turns")


@dataclass(frozen=True)
class DemonstrationsStage:
    """Conversations in which somebody who knows how reaches goals in the household, in English and Chinese by turns.

    Homes have 1 to `rooms` rooms, more often many. `slips` is how often something else is done than what is right, and then
    mended; `aloud` puts before each action what it is for. An episode is one conversation, or one for every `window` steps,
    of which the first comes twice.
    """

    name: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    episodes: int = 20_000
    rooms: int = 3
    slips: float = 0.03
    aloud: bool = True
    window: int = 0
    version: int = 5

    def __post_init__(self) -> None:
        at_least(self, 40, "episodes")
        at_least(self, 1, "rooms")
        at_least(self, 0, "window")
        if not 0 <= self.slips < 1:
            raise ConfigError(f"slips is {self.slips}; it must be 0 or more and below 1")


@dataclass(frozen=True)
class GoalsStage:
    """Goals of the household's training part and what they mean, in English and Chinese by turns, one to a conversation.

    They are many times shorter than demonstrations, each of which has to be understood from its goal alone but once.
    """

    name: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    goals: int = 30_000
    rooms: int = 3
    version: int = 1

    def __post_init__(self) -> None:
        at_least(self, 40, "goals")
        at_least(self, 1, "rooms")


@dataclass(frozen=True)
class ActStage:
    """Goals of the household's test part, reached or not by a model and by dice. Inputs: model, tokenizer."""

    name: str
    inputs: Mapping[str, str]
    goals: int = 100
    rooms: int = 3
    steps: int = 40
    remember: int = 3
    """So many of the last turns are told again; what is thought in one may tell the next what matters of those before."""
    version: int = 4

    def __post_init__(self) -> None:
        at_least(self, 1, "goals", "rooms", "steps", "remember")


@dataclass(frozen=True)
class FileStage:
    """Chats or preferences of one's own; `digest` stands for the file's content."""

    name: str
    path: str
    holds: Literal["chats", "preferences"]
    digest: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    version: int = 2


@dataclass(frozen=True)
class JudgementsStage:
    """Pairs of answers, the better one named by the world's gold scorer. Inputs: start (who answers), lessons."""

    name: str
    inputs: Mapping[str, str]
    num_prompts: int = 5000
    samples_per_prompt: int = 2
    temperature: float = 1.0
    max_tokens: int = 40
    version: int = 2

    def __post_init__(self) -> None:
        at_least(self, 1, "num_prompts", "samples_per_prompt", "max_tokens")


@dataclass(frozen=True)
class NextTokenConfig:
    """Cross-entropy of the next token, over the whole text or over the assistant's turns, whichever the data marks.

    `router_aux_loss_coef` is the weight of the loss that evens out the use of experts; null is what the model's own says.
    """

    router_aux_loss_coef: float | None = None

    def __post_init__(self) -> None:
        if self.router_aux_loss_coef is not None:
            at_least(self, 0, "router_aux_loss_coef")


@dataclass(frozen=True)
class RowsConfig:
    """How token rows become steps: `rows_per_step` rows of `length` positions, `micro_rows` at a time."""

    length: int = 256
    rows_per_step: int = 32
    micro_rows: int = 32

    def __post_init__(self) -> None:
        at_least(self, 2, "length", "rows_per_step", "micro_rows")
        if self.rows_per_step % 2 or self.micro_rows % 2:
            raise ConfigError(
                f"rows_per_step {self.rows_per_step} and micro_rows {self.micro_rows} must be even: pairs take two rows"
            )


@dataclass(frozen=True)
class TrainStage:
    """A training stage. Inputs: data; start (whose weights; without it `model` from random numbers); reward for RL.

    Reinforcement with `source.algorithm` "ppo" has a critic; with "grpo" only the policy half of `objective` is used.
    """

    name: str
    inputs: Mapping[str, str]
    objective: NextTokenConfig | BradleyTerryConfig | PPOConfig
    source: RowsConfig | RolloutConfig = RowsConfig()
    model: ModelConfig | None = None
    optimizer: OptimizerConfig = OptimizerConfig()
    critic_optimizer: OptimizerConfig | None = None
    loop: LoopConfig = LoopConfig()
    # How often the held-out loss is looked at, in steps; 0 leaves it out.
    check_every: int = 100
    # The weights it starts from are frozen, and this is trained beside them.
    adapter: AdapterConfig | None = None
    version: int = 1

    def __post_init__(self) -> None:
        at_least(self, 0, "check_every")
        if (
            isinstance(self.source, RowsConfig)
            and self.model
            and self.source.length > self.model.max_position_embeddings
        ):
            raise ConfigError(
                f"stage {self.name}: rows of {self.source.length} tokens do not fit into "
                f"{self.model.max_position_embeddings} positions (model.max_position_embeddings)"
            )
        if self.adapter and (not isinstance(self.objective, NextTokenConfig) or "start" not in self.inputs):
            raise ConfigError(
                f"stage {self.name}: an adapter is trained on text or chats, beside a model to start from"
            )
        if self.adapter and self.optimizer.name != "adamw":
            raise ConfigError(f"stage {self.name}: an adapter is trained by adamw, not by {self.optimizer.name}")


@dataclass(frozen=True)
class EvaluateStage:
    """Every model on the same questions, and the report. Inputs: one entry for each model, and tokenizer, held-out text."""

    name: str
    inputs: Mapping[str, str]
    max_tokens: int = 40
    bootstrap: int = 2000
    # At most so many of each kind of exam item; 0 takes all.
    limit: int = 0
    num_samples: int = 12
    facts: str = ""
    version: int = 2

    def __post_init__(self) -> None:
        at_least(self, 1, "max_tokens", "bootstrap")
        at_least(self, 0, "limit", "num_samples")


@dataclass(frozen=True)
class CallsStage:
    """An exam in calling: `each` held-out questions of every kind and language. Inputs: model, tokenizer."""

    name: str
    inputs: Mapping[str, str]
    each: int = 60
    max_tokens: int = 64
    version: int = 1

    def __post_init__(self) -> None:
        at_least(self, 1, "each", "max_tokens")


@dataclass(frozen=True)
class SamplesStage:
    """Held-out bits per byte and sample texts of every model. Inputs: models by name, tokenizer, held-out text, chats."""

    name: str
    inputs: Mapping[str, str]
    num_samples: int = 4
    max_tokens: int = 80
    temperature: float = 0.7
    version: int = 1


@dataclass(frozen=True)
class CompareStage:
    """What an adapter changed, on held-out data and in texts. Inputs: adapter, base, tokenizer, data.

    The adapter is put into the run's folder, and with `merge` the model that it makes too.
    """

    name: str
    inputs: Mapping[str, str]
    merge: bool = False
    num_samples: int = 4
    max_tokens: int = 80
    version: int = 1


Stage = (
    WebStage
    | FolderStage
    | ModelStage
    | EncodeStage
    | CompareStage
    | RefineStage
    | TokenizerStage
    | LessonsStage
    | SumsStage
    | ReadingStage
    | ReadingExamStage
    | EchoStage
    | DemonstrationsStage
    | GoalsStage
    | ActStage
    | FileStage
    | JudgementsStage
    | TrainStage
    | EvaluateStage
    | CallsStage
    | SamplesStage
)


@dataclass(frozen=True)
class Offer:
    """A field of a stage that may be searched: from `low` to `high` (whole numbers if both are), or one of `choices`.

    `when` names another offered field and the value without which this one decides nothing and is left alone.
    """

    field: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[Any, ...] = ()
    when: tuple[str, Any] | None = None

    def __post_init__(self) -> None:
        if not self.choices and not self.low < self.high:
            raise ConfigError(
                f"the range of {self.field} is {self.low:g} to {self.high:g}; it must rise, or give choices"
            )
        if self.log and self.low <= 0:
            raise ConfigError(
                f"the range of {self.field} begins at {self.low:g}; on a logarithmic scale it must be above 0"
            )

    def holds(self, value: Any) -> bool:
        """Whether the search could come to this value."""
        return value in self.choices if self.choices else self.low <= value <= self.high


@dataclass(frozen=True)
class Search:
    """What of a training stage may be searched, and the number of its checks that judges a trial (lower is better).

    A trial takes `steps` steps; 0 is as many as the stage itself.
    """

    stage: str
    offers: tuple[Offer, ...]
    judged_by: str = "held_out_loss"
    steps: int = 0


@dataclass(frozen=True)
class Recipe:
    """Stages in the order they run; a stage's inputs name stages before it.

    A setting of a stage that is a key of `mirrored` is made in the stage named there as well: a control that was trained
    otherwise would be no control. `searches` decide no stage's result: they are what `jielong tune` may change.
    """

    name: str
    size: str
    seed: int
    stages: tuple[Stage, ...]
    mirrored: Mapping[str, str] = field(default_factory=dict)
    searches: tuple[Search, ...] = ()

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for stage in self.stages:
            for role, parent in stage.inputs.items():
                if parent not in seen:
                    raise ConfigError(
                        f"stage {stage.name!r} takes its {role} from {parent!r}, which no stage before it makes"
                    )
            seen.add(stage.name)
        for search in self.searches:
            if search.stage not in seen:
                raise ConfigError(f"a search is offered for {search.stage!r}, which is no stage of {self.name}")
            for offer in search.offers:
                get_field(self.stage(search.stage), offer.field)

    @property
    def run_name(self) -> str:
        return f"{self.name}-{self.size}-{self.seed}"

    def stage(self, name: str) -> Stage:
        return next(s for s in self.stages if s.name == name)

    def before(self, name: str) -> list[Stage]:
        """The stages whose results `name` needs, in the order they run."""
        needed = set(self.stage(name).inputs.values())
        for stage in reversed(self.stages):
            if stage.name in needed:
                needed |= set(stage.inputs.values())
        return [s for s in self.stages if s.name in needed]

    def fingerprints(self) -> dict[str, str]:
        """Stage name -> digest of all that decides its result."""
        known: dict[str, str] = {}
        for stage in self.stages:
            parents = {role: known[parent] for role, parent in stage.inputs.items()}
            known[stage.name] = digest({"stage": resolved(stage), "parents": parents, "seed": self.seed})
        return known


def change(recipe: Recipe, settings: Iterable[str]) -> Recipe:
    """The recipe with `stage.field=value` settings applied; ConfigError names what is unknown and what is near.

    The order does not matter: a setting that is refused because another has not been made yet is tried again after it.
    """
    pending = list(settings)
    while pending:
        refused: list[tuple[str, ConfigError]] = []
        for setting in pending:
            try:
                recipe = _change_one(recipe, setting)
            except ConfigError as error:
                refused.append((setting, error))
        if len(refused) == len(pending):
            raise refused[0][1]
        pending = [setting for setting, _ in refused]
    return recipe


def _change_one(recipe: Recipe, setting: str) -> Recipe:
    path, is_pair, value = setting.partition("=")
    if not is_pair or "." not in path:
        raise ConfigError(f"--set {setting!r} is not of the form stage.field=value, such as sft.loop.steps=50")
    name, _, inner = path.strip().partition(".")
    stages = recipe.stages
    for each in filter(None, (name, recipe.mirrored.get(name))):
        stages = set_field(stages, f"{each}.{inner}", value.strip())
    return replace(recipe, stages=stages)
