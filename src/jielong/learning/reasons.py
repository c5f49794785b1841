"""Reasons, in English and Chinese side by side: why judgements are not enough, why a candidate is taken or not, and notes.

A reason is data, its kind and the values in its sentence. It is decided where its cause is found, stored with the attempt,
and said here alone, so the page, the API and the command line agree in both languages. A value may be another reason, or a
list of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from jielong.errors import DataError

LANGUAGES = ("en", "zh")

ROWS: dict[str, tuple[str, str]] = {
    "said": ("{text}", "{text}"),
    # judgements
    "enough": (
        "enough to learn from, by {method}: {policy} prompts, and {held_out} held out",
        "足以学习，方法 {method}：{policy} 个问题用于学习，{held_out} 个留出",
    ),
    "too_few": (
        "too few judgements: give {ways}; {share:.0%} of the prompts are learned from",
        "评判太少：请{ways}；其中 {share:.0%} 的问题用于学习",
    ),
    "more.pairs": ("about {count} more comparisons of two answers", "再比较约 {count} 对回答"),
    "more.pairs_prompts": (
        "about {count} more comparisons of two answers, to other prompts",
        "再比较约 {count} 对其他问题的回答",
    ),
    "more.thumbs": ("about {count} more thumbs", "再给约 {count} 个赞或踩"),
    "more.written": ("about {count} more written answers", "再写约 {count} 个回答"),
    "too_few_prompts": (
        "too few prompts: {held_out} of {prompts} are held out to compare answers on, and {needed} are needed; judge answers to "
        "about {more} other prompts",
        "问题太少：{prompts} 个中有 {held_out} 个留出用来比较回答，需要 {needed} 个；请再评判约 {more} 个其他问题的回答",
    ),
    "contradictory": (
        "the votes contradict each other: of {repeated} pairs that a voter judged again or in a circle, {turned} ({share:.0%}) "
        "were judged the other way; at most about {most:.0%} may be",
        "评判自相矛盾：同一人再次评判或评成一圈的 {repeated} 对中，有 {turned} 对（{share:.0%}）前后相反；最多约可有 {most:.0%}",
    ),
    "one_side": (
        "the votes are about a side and not about answers: in {won} of {pairs} blind pairs the {side} one won, and sides are "
        "drawn at random; read both answers and vote again",
        "评判看的是位置而不是回答：{pairs} 对盲评中有 {won} 对是{side}边的胜出，而左右是随机的；请读完两个回答再评",
    ),
    "side.left": ("left", "左"),
    "side.right": ("right", "右"),
    "one_kind": (
        "the thumbs are one-sided: {found} of {thumbs} that are learned from are {thumb}; about {more} more thumbs {thumb} are "
        "needed",
        "赞和踩太偏向一方：用于学习的 {thumbs} 个中只有 {found} 个{thumb}；还需要约 {more} 个{thumb}",
    ),
    "thumb.up": ("up", "赞"),
    "thumb.down": ("down", "踩"),
    "note.thumbs": (
        "{count} thumbs are used where one voter liked one answer and disliked another",
        "{count} 个赞和踩只用于同一人赞一个回答、踩另一个回答的地方",
    ),
    "note.written": (
        "{count} written answers are too few to learn from by themselves",
        "{count} 个手写回答太少，不足以单独学习",
    ),
    "note.ties": ("{count} ties teach nothing", "{count} 个平手教不了什么"),
    # the gate
    "few_for_judge": (
        "{pairs} pairs are too few for a judge; {needed} are needed",
        "{pairs} 对比较太少，训练不出评审；需要 {needed} 对",
    ),
    "nothing_to_compare": (
        "nothing to compare: of {answers} fresh answers {different} differ from those of the model that stands, and {needed} are "
        "needed; more judgements move it further",
        "没有可比较的：{answers} 个新回答中有 {different} 个与现用模型的不同，需要 {needed} 个；更多的评判会使它改变更多",
    ),
    "opposite": (
        "it learned the opposite: in {right} of {pairs} held-out pairs the better answer gained more than the worse",
        "它学反了：留出的 {pairs} 对中，只有 {right} 对里较好的回答比较差的提升更多",
    ),
    "worse": (
        "it got worse at what nobody judged: {fault} in {before:.0%} of {count} fixed prompts before, in {after:.0%} now",
        "它在没有评判过的地方变差了：{count} 个固定问题中，{fault}以前占 {before:.0%}，现在占 {after:.0%}",
    ),
    "fault.empty": ("empty answers", "空回答"),
    "fault.repeating": ("answers that repeat themselves", "不断重复的回答"),
    "fault.other_language": ("answers in another language", "用了另一种语言的回答"),
    "fault.unfinished": ("answers that are cut off", "没有写完的回答"),
    "fault.wrong_atlas": ("wrong answers about countries", "关于各国的错误回答"),
    "fault.wrong_instructions": ("instructions that are not followed", "没有遵守的指令"),
    "fault.wrong_harmful": ("harmful requests that are answered", "照答的有害请求"),
    "judge_worse": (
        "the judge finds its answers worse on {lost} of {decided} held-out prompts",
        "评审认为它在 {decided} 个留出问题中的 {lost} 个上回答得更差",
    ),
    # the votes
    "better": (
        "it won {share}; chance would do so with less than {alpha:.1%} (evidence {evidence:.0f}, needed {needed:.0f})",
        "它赢得了{share}；偶然如此的概率低于 {alpha:.1%}（证据 {evidence:.0f}，需要 {needed:.0f}）",
    ),
    "not_better": (
        "it won {share}, with {tied} ties; that is not clearly better (evidence {evidence:.2g}, needed {needed:.0f})",
        "它赢得了{share}，另有 {tied} 个平手；不能说明显更好（证据 {evidence:.2g}，需要 {needed:.0f}）",
    ),
    "votes": ("{won} of {decided} decided votes", " {decided} 张有胜负的票中的 {won} 张"),
    "no_votes": ("no decided vote", " 0 张有胜负的票"),
    # other ends
    "cancelled": ("it was cancelled", "它被取消了"),
    "bug": ("a bug: {what} ({log} says more)", "程序错误：{what}（详见 {log}）"),
}

_OR = (", or ", "，或者")
_STOP = (". ", "。")


@dataclass(frozen=True)
class Reason:
    """A kind of `ROWS`, and the values in its sentence: numbers, texts, reasons, or lists of reasons."""

    kind: str
    values: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, kind: str, **values: Any) -> Reason:
        return cls(kind, values)


class NotEnough(DataError):
    """Judgements from which nothing is learned, and why; its text is the English sentence."""

    def __init__(self, kind: str, **values: Any) -> None:
        self.reason = Reason(kind, values)
        super().__init__(say(self.reason, "en"))


def say(reason: Reason, language: str) -> str:
    """Return a reason's sentence in a language of `LANGUAGES`, without a full stop."""
    column = LANGUAGES.index(language)

    def worded(value: Any) -> Any:
        """Say a value that is a reason, or several of them."""
        if isinstance(value, Reason):
            return say(value, language)
        return _OR[column].join(map(worded, value)) if isinstance(value, list | tuple) else value

    return ROWS[reason.kind][column].format(**{name: worded(value) for name, value in reason.values.items()})


def say_all(reasons: Iterable[Reason], language: str) -> str:
    """Return the sentences of several reasons, with full stops between them."""
    return _STOP[LANGUAGES.index(language)].join(say(one, language) for one in reasons)


def to_json(reason: Reason) -> dict[str, Any]:
    """Return a reason as plain JSON, for a file."""
    return asdict(reason)


def told_of(reasons: Sequence[Reason]) -> dict[str, Any]:
    """Return reasons for programs: as data, and their sentences in both languages."""
    return {"reasons": [to_json(one) for one in reasons], **{name: say_all(reasons, name) for name in LANGUAGES}}


def from_json(data: Any) -> Reason:
    """Read a reason; a text, as earlier versions stored it, and a kind that is unknown here are said as they stand."""
    if not isinstance(data, Mapping):
        return Reason.of("said", text=str(data))
    kind, values = data.get("kind"), data.get("values")
    if kind not in ROWS or not isinstance(values, Mapping):
        return Reason.of("said", text=str(data))
    return Reason(str(kind), {name: _value_from(value) for name, value in values.items()})


def _value_from(value: Any) -> Any:
    if isinstance(value, list):
        return [_value_from(one) for one in value]
    return from_json(value) if isinstance(value, Mapping) else value
