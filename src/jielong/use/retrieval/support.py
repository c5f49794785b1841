"""Support of an answer by a passage: the check that a citation has to pass.

A sentence of an answer is supported if each of its clauses has a statement of the passage that holds its numbers, its
names and its words and denies as much, and one of these is about the question. That is a matter of words and not of
meaning: other words for it, or another language than the passage, count as not supported. A missing citation costs less
than a wrong one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from jielong.use.retrieval.statements import Statement, denies, paragraphs, statements_of, title_of
from jielong.use.retrieval.words import Words, clauses, sentences, share, share_held, with_digits, words_of

ASKED, YES_OR_NO, SAID = 0.6, 0.8, 0.65
"""The least shares of words that a statement must hold: of a question, of a question answered by yes or no, and of an answer,
names and numbers aside. `bench.first_hour` measures the errors that they let through."""
_WHICH = re.compile(
    r"\b(?:which|what) (?!is\b|are\b|was\b|were\b|do\b|does\b|did\b|should\b|would\b)(\w+)", re.IGNORECASE
)
_BARE = 24
"""Characters of an answer that may be a number without its unit."""
_TIME_UNIT = r"(?:sec|min|second|minute|hour|hr|day|week|month|year|秒|分钟|小时|天|星期|周|个月|月|年|号|日|点)"
_KINDS = {
    "person": re.compile(r"\bwho(?:m|se)?\b|谁"),
    "year": re.compile(r"\b(?:what|which) year\b|哪一?年"),
    "time": re.compile(r"\bwhen\b|\bwhat time\b|什么时候|哪一?天|几点|几号(?![车楼线桌门房座柜店机仓])"),
    "duration": re.compile(
        r"\bhow (?:long|many (?:minutes|hours|days|weeks|months|years))\b|多久|多长时间|几分钟|几个?小时|几天|几个?月"
    ),
    "amount of money": re.compile(
        r"\bhow much (?:is|are|does|do|did|may|can|will)\b|\bcosts?\b|\bprices?\b|多少钱|价格|费用"
    ),
    "number": re.compile(
        r"\bhow (?:many|much|long|old|far|high|often|warm|hot|tall|big|large)\b|几|多少|多久|多长|多大"
    ),
    "yes or no": re.compile(
        r"^(?:and |so |but )?(?:is|are|was|were|do|does|did|can|could|may|must|has|have|will)\b|吗"
    ),
}
"""Kinds of answers that a question asks for; the first that matches is the question's."""
_TIMES = re.compile(
    r"\d|\b(?:mon|tues|wednes|thurs|fri|satur|sun)days?\b|\b(?:january|february|march|april|may|june|july|august|september|"
    r"october|november|december|spring|summer|autumn|winter|noon|midnight|morning|evening|night|daily|weekly|monthly|"
    r"yearly|always|never|once|twice|first|last|second|third|(?:minute|hour|day|week|month|year)s?)\b|[春夏秋冬早晚晨半天日月周年]|中午|每",
    re.IGNORECASE,
)


def supporting(sentence: str, questions: Sequence[str], passages: Sequence[tuple[str, str]]) -> int | None:
    """Return the index of the first passage, given as its text and its source, that supports the sentence; or None.

    `questions` are wordings of the question that the sentence answers: the one that stands by itself, then the one as
    it was said after other turns. Returns "" if the sentence names its own subject.
    """
    kind = _kind_of(questions[-1])
    for index, (text, source) in enumerate(passages):
        if all(is_supported(sentence, question, text, source, kind) for question in dict.fromkeys(questions)):
            return index
    return None


def is_supported(sentence: str, question: str, passage: str, source: str = "", kind: str | None = None) -> bool:
    """Whether a statement of the passage holds what the sentence says beyond the question, and is about the question.

    `kind` is that of the answer that is asked for, if the question alone does not tell.
    """
    kind = _kind_of(question) if kind is None else kind
    if not _fits(sentence, kind, _claimed(sentence, question, kind)):
        return False
    about, statements, answering = _answering(question, passage, source, kind)
    is_denial = denies(sentence)
    answers = False
    for clause in clauses(sentence):
        new = _claimed(clause, question, kind)
        if not new.all_terms:
            continue
        holding = [i for i, s in enumerate(statements) if s.denies == is_denial and _holds(s, new)]
        if not holding:
            return False
        answers |= any(answering[i] and (not about or _fits(statements[i].text, kind, new)) for i in holding)
    return answers


@lru_cache(maxsize=256)
def _answering(
    question: str, passage: str, source: str, kind: str
) -> tuple[frozenset[str], tuple[Statement, ...], tuple[bool, ...]]:
    """Return the words of a question, the statements of a passage, and for each statement whether it is about the
    question and no other is closer to it.
    """
    statements = statements_of(passage, source)
    about, numbers = _about(question, statements), words_of(question).numbers
    least = YES_OR_NO if kind == "yes or no" else ASKED
    closeness = [_closeness(s, about, question, kind) for s in statements]
    is_about = [numbers <= s.context and share(about, s.context) >= least for s in statements]
    closest = max((c for c, is_near in zip(closeness, is_about, strict=True) if is_near), default=(0.0, 0.0, 0.0))
    return about, statements, tuple(is_near and c >= closest for c, is_near in zip(closeness, is_about, strict=True))


def says_something(sentence: str, question: str) -> bool:
    """Whether a sentence holds a word that the question has not, or answers it with yes or no in its words."""
    return bool(_claimed(sentence, question, _kind_of(question)).all_terms)


def nearest(question: str, passages: Sequence[tuple[str, str]]) -> tuple[int, str] | None:
    """Return the passage and its sentence that hold most of the question's words, or None if none has more than half of
    them.

    Headings and earlier sentences of the paragraph may hold some of them; those of the sentence itself count twice.
    """
    asked = words_of(question).all_terms
    best: tuple[float, int, str] | None = None
    for index, (text, source) in enumerate(passages):
        title = words_of(title_of(source)).held
        for paragraph, heading in paragraphs(text):
            before = title | words_of(heading).held
            for sentence in sentences(paragraph):
                held = words_of(sentence).held
                own, in_context = share(asked, held), share(asked, held | before)
                before |= held
                if own > 0 and in_context > 0.5 and (best is None or 2 * own + in_context > best[0]):
                    best = 2 * own + in_context, index, " ".join(sentence.split())
    return None if best is None else (best[1], best[2])


def _claimed(sentence: str, question: str, kind: str) -> Words:
    """Return the words of a sentence that the question has not; for a yes or no in its own words, those that they
    share.
    """
    new = _beyond(sentence, question)
    return words_of(sentence) if kind == "yes or no" and not new.all_terms else new


def _beyond(sentence: str, question: str) -> Words:
    """Return the words of a sentence that the question has not."""
    asked, said = words_of(question).held, words_of(sentence)
    return Words(
        said.numbers - asked,
        frozenset(w for w in said.names if not share_held(w, asked)),
        frozenset(w for w in said.plain if not share_held(w, asked)),
        frozenset(r for r in said.runs if share_held(r, asked) < 1),
        frozenset(b for b in said.bigrams if not share_held(b, asked)),
    )


def _about(question: str, statements: Sequence[Statement]) -> frozenset[str]:
    """Return the words of a question, without the noun after "which" or "what" if the passage has only the others.

    Such a noun says of which kind the answer is: "Which fuel does the car take?" is answered by "The car takes diesel."
    """
    asked = words_of(question).all_terms
    noun = _WHICH.search(question)
    rest = asked - words_of(noun[1]).all_terms if noun else asked
    has_noun = any(share(asked - rest, s.context) > 0 for s in statements)
    return rest if rest and not has_noun and any(share(rest, s.context) == 1 for s in statements) else asked


def _closeness(statement: Statement, about: frozenset[str], question: str, kind: str) -> tuple[float, float, float]:
    """Score how much of the question a statement holds, to be compared with other statements of the passage.

    Words of the headings tell little between the statements below them. The clause itself counts if it may be an
    answer; in a list of facts ("Green tea: 80 degrees, two minutes") the question's word may stand at the beginning of
    the sentence.
    """
    own = sum(share_held(w, statement.own) for w in about)
    telling = sum(share_held(w, statement.sentence) for w in about if share_held(w, statement.heading) < 1)
    says_more = any(not any(share_held(w, frozenset((held,))) for w in about) for held in statement.own)
    may_answer = says_more and _fits(statement.text, kind, _beyond(statement.text, question))
    return telling, sum(share_held(w, statement.sentence) for w in about), own if may_answer else 0.0


def _holds(statement: Statement, new: Words) -> bool:
    """Whether one statement holds the words of a clause: its numbers and names, and nearly all of its other words."""
    if not (new.numbers <= statement.own and all(share_held(name, statement.own) for name in new.names)):
        return False
    words = new.plain | new.bigrams
    return not words or share(words, statement.own) >= (SAID if len(words) > 2 else 1.0)


def _kind_of(question: str) -> str:
    """Return the kind of answer that is asked for, or "" if the question does not tell."""
    return next((kind for kind, pattern in _KINDS.items() if pattern.search(question.lower())), "")


def _fits(sentence: str, kind: str, new: Words) -> bool:
    """Whether a sentence may be an answer of the kind that is asked for."""
    digits = with_digits(sentence)
    match kind:
        case "person":
            return any(not _TIMES.search(w) for w in new.names | new.plain | new.runs)
        case "year":
            return bool(re.search(r"(?<!\d)[12]\d{3}(?!\d)", digits))
        case "amount of money":
            amounts = re.findall(r"(?<![\d:：.,-])\d[\d,.]*(?![\d:：-])", digits)
            return len(amounts) > len(re.findall(rf"\d[\d,.]*\s*-?\s*{_TIME_UNIT}", digits))
        case "duration":
            is_bare = not (new.names or new.plain or new.runs) and len(sentence) < _BARE
            return is_bare or bool(re.search(rf"\d\s*-?\s*{_TIME_UNIT}|[半两]", digits))
        case "time" | "number":
            return bool(_TIMES.search(digits))
    return True
