"""Whether a passage says what an answer says: the check that a citation has to pass.

A sentence of an answer is supported where each of its clauses has a statement of the passage that holds its numbers, its
names and its words and denies as much, and one of these is about what was asked. That is a matter of words and not of
meaning: what is said in other words, or in another language than the passage, counts as not supported. A missing citation
costs less than a wrong one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from jielong.use.numerals import numbers_in_words
from jielong.use.retrieval.terms import is_han, terms

ASKED, YES_OR_NO, SAID = 0.6, 0.8, 0.65
"""Shares that a statement must hold of a question's words, of those of a question to which "yes" is an answer, and of an
answer's words that are neither names nor numbers; `bench.first_hour` measures what they let through."""

_FUNCTION_WORDS = frozenset(
    "a about according after ahead all also am an and any are as at be been being before but by can could did do does doing done "
    "each either every for from get given had has have having he her here hers him his how i if in information into is it "
    "its itself just let may me mentioned might mine must my no nor not of on one only or our ours out over per please "
    "provided said say shall she should so some such tell than that the their them then there these they this those to too "
    "under until up us use very was we were what when where whether which while who whom whose why will with would yes you "
    "your yours answer document indicate indicated mention note passage question show state stated "
    "suggest suggested tell text often many much long kind called however name old "
    "ask back come comes find get gets getting give gives go goes going got happen happens mean means need needs pay set show "
    "shows take takes tell towards want wants".split()
)
_HAN_FUNCTION = re.compile(
    "根据|按照|资料|文件|答案|其实|请问|告诉|知道|什么时候|什么|怎么样|怎样|怎么|为什么|多少钱|多少|多久|多长|多大|几点|几岁|哪一天|哪一年|哪年|哪天|"
    "哪里|哪儿|哪个|哪些|哪|谁|几|可以|应该|需要|一共|时候|我们|你们|他们|我|你|他|她|它|这|那|的|了|吗|呢|吧|啊|是|在|有|和|与|也|都|就|把|"
    "被|到|要|会|能|请|为|叫|个|次|您|用|不|没|花|收|轮到|要是|如果|一[份个天次张件杯碗只台]"
)
_ORDINALS = dict(
    zip("first second third fourth fifth sixth seventh eighth ninth tenth".split(), range(1, 11), strict=True)
)
_CALENDAR = frozenset(
    "monday tuesday wednesday thursday friday saturday sunday january february march april june july august september october "
    "november december".split()
)
_DENIALS = re.compile(
    r"\b(?:not?|never|none|nobody|nothing|without|cannot|except|unable|forbidden)\b|n['’]t\b|不(?![锈仅但管过同断错])|没(?!收)|"
    "无[法人需权]|未(?!来)|非(?![常洲])|禁止|勿"
)
_SENTENCE = re.compile(r"[^.!?。！？\n]*(?:[.!?](?!\s|$)[^.!?。！？\n]*)*(?:[.!?。！？]+|\n|$)")
_CLAUSE = re.compile(r"[;，；]|[,:：](?!\d)|\band\b|\bbut\b|—|–")
_ITEM = re.compile(r"\s*(?:[-*•·]|\d{1,2}[.)、]|[一二三四五六七八九十]+、|\d{1,2}:\d{2}\b)\s*")
_ABBREVIATION = re.compile(r"\b(?:Mrs?|Ms|Dr|Prof|St|No|vs|etc|e\.g|i\.e|a\.m|p\.m)\.$")
_DATE = re.compile(r"(?:(\d{4})年)?(\d{1,2})月(\d{1,2})[日号]?")
_WHOLE = r"\d+(?:[:：]\d+(?:\.\d+)?)+|[A-Za-z\d]+(?:-[A-Za-z\d]+)*-?\d(?:[A-Za-z\d]*(?:-[A-Za-z\d]+)*)"
"""Times, ratios, telephone numbers and codes: whole, as half of one is another."""
_PIECE = re.compile(rf"[.!?\n]|\d+(?:\.\d+)?(?![\w:：.-])|{_WHOLE}|[A-Za-zÀ-ɏ\d]+(?:\.\d+)?|[^\W_A-Za-zÀ-ɏ\d]+")
_WHICH = re.compile(
    r"\b(?:which|what) (?!is\b|are\b|was\b|were\b|do\b|does\b|did\b|should\b|would\b)(\w+)", re.IGNORECASE
)
_BARE = 24
"""Characters of an answer that may be a number without its unit."""
_CURRENCY = str.maketrans({"$": " dollar ", "€": " euro ", "£": " pound ", "¥": " 元 ", "￥": " 元 ", "%": " percent "})
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


@dataclass(frozen=True)
class Words:
    """The meaning-carrying words of a text: numbers as digits, names, other words, and of Chinese whole runs and bigrams."""

    numbers: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    plain: frozenset[str] = frozenset()
    runs: frozenset[str] = frozenset()
    bigrams: frozenset[str] = frozenset()

    @property
    def held(self) -> frozenset[str]:
        """Everything that others are looked for in."""
        return self.numbers | self.names | self.plain | self.bigrams

    @property
    def asked(self) -> frozenset[str]:
        """Everything that is looked for, a run of Chinese as one."""
        return self.numbers | self.names | self.plain | self.runs


@dataclass(frozen=True)
class Statement:
    """A clause of a passage.

    `own` are its words, `sentence` those of its sentence so far, `context` those of its paragraph so far with the headings
    above it, and `heading` those of the headings alone.
    """

    text: str
    own: frozenset[str]
    sentence: frozenset[str]
    context: frozenset[str]
    heading: frozenset[str]
    denies: bool


def supporting(sentence: str, questions: Sequence[str], passages: Sequence[tuple[str, str]]) -> int | None:
    """The index of the first passage, given as its text and its source, that says what the sentence says; or None.

    `questions` are what the sentence answers: whole in itself first, and last as it was said after other turns; "" where
    the sentence says itself what it is about.
    """
    kind = _kind_of(questions[-1])
    for index, (text, source) in enumerate(passages):
        if all(is_supported(sentence, question, text, source, kind) for question in dict.fromkeys(questions)):
            return index
    return None


def is_supported(sentence: str, question: str, passage: str, source: str = "", kind: str | None = None) -> bool:
    """Whether a statement of the passage holds what the sentence says beyond the question, and is about the question.

    `kind` is that of the answer that is asked for, where the question alone does not tell.
    """
    kind = _kind_of(question) if kind is None else kind
    if not _fits(sentence, kind, _claimed(sentence, question, kind)):
        return False
    statements = statements_of(passage, source)
    about, numbers = _about(question, statements), words_of(question).numbers
    least = YES_OR_NO if kind == "yes or no" else ASKED
    closeness = [_closeness(s, about, question, kind) for s in statements]
    is_about = [numbers <= s.context and _share(about, s.context) >= least for s in statements]
    closest = max((c for c, is_near in zip(closeness, is_about, strict=True) if is_near), default=None)
    denies = bool(_DENIALS.search(sentence.lower()))
    answers = False
    for clause in _clauses(sentence):
        new = _claimed(clause, question, kind)
        if not new.asked:
            continue
        holding = [i for i, s in enumerate(statements) if s.denies == denies and _holds(s, new)]
        if not holding:
            return False
        answers |= any(
            is_about[i] and closeness[i] >= closest and (not about or _fits(statements[i].text, kind, new))
            for i in holding
            if closest is not None
        )
    return answers


def says_something(sentence: str, question: str) -> bool:
    """Whether a sentence holds a word that the question has not, or says yes or no to it in its words."""
    return bool(_claimed(sentence, question, _kind_of(question)).asked)


def nearest(question: str, passages: Sequence[tuple[str, str]]) -> tuple[int, str] | None:
    """The passage and its sentence that hold most of the question's words; None where no sentence holds more than half of them."""
    asked = words_of(question).asked
    best: tuple[float, int, str] | None = None
    for index, (text, source) in enumerate(passages):
        title = words_of(_title(source)).held
        for paragraph, _ in _paragraphs(text):
            for sentence in sentences(paragraph):
                held = words_of(sentence).held
                own, share = _share(asked, held), _share(asked, held | title)
                if own > 0 and share > 0.5 and (best is None or own + share > best[0]):
                    best = own + share, index, " ".join(sentence.split())
    return None if best is None else (best[1], best[2])


def sentences(text: str) -> list[str]:
    """The sentences of a text in order; joined they are the text."""
    found: list[str] = []
    for match in _SENTENCE.finditer(text):
        if found and _ABBREVIATION.search(found[-1].rstrip()):
            found[-1] += match[0]
        elif match[0]:
            found.append(match[0])
    return found


@lru_cache(maxsize=256)
def statements_of(passage: str, source: str) -> tuple[Statement, ...]:
    """The clauses of a passage, headings left out. The name of the file is the first heading."""
    found: list[Statement] = []
    title = words_of(_title(source)).held
    for paragraph, heading in _paragraphs(passage):
        above = title | words_of(heading).held
        lines = paragraph.splitlines()
        if all(line.lstrip().startswith("|") for line in lines):
            found += _of_table(lines, above)
        else:
            found += _of_sentences(paragraph, above)
    return tuple(found)


def _of_sentences(paragraph: str, above: frozenset[str]) -> Iterator[Statement]:
    """The clauses of sentences. What stands before one belongs to it, but for the other items of a list."""
    before = beginning = above
    for sentence in sentences(re.sub(r"\n(?=[a-z])", " ", paragraph)):
        if _ITEM.match(sentence):
            before = beginning
        so_far: frozenset[str] = frozenset()
        denies = bool(_DENIALS.search(sentence.lower()))
        for clause in _clauses(sentence):
            own = words_of(clause).held
            so_far |= own
            before |= own
            if own:
                yield Statement(clause, own, so_far, before, above, denies)
        if not _ITEM.match(sentence):
            beginning = before


def _of_table(lines: Sequence[str], above: frozenset[str]) -> Iterator[Statement]:
    """The cells of a table in Markdown, each about its row and its column."""
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]
    head = rows[0]
    for row in rows[1:]:
        if all(re.fullmatch(r":?-*:?", cell) for cell in row):
            continue
        label = words_of(row[0]).held
        for column, cell in enumerate(row):
            own = words_of(cell).held
            about = own | label | (words_of(head[column]).held if column < len(head) else frozenset())
            if own:
                yield Statement(cell, own, about, above | about, above, bool(_DENIALS.search(cell.lower())))


@lru_cache(maxsize=1024)
def words_of(text: str) -> Words:
    """The words of a text that carry meaning."""
    numbers: set[str] = set()
    names: set[str] = set()
    plain: set[str] = set()
    runs: set[str] = set()
    is_first = True
    for piece in _PIECE.findall(_with_digits(text.translate(_CURRENCY))):
        if piece in ".!?\n":
            is_first = True
            continue
        if is_han(piece[0]):
            runs |= set(_HAN_FUNCTION.sub(" ", piece).split())
        elif re.fullmatch(r"\d+(?:\.\d+)?", piece):
            numbers.add(_number(piece))
        elif re.fullmatch(_WHOLE, piece) and re.search(r"\d[:：-]|-", piece):
            numbers.add(piece.lower().replace("：", ":"))
        elif piece.lower() in _ORDINALS:
            numbers.add(f"{_ORDINALS[piece.lower()]}.")
        elif piece.lower() not in _FUNCTION_WORDS:
            is_dated = terms(piece)[0] in _CALENDAR
            is_name = (piece[0].isupper() and not is_first) or any(c.isdigit() for c in piece) or is_dated
            (names if is_name else plain).update(t for t in terms(piece) if t not in _FUNCTION_WORDS)
        is_first = False
    bigrams = frozenset(t for run in runs for t in terms(run))
    return Words(frozenset(numbers), frozenset(names), frozenset(plain - names), frozenset(runs), bigrams)


def _claimed(sentence: str, question: str, kind: str) -> Words:
    """The words of a sentence that the question has not; where it has all and asks for yes or no, those that they share."""
    new = _beyond(sentence, question)
    return words_of(sentence) if kind == "yes or no" and not new.asked else new


def _beyond(sentence: str, question: str) -> Words:
    """The words of a sentence that the question has not."""
    asked, said = words_of(question).held, words_of(sentence)
    return Words(
        said.numbers - asked,
        frozenset(w for w in said.names if not share_held(w, asked)),
        frozenset(w for w in said.plain if not share_held(w, asked)),
        frozenset(r for r in said.runs if share_held(r, asked) < 1),
        frozenset(b for b in said.bigrams if not share_held(b, asked)),
    )


def _about(question: str, statements: Sequence[Statement]) -> frozenset[str]:
    """The words of a question, without the noun after which or what where a passage has all others and never that one.

    Such a noun says of which kind the answer is: "Which fuel does the car take?" is answered by "The car takes diesel."
    """
    asked = words_of(question).asked
    noun = _WHICH.search(question)
    rest = asked - words_of(noun[1]).asked if noun else asked
    has_noun = any(_share(asked - rest, s.context) > 0 for s in statements)
    return rest if rest and not has_noun and any(_share(rest, s.context) == 1 for s in statements) else asked


def _closeness(statement: Statement, about: frozenset[str], question: str, kind: str) -> tuple[float, float, float]:
    """How much of the question a statement holds, to be compared with other statements of the passage.

    Words of the headings tell little between the statements below them. The clause itself counts where it may be an answer; in
    a list of facts ("Green tea: 80 degrees, two minutes") the question's word may stand at the beginning of the sentence.
    """
    own = sum(share_held(w, statement.own) for w in about)
    telling = sum(share_held(w, statement.sentence) for w in about if share_held(w, statement.heading) < 1)
    says_more = any(not any(share_held(w, frozenset((held,))) for w in about) for held in statement.own)
    may_answer = says_more and _fits(statement.text, kind, _beyond(statement.text, question))
    return telling, sum(share_held(w, statement.sentence) for w in about), own if may_answer else 0.0


def _paragraphs(text: str) -> Iterator[tuple[str, str]]:
    """The paragraphs of a text with the heading above each: a line that begins with #, or a short one without an end."""
    heading = ""
    for paragraph in re.split(r"\n\s*\n", text):
        lines = paragraph.strip().splitlines()
        if lines and (lines[0].startswith("#") or (len(lines) == 1 and _is_title(lines[0]))):
            heading, lines = lines[0], lines[1:]
        if lines:
            yield "\n".join(lines), heading


def _is_title(line: str) -> bool:
    return len(line) <= 60 and not re.search(r"[.!?。！？,，:：;；]|\d", line)


def _clauses(sentence: str) -> Iterator[str]:
    start = 0
    for match in _CLAUSE.finditer(sentence):
        yield sentence[start : match.start()]
        start = match.end()
    yield sentence[start:]


def _with_digits(text: str) -> str:
    """The text with each number in digits without separators, so that 1,150, 1150 and 一千一百五十 read the same."""
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
    done = 0
    for written, value in numbers_in_words(text):
        at = text.index(written, done)
        if written.lower() in ("one", "一"):  # seldom a number: "one of them", "一起"
            done = at + len(written)
            continue
        text = f"{text[:at]}{value}{text[at + len(written) :]}"
        done = at + len(str(value))
    return _DATE.sub(lambda m: f" {m[2]}-{m[3]} ", text)


def _number(digits: str) -> str:
    whole, _, decimals = digits.partition(".")
    return (whole.lstrip("0") or "0") + (f".{decimals}" if decimals.strip("0") else "")


def _holds(statement: Statement, new: Words) -> bool:
    """Whether one statement holds what a clause says: its numbers and names, and nearly all of its other words."""
    if not (new.numbers <= statement.own and all(share_held(name, statement.own) for name in new.names)):
        return False
    words = new.plain | new.bigrams
    return not words or _share(words, statement.own) >= (SAID if len(words) > 2 else 1.0)


def _share(wanted: Iterable[str], held: frozenset[str]) -> float:
    wanted = list(wanted)
    return sum(share_held(word, held) for word in wanted) / len(wanted) if wanted else 1.0


def share_held(word: str, held: frozenset[str]) -> float:
    """How much of a word is among others: of a run of Chinese a share, of another word all or nothing.

    Words count in another form too: "paint" and "painted". A Chinese character is there with a neighbour of its run, or
    alone.
    """
    if word in held:
        return 1.0
    if is_han(word):
        if len(word) == 1:
            return float(any(is_han(other) and word in other for other in held))
        covered = set()
        for i in range(len(word) - 1):
            if word[i : i + 2] in held:
                covered |= {i, i + 1}
        covered |= {i for i, c in enumerate(word) if c in held}
        return len(covered) / len(word)
    if word[0].isdigit() or len(word) < 4:
        return 0.0
    return float(any(_is_form_of(word, other) or _is_form_of(other, word) for other in held))


def _is_form_of(word: str, other: str) -> bool:
    return (
        len(other) >= 4
        and not other[0].isdigit()
        and len(word) - len(other) <= 3
        and word.startswith(other[: max(4, len(other) - 1)])
    )


def _kind_of(question: str) -> str:
    """The kind of answer that is asked for; "" where the question does not tell."""
    return next((kind for kind, pattern in _KINDS.items() if pattern.search(question.lower())), "")


def _fits(sentence: str, kind: str, new: Words) -> bool:
    """Whether an answer may be one of the kind that is asked for."""
    digits = _with_digits(sentence)
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


def _title(source: str) -> str:
    """The name of a file without its ending, and of its folder."""
    return " ".join(re.sub(r"\.\w{1,5}$", "", part) for part in re.split(r"[/\\]", source)[-2:])
