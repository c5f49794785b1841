"""Finding the answer in a whole reply: behind its mark, at the beginning before an explanation, or at the end of
reasoning.
"""

from __future__ import annotations

import re

from jielong.use.answers.spelling import plain_spelling
from jielong.use.thoughts import split_thoughts

_ANSWER_LINE = re.compile(r"^[^\w\n]*(?:final )?(?:answer|答案)[^\w\n]*[:\uff1a]", re.IGNORECASE | re.MULTILINE)
_TAGGED = re.compile(r"<answer>\s*(.*?)\s*</answer>", re.DOTALL | re.IGNORECASE)
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
_MARK = re.compile(
    r"""(?:^|(?<=\n))\#{3,}\s*(?=\S)
    | (?<![a-z])(?:my\s|the\s)?(?:final\s|correct\s|right\s|best\s|overall\s)*(?:answers?|choice|option|solution|result|total(?!\s?[:=]))
      (?:\sto\s[^.\n]{1,40}?|\shere)?\s?(?:is|was|are|should\sbe|would\sbe|must\sbe|comes\sto|[:=])(?![a-z])\s?(?:therefore|thus)?:?
    | (?<![a-z])(?:so\sit\sis|it\sis\stherefore|(?:this|that)\sleaves|label|sentiment)(?![a-z]):?
    | (?:^|(?<=\n))\#{1,6}\s*(?:the\s)?(?:final\s)?(?:answer|result|conclusion|答案|结论|最终答案|结果)\s*[:：]?\s*\n
    | (?<![a-z])ans(?:wer)?\s?[:.]
    | (?<![a-z'’])i(?:\s?['’](?:d|ll)|\swould|\swill)?\s(?:say|go\swith|choose|pick|select)(?![a-z])
    | (?<![不能别勿可])选(?:择|取)?(?=\s?[(（]?[A-J](?![A-Za-z]))
    | 【(?:答案|解答)】 | (?<![\u4e00-\u9fff])答\s?: | (?<![解问])答[:：]
    | (?:正确|最终|最后|最佳)?的?(?:答案|回答|选项|结果|结论)(?:应该?|应当)?(?:是|改?为|[:：])
    | (?:故|应|因此|所以|本题|则|答案)(?:应)?选(?=[^项择取\s])
    """,
    re.VERBOSE | re.IGNORECASE,
)
_SHORT = set(
    "mr mrs ms dr st sr jr prof vs etc approx fig e.g i.e cf u.s b.c a.d jan feb mar apr jun jul aug sep sept oct nov dec".split()
)
_END = re.compile(r"[。！？；\n]+|[.!?;](?=\s|$)")
_FRIENDLY = re.compile(
    r"(?i)^(?:i )?hope (?:this|that|it)\b|\blet me know\b|\bfeel free\b|^(?:enjoy|good luck|cheers|happy )"
    r"|\b(?:any|more|other) questions\b"
    r"|\bhave a (?:nice|great|good)\b|\bglad to help\b|希望.{0,8}(?:帮助|帮到)"
    r"|欢迎.{0,8}(?:提问|问我|追问|交流)|如(?:有|果).{0,12}(?:题|疑问)|祝你"
)
_RETAKEN = re.compile(
    r"(?i)(?:^|[.!?…\n]\s*|,\s)(?:hmm|wait|hold on|let me (?:re-?)?(?:check|think|consider)|actually"
    r"|on second thought|i made a mistake)(?![a-z])"
    r"|等一下|等等[，,]|不对[，,]|重新(?:算|想|看)|我(?:算|弄|看)错了"
)
_CHECKS = re.compile(r"(?i)(?:check|verification|to verify|proof)\s?:|(?:检验|验证|验算|检查)[：:]")
_LABELLED = re.compile(r"[(\[]?[A-J][)\].:、]\s*\S")
_MOST_PARTS = 6
_MOST_PART_CHARS = 1_000
_MOST_CHARS = 20_000
"""Of an answer; of a longer one, its beginning and its end are read."""
_STARTS = re.compile(
    r"(?i)\b(?:first|step|let|so|then|given|at|note|hmm|okay|ok|well|sure|solution|is|are|was|we|i|it)\b|[=是]|首先|解|第"
)
_CORRECTED = re.compile(
    r"(?:^|(?<=[\s.,;。，；!]))(?:actually|wait|correction|sorry|let me correct"
    r"|i mean|on second thought|rather,)(?![a-z])[,.:]?(?:\s?no[,.:])?"
    r"|(?<=[,;:] )no[,:]"
    r"|(?:不是|并非)[^，。,]{1,20}[，,]?而是|\bnot [^,.]{1,30},? but\b"
    r"|,? but (?:it|that|the (?:answer|correct one|right one)) (?:is|was)(?: really| actually)?"
    r"(?! (?:often|sometimes|commonly|usually|also))"
    r"|其实(?!际)|更正|不对[，,。]|等等[，,。]|等一下|应该是(?!不)",
    re.IGNORECASE,
)


def is_answered(text: str) -> bool:
    """Whether a line begins with "Answer:" or "答案："."""
    return bool(_ANSWER_LINE.search(text))


def final(text: str) -> str:
    """Return the part of a text that gives its answer, in `plain_spelling`: a box, the text behind a mark, or else the
    sentence that gives it; without what is taken back, and without full stops.
    """
    return next(iter(parts(text)), "")


def parts(text: str) -> list[str]:
    """Return the parts of a text that may give its answer, the likeliest first.

    Where that one turns out to hold no value of the kind that is asked for, as a remark behind the answer does, the
    next one is looked at.
    """
    _, said = split_thoughts(text)
    tagged = _TAGGED.findall(said)
    if tagged:
        return [_without_frame(plain_spelling(tagged[-1]))]
    boxed = _boxed(said)
    if boxed:
        return [_without_frame(plain_spelling(boxed))]
    if len(said) > _MOST_CHARS:
        said = f"{said[: _MOST_CHARS // 4]}\n{said[-_MOST_CHARS // 4 * 3 :]}"
    said = plain_spelling(said)
    for mark in reversed(list(_MARK.finditer(said))):
        if _RETAKEN.search(said, mark.end()):
            break
        behind = _without_politeness(sentences(said[mark.end() :].lstrip(" :*\n")))
        if behind:
            return [_without_frame(_after_correction(s)) for s in behind[:_MOST_PARTS]]
    found = _without_politeness(sentences(said))
    if not found:
        return []
    if len(found) > 1 and _is_head(found[0], found[1]):
        return [_without_frame(_after_correction(found[0]))]
    return [_without_frame(_after_correction(s)) for s in reversed(found[-_MOST_PARTS:])]


def _without_politeness(found: list[str]) -> list[str]:
    """Drop polite sentences at the end."""
    while len(found) > 1 and _FRIENDLY.search(found[-1]):
        found = found[:-1]
    checked = next((n for n, s in enumerate(found) if n and _CHECKS.match(s)), len(found))
    return found[:checked]


def sentences(text: str) -> list[str]:
    """Split a text into sentences without their ends; a point inside of a number or an abbreviation ends none."""
    found, start = [], 0
    for m in _END.finditer(text):
        word = re.search(r"([A-Za-z][A-Za-z.]*)$", text[start : m.start()])
        is_short = (
            m[0] == "."
            and word is not None
            and (word[1].lower() in _SHORT or re.fullmatch(r"[A-Za-z](?:\.[A-Za-z])+", word[1]))
        )
        if is_short and m.end() < len(text.rstrip()):
            continue
        if m[0] == "." and _is_label(text[start : m.start()], text[m.end() :]):
            continue
        found.append(text[start : m.start()])
        start = m.end()
    found.append(text[start:])
    return [s.strip() for s in found if re.search(r"[\w\\\[\](){}√×✓✗∞±+<>=-]", s)]


def _is_label(before: str, rest: str) -> bool:
    """Whether a point stands behind the letter of a choice ("B. Paris"), or behind the number of a step of several."""
    label = re.search(r"(?:^|\n)\s*(?:([A-Ja-j])|\d{1,2})$", before)
    if label is None or not rest.strip():
        return False
    return bool(label[1]) or re.search(r"(?m)^\s*\d{1,2}\.\s", rest) is not None


def _boxed(text: str) -> str:
    """Return the content of the last box, up to the bracket that closes it or to the end."""
    boxes = list(_BOX.finditer(text))
    if not boxes:
        return ""
    start = at = boxes[-1].end()
    depth = 1
    while at < len(text) and depth:
        depth += {"{": 1, "}": -1}.get(text[at], 0) if text[at - 1] != "\\" else 0
        at += 1
    return text[start : at - 1] if not depth else text[start:]


def _is_head(first: str, second: str) -> bool:
    """Whether the first sentence is an answer by itself and the rest explains it."""
    words = len(re.findall(r"[A-Za-z0-9.,:/$%°^{}\\+-]+|[\u3400-\u9fff]", first))
    if _CORRECTED.match(second) or re.match(r"(?i)(?:no|wait|hmm|not|actually)\b", second):
        return False
    is_explained = re.match(
        r"(?i)(?:because|since|reason|explanation|this is because)\b|因为|由于|理由|原因|解析", second
    )
    if is_explained or (_LABELLED.match(first) and not _LABELLED.match(second)):
        return True
    is_bare = words <= 4 and not first.endswith((":", ",", "，")) and not _STARTS.search(first)
    return is_bare or bool(re.match(r"(?i)(?:yes|no|true|false|correct|incorrect)\b", first))


def _after_correction(sentence: str) -> str:
    """Return the text after the last word that takes something back; all of it if there is none."""
    marks = [m for m in _CORRECTED.finditer(sentence) if sentence[m.end() :].strip(" ,:，")]
    return sentence[marks[-1].end() :].strip(" ,:，") if marks else sentence


def _without_frame(text: str) -> str:
    """Strip the words and marks around a part; of an endless one, return its end."""
    text = text[-_MOST_PART_CHARS:].strip().strip("*").strip()
    return (
        re.sub(r"(?<![.\w]\.\w)[.。!！；;，,]+$", "", text).strip()
        if not re.search(r"(?i)\b[ap]\.m\.$|B\.C\.$|A\.D\.$", text)
        else text
    )
