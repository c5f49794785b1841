"""A story in five parts by Re3 against one long sample of as many tokens: `python -m bench.strategies.story`.

Who is in the story, and what must not change about them, stands in the premise, so that both are measured by the same
rule. Measured are whether those people stay (named in how many fifths of the text), under the same traits, whether people
turn up who were never introduced, and how much is repeated. Several premises and seeds, in pairs; beside one long sample
stands one that is asked to go on until its story is as long, for how much is repeated depends on the length. The texts
lie beside the results: read them.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial

from bench.strategies.asking import cost
from bench.strategies.command import main
from bench.strategies.line import Beside, Line, Wanted
from bench.strategies.setting import Part, Result, Setting
from jielong.records import Conversation, Message, Sampling
from jielong.runs import write_json
from jielong.use.answers import normal
from jielong.use.ledger import keep
from jielong.use.port import Answer, Ask, Options
from jielong.use.prompting import language_of
from jielong.use.strategies import named
from jielong.use.strategies.story import Story
from jielong.use.strategy import Outcome, Strategy, follow_up, run

PARTS = 5
NAMES = RE3, ONCE, GOING_ON = "Re3", "one sample", "going on"
_TOKEN = re.compile(r"[\u3400-\u9fff]|[^\W_\u3400-\u9fff]+(?:['’][^\W_\u3400-\u9fff]+)*")
_SENTENCE_END = re.compile(r"(?<=[.!?。！？])[\"'”’」]*\s*|\n+")
_CAPITAL = re.compile(r"(?<=[a-z,;] )[A-Z][a-z]+\b")
_TITLES = set("I Mr Mrs Ms Dr God English French German Chinese".split())
_DAYS = set(
    "Monday Tuesday Wednesday Thursday Friday Saturday Sunday January February March April May June July August "
    "September October November December Christmas".split()
)
_SURNAMES = (
    "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎余潘"
    "杜戴夏钟汪田任姜范方石姚谭廖邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤尹黎易常武乔贺赖龚文小老阿"
)
_SPEAKS = "说|道|问|笑|想|答|喊|叫|看|走|点头|摇头|站|坐|拿|听"
_NAME_ZH = re.compile(rf"(?<![\u3400-\u9fff])([{_SURNAMES}][\u3400-\u9fff]{{1,2}}?)(?={_SPEAKS})")


@dataclass(frozen=True)
class Person:
    """Somebody of the premise; a sentence with the name in which `against` is found contradicts what was said of them."""

    name: str
    against: str


@dataclass(frozen=True)
class Premise:
    text: str
    people: tuple[Person, ...]


_SEES = r"\b(?:saw|sees|looked|looks|watched|watches|stared|gazed|noticed)\b"
PREMISES = (
    Premise(
        "Write a story about Mara, a young woman with red hair who keeps a lighthouse, and her blind old brother Tobias. "
        "A ship is lost in a storm.",
        (
            Person("Mara", r"\b(?:black|brown|blonde?|gr[ae]y|white|golden|dark)\s+hair\b|\bold woman\b"),
            Person("Tobias", rf"{_SEES}|\byoung\b|\bhusband\b|\bfather\b"),
        ),
    ),
    Premise(
        "Write a story about Omar, a poor baker who cannot read, and his clever daughter Lina. They find an old letter.",
        (
            Person("Omar", r"\b(?:read|reads|wrote|writes)\b|\b(?:rich|wealthy)\b"),
            Person("Lina", r"\b(?:son|boy|wife|mother|sister)\b"),
        ),
    ),
    Premise(
        "Write a story about Hugo, a gardener who is afraid of water, and his neighbour Edith, a retired captain. "
        "The river rises.",
        (
            Person("Hugo", r"\b(?:swam|swims|swimming|dived|captain)\b"),
            Person("Edith", r"\b(?:young|girl|wife|daughter|gardener)\b"),
        ),
    ),
    Premise(
        "写一个故事：王芳是一个红头发的灯塔看守人，她的哥哥李明是盲人。一艘船在暴风雨中失踪了。",
        (
            Person("王芳", "(?:黑|棕|金|白|灰)(?:色的?)?头发"),
            Person("李明", "看见|看到|望着|盯着|弟弟"),
        ),
    ),
)


# --- measures


def tokens(text: str) -> list[str]:
    """Words in lower case; of Chinese, characters."""
    return [token.lower() for token in _TOKEN.findall(text)]


def repeated(words: Sequence[str], n: int = 4) -> float:
    """The share of n-grams that were there before."""
    grams = list(zip(*(words[i:] for i in range(n)), strict=False))
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def distinct(words: Sequence[str], n: int) -> float:
    """Different n-grams to all (distinct-n, Li et al. 2016, arXiv 1510.03055)."""
    return 1 - repeated(words, n)


def sentences(text: str) -> list[str]:
    return [sentence for sentence in map(str.strip, _SENTENCE_END.split(text)) if sentence]


def fractions(text: str, count: int = PARTS) -> list[str]:
    """The text in `count` stretches of about as many sentences each."""
    whole = sentences(text)
    edges = [round(i * len(whole) / count) for i in range(count + 1)]
    return [" ".join(whole[a:b]) for a, b in itertools.pairwise(edges)]


def presence(text: str, names: Sequence[str]) -> float:
    """Of all pairs of a name and a fifth of the text, the share in which the name is there."""
    pieces = fractions(text)
    return sum(name in piece for name in names for piece in pieces) / (len(names) * len(pieces))


def names_in(text: str) -> set[str]:
    """What looks like people's names: capitals within a sentence; in Chinese a surname and what speaks or acts after it.

    English words that are also there without a capital are left out. Places count too, and Chinese names within a
    clause are missed: good for comparing texts, not for reading off.
    """
    lower = set(re.findall(r"\b[a-z]+\b", text))
    english = {name for name in _CAPITAL.findall(text) if name.lower() not in lower}
    return (english - _TITLES - _DAYS) | set(_NAME_ZH.findall(text))


def strangers(text: str, known: str) -> set[str]:
    """Names that are first met after the first fifth of the text and are not in `known`, the premise or plan."""
    introduced = f"{known} {fractions(text)[0]}"
    return {name for name in names_in(text) if name not in introduced}


def contradictions(text: str, people: Sequence[Person]) -> int:
    """Sentences that name one person alone and say of them what the premise rules out."""
    found = 0
    for sentence in sentences(text):
        alone = [person for person in people if person.name in sentence]
        found += len(alone) == 1 and bool(re.search(alone[0].against, sentence))
    return found


@dataclass(frozen=True)
class Measures:
    """Of one story; per 1,000 words where it says `per_1000`, and of all words where it says `whole`."""

    words: float
    presence: float
    strangers_per_1000: float
    contradictions_per_1000: float
    repeated_4_whole: float
    repeated_4: float
    distinct_1: float
    distinct_2: float


def measures(text: str, premise: Premise, length: int = 0) -> Measures:
    """All measures of a story; of repetition the first `length` words count (0: all), as longer texts repeat more."""
    words = tokens(text)
    counted = words[:length] if length else words
    per_1000 = 1000 / max(1, len(words))
    return Measures(
        len(words),
        presence(text, [person.name for person in premise.people]),
        len(strangers(text, premise.text)) * per_1000,
        contradictions(text, premise.people) * per_1000,
        repeated(words),
        repeated(counted),
        distinct(counted, 1),
        distinct(counted, 2),
    )


# --- the experiment

_LONG = {"en": " Write a long story in {} parts.", "zh": "写一个分成{}部分的长故事。"}
_GO_ON = {"en": "Go on with the story.", "zh": "接着写这个故事。"}


@dataclass(frozen=True)
class GoOn(Strategy):
    """One long sample: asked once, and then to go on each time it ends, until the story has `words` words."""

    words: int

    async def __call__(self, conversation: Conversation, ask: Ask, options: Options) -> Answer:
        told = ""
        for number in range(4 * PARTS):
            answer = await ask(conversation, options.draw("go on", number))
            told += f"\n\n{answer.text.strip()}"
            whole = replace(answer, message=Message("assistant", told.strip()))
            keep(whole)
            if len(tokens(told)) >= self.words or not normal(answer.text):
                break
            conversation = follow_up(conversation, answer, _GO_ON[language_of(told)])
        return whole


async def pair(premise: Premise, ask: Ask, seed: int, part_tokens: int) -> dict[str, Outcome]:
    """A story by Re3, one sample that may write as many tokens as all of Re3 wrote, and one that is asked to go on."""
    conversation = Conversation((Message("user", premise.text),))
    sampling = Sampling(max_tokens=part_tokens, temperature=0.8, top_p=0.95)
    planned = await run(Story(parts=PARTS), conversation, ask, Options(sampling, seed))
    asked = premise.text + _LONG[language_of(premise.text)].format(PARTS)
    long_one = Conversation((Message("user", asked),))
    whole = Options(replace(sampling, max_tokens=planned.usage.completion_tokens), seed)
    once = await run(named("direct"), long_one, ask, whole)
    going_on = await run(GoOn(len(tokens(planned.answer.text))), long_one, ask, Options(sampling, seed))
    return dict(zip(NAMES, (planned, once, going_on), strict=True))


# which way a measure should go, and what its mean counts
_WANTED: dict[str, tuple[Wanted | None, str]] = {
    "words": (None, "words"),
    "presence": (Wanted("more"), "%"),
    "strangers_per_1000": (Wanted("less"), ""),
    "contradictions_per_1000": (Wanted("less"), ""),
    "repeated_4_whole": (None, "%"),
    "repeated_4": (Wanted("less"), "%"),
    "distinct_1": (Wanted("more"), "%"),
    "distinct_2": (Wanted("more"), "%"),
}


def lines(premise: Premise, told: dict[str, Outcome]) -> list[Line]:
    """One story: what was written, and each measure of Re3 against the story that goes on and the one of equal tokens.

    Repetition is counted in as many words of each story as the shortest has.
    """
    length = min(len(tokens(outcome.answer.text)) for outcome in told.values())
    measured = {name: measures(outcome.answer.text, premise, length) for name, outcome in told.items()}
    made = [
        Line(
            f"tokens written, {name}",
            (float(outcome.usage.completion_tokens),),
            cost=cost(outcome.usage, 1, outcome.seconds),
            unit="tokens",
        )
        for name, outcome in told.items()
    ]
    for field in fields(Measures):
        wanted, unit = _WANTED[field.name]
        re3, once, going_on = (float(getattr(measured[name], field.name)) for name in NAMES)
        against, equal = Beside(GOING_ON, (going_on,)), Beside(ONCE, (once,))
        made.append(Line(f"{field.name}, {RE3}", (re3,), wanted, against, equal, unit=unit))
    return made


async def _told(at: Setting, premise: Premise, number: int) -> list[Line]:
    told = await pair(premise, at.port.ask, at.seed, 24 if at.is_quick else 160)
    rows = [
        {"story": name, "premise": premise.text, "text": outcome.answer.text, "stop": outcome.answer.stop}
        | asdict(measures(outcome.answer.text, premise))
        for name, outcome in told.items()
    ]
    write_json(at.folder / "texts" / f"{number}.json", rows)
    return lines(premise, told)


async def measure(at: Setting) -> Result:
    parts: list[Part] = []
    for number, premise in enumerate(PREMISES):
        if language_of(premise.text) in at.languages and number < at.num(len(PREMISES), 1):
            parts.append(await at.part(f"premise {number}", partial(_told, at, premise, number)))
    return at.result(parts)


if __name__ == "__main__":
    sys.exit(main({"story": measure}))
