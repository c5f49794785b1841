"""A training stage's material: the folder of an earlier stage, read as tokens, chats, pairs or prompts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from jielong.data.judged import pairs_of_ratings
from jielong.data.shards import Shards
from jielong.errors import DataError
from jielong.records import Preference
from jielong.stages.parts import read_conversations, read_preferences, read_ratings
from jielong.stages.recipe import Context
from jielong.tokens.chat import Rendered, RenderedAnswer, RenderedPair, render_preference, render_prompt, render_rating
from jielong.tokens.tokenizer import Tokenizer
from jielong.train.sources import Holds, Part, Prompt
from jielong.use.tools.rendering import fit_template, render_conversation, tools_in


@dataclass
class FolderMaterial:
    """The data in `folder`, in the ids of `tokenizer`; records that cannot be used are added to `notes`."""

    folder: Path
    holds: Holds
    tokenizer: Tokenizer
    notes: list[str] = field(default_factory=list)

    def tokens(self, part: Part) -> Shards:
        return Shards(self.folder / part)

    def rendered_chats(self, part: Part) -> list[Rendered]:
        """Render the chats of a part; those that the chat template refuses are noted, DataError where all are."""
        file = self._file(part)
        talks = []
        refused: list[str] = []
        for conversation in read_conversations(file):
            try:
                talks.append(render_conversation(conversation, self.tokenizer))
            except DataError as error:
                refused.append(str(error))
        if refused and not talks:
            raise DataError(f"{file}: this model's chat template takes none of {len(refused)} chats: {refused[0]}")
        if refused:
            self.notes.append(
                f"{len(refused)} of {len(refused) + len(talks)} chats ({part}) do not fit into this model's chat "
                f"template and are left out: {refused[0]}"
            )
        if not any(any(talk.trained) for talk in talks):
            raise DataError(f"{file} holds no assistant turn to learn from; each chat needs at least one")
        return talks

    def preferences(self, part: Part) -> list[Preference]:
        """Read the comparisons of a part; of ratings, each two answers to one prompt, with the gap of their marks as the
        margin.
        """
        file = self._file(part)
        return pairs_of_ratings(read_ratings(file)) if self.holds == "ratings" else read_preferences(file)

    def pairs(self, part: Part) -> list[RenderedPair]:
        """Render the comparisons of a part."""
        return [render_preference(p, self.tokenizer) for p in self.preferences(part)]

    def answers(self, part: Part) -> list[RenderedAnswer]:
        """Render single answers from ratings, desirable from 0.5 on, or both of each pair, but for ties."""
        if self.holds == "ratings":
            ratings = read_ratings(self._file(part))
            return [render_rating(r.prompt, r.answer, r.score, self.tokenizer) for r in ratings]
        found = []
        for pair in self.pairs(part):
            if pair.label != 0.5:
                is_better = pair.label > 0.5
                found += [RenderedAnswer(pair.chosen, is_better), RenderedAnswer(pair.rejected, not is_better)]
        return found

    def prompts(self) -> list[Prompt]:
        asked = read_conversations(self.folder / "prompts.jsonl")
        told_of = [(c, *fit_template(c.messages, tools_in(c), self.tokenizer)) for c in asked]
        return [Prompt(render_prompt(messages, self.tokenizer, tools), c) for c, messages, tools in told_of]

    def _file(self, part: Part) -> Path:
        return self.folder / f"{'held_out' if part == 'held_out' else self.holds}.jsonl"


def material_of(stage: str, context: Context, tokenizer: Tokenizer) -> FolderMaterial:
    """Return the material that the stage of this name has left."""
    folder = context.directory(stage)
    return FolderMaterial(folder, held_by(folder, context.summary(stage).get("holds")), tokenizer)


def held_by(folder: Path, said: str | None) -> Holds:
    """Return the kind of data in a stage's folder: as the stage says, or, of runs that did not say it yet, as found
    there.
    """
    if said in ("tokens", "chats", "preferences", "ratings", "problems"):
        return said  # type: ignore[return-value]
    if (folder / "train").exists():
        return "tokens"
    return "chats" if (folder / "chats.jsonl").exists() else "preferences"
