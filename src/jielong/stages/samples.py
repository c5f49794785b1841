"""The stage that shows models of a user's text: held-out bits per byte, and texts to read, of every stage side by side."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jielong.evaluate.held_out import bits_per_byte
from jielong.model.hf import read_config
from jielong.records import Conversation, Document, Sampling
from jielong.runs import derive_seed, write_json, write_text
from jielong.stages.files import asked_before_last_answer
from jielong.stages.models import open_tokenizer, port_of
from jielong.stages.parts import read_conversations, read_documents
from jielong.stages.recipe import Context, Stage, Summary
from jielong.tokens.chat import render_prompt
from jielong.use.port import Answer

NOT_MODELS = ("tokenizer", "held_out", "chats")

WHAT_TO_ADD = {
    "pretrain": "The road ends here: to make it answer, add conversations with --chat FILE.jsonl, one a line: "
    '{"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}',
    "sft": "The road ends here: to make it answer better, add comparisons with --preferences FILE.jsonl, one a line: "
    '{"prompt": [messages], "chosen": [message], "rejected": [message]}',
}


_WIDE = re.compile("[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U000323af]")
"""Signs of Chinese and Japanese, between which a text may be cut."""
_SENTENCE_END = re.compile(r"(?:[.!?…](?=[\s\"'”’)\]]|$)|[。！？；])[\"'”’」』）)\]]*")


def opening(document: Document) -> str:
    """Return the beginning of a text, up to the end of a word, for a model to continue."""
    return up_to_a_word(document.text, max(12, min(60, len(document.text) // 3)))


def up_to_a_word(text: str, most: int) -> str:
    """Return at most so many characters of a text, in whole words; in Chinese rather up to a sign of punctuation."""
    if len(text) <= most:
        return text.rstrip()
    places = [at for at in range(most, most // 2, -1) if _can_be_cut(text, at)]
    paused = (at for at in places if text[at - 1] in "。！？；，：、")
    return text[: next(paused, places[0] if places else most)].rstrip()


def _can_be_cut(text: str, at: int) -> bool:
    before, after = text[at - 1], text[at]
    return after.isspace() or bool(_WIDE.match(before) or (_WIDE.match(after) and after.isalnum()))


def as_written(answer: Answer) -> str:
    """Return the text of an answer for people: a cut one ends with its last whole sentence, or with a word and …"""
    text = answer.text.rstrip()
    if answer.stop != "length":
        return text
    text = text.rstrip("\ufffd")  # of a character that was cut
    sentences = [m.end() for m in _SENTENCE_END.finditer(text)]
    if sentences:
        return text[: sentences[-1]]
    return f"{up_to_a_word(text, len(text) - 1)}…" if text else ""


@dataclass(frozen=True)
class SamplesStage(Stage):
    """Held-out bits per byte and sample texts of every model. Inputs: models by name, tokenizer, held-out text, chats."""

    name: str
    inputs: Mapping[str, str]
    num_samples: int = 4
    """Texts and answers that are shown."""
    max_tokens: int = 80
    """The longest a text or answer may be."""
    temperature: float = 0.7
    """How evenly they are drawn; 0 takes the likeliest token."""
    version: int = 1

    def run(self, context: Context) -> Summary:
        """Write samples.txt and samples.json into the run's directory."""
        models = [name for name in self.inputs if name not in NOT_MODELS]
        seed = derive_seed(context.recipe.seed, self.name)
        documents = read_documents(context.parent(self, "held_out") / "held_out.jsonl")
        openings = [opening(d) for d in documents[: self.num_samples]]
        prompts: list[Conversation] = []
        if "chats" in self.inputs:
            held_out = read_conversations(context.parent(self, "chats") / "held_out.jsonl")
            before = [c for chat in held_out if (c := asked_before_last_answer(chat)) is not None]
            room = read_config(context.checkpoint(models[0]))[0].max_position_embeddings - self.max_tokens
            tokenizer = open_tokenizer(self, context)
            prompts = [c for c in before if len(render_prompt(c.messages, tokenizer)) <= room][: self.num_samples]
        sampling = Sampling(max_tokens=self.max_tokens, temperature=self.temperature)
        found: dict[str, Any] = {}
        shown: dict[str, list[str]] = {}
        for number, name in enumerate(models):
            context.display.update(number, len(models), None, 0.0, 0.0, name)
            port = port_of(self, context, name)
            found[name] = {"bits_per_byte": bits_per_byte(port, [d.text for d in documents[:200]])}
            if name == "pretrain":
                shown[name] = [as_written(a) for a in port.complete_many(openings, sampling, seed=seed)]
            else:
                shown[name] = [as_written(a) for a in port.ask_many(prompts, sampling, seed=seed)]
        figures = ", ".join(f"{n} {f['bits_per_byte']:.3f}" for n, f in found.items())
        lines = [f"bits per byte on held-out text: {figures}", ""]
        lines += [f"[{' '.join(o.split())}]{t}\n" for o, t in zip(openings, shown.get("pretrain", []), strict=True)]
        for index, prompt in enumerate(prompts):
            lines.append(f"> {prompt.messages[-1].text}")
            lines += [f"  {name}: {shown[name][index]}" for name in models if name != "pretrain"]
            lines.append("")
        lines.append(WHAT_TO_ADD.get(models[-1], ""))
        write_text(context.run.path / "samples.txt", "\n".join(lines).rstrip() + "\n")
        asked = [p.messages[-1].text for p in prompts]
        told = {"measures": found, "openings": openings, "asked": asked, "texts": shown}
        write_json(context.run.path / "samples.json", told)
        return {"measures": found, "outputs": ["samples.txt", "samples.json"], "shown": ["samples.txt"]}
