"""What to look for in the documents when somebody says something in the middle of a talk.

A greeting is not looked for at all. A question that leans on the turns before it ("And when is it due?") is looked for
together with them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from jielong.records import Message
from jielong.use.retrieval.support import sentences, words_of

_NAME = r"(?: [a-z]{2,12})?"
_TALK = (
    # greetings, thanks, goodbyes, assent
    rf"(?:hi|hello|hey|hiya|good (?:morning|afternoon|evening|day|night)|greetings)(?: there| again| all)?{_NAME}",
    rf"(?:many |a lot )?(?:thanks|thank you|thx|cheers)(?: a lot| so much| very much| again)?{_NAME}",
    r"(?:good ?bye|bye(?: bye)?|see you(?: later| soon| tomorrow)?|take care)",
    r"(?:ok(?:ay)?|fine|great|good|nice|perfect|cool|alright|all right|got it|i see|understood|yes|yeah|yep|no|nope|sure|well done)",
    r"(?:that is|thats|thats all|never ?mind|sorry|please|wow|haha)(?: all| fine| great| good)?",
    r"how are you(?: doing)?(?: today)?|how is it going|whats up|nice to meet you",
    r"(?:who|what) are you|what is your name|whats your name|what can you do|can you help(?: me)?|help(?: me)?",
    # about what was just said
    r"(?:go on|continue|more|tell me more|again|once more|repeat(?: that| it)?|say (?:that|it) again|what do you mean|why)",
    r"(?:make it |a bit |much )?(?:shorter|longer|simpler|briefer)|in (?:one|a few) (?:word|words|sentence|sentences)",
    r"(?:say|put|write|repeat|translate|answer|explain|summari[sz]e)(?: (?:that|it|this|me|your answer|the answer|again))*"
    r"(?: (?:in|into|to) (?:english|chinese|mandarin|french|german|spanish|other words|one sentence|simple words|plain words))?",
    r"(?:in|into) (?:english|chinese|mandarin|french|german|spanish)",
    # the same in Chinese
    r"(?:你好|您好|大家好|嗨|哈喽|早上好|上午好|中午好|下午好|晚上好|早安|晚安|早)[啊呀吗]?",
    r"(?:非常|十分|太|多)?(?:感谢|谢谢|多谢|谢了)(?:你|您|了)?",
    r"(?:再见|拜拜|回头见|明天见)[啦了]?",
    r"(?:好|好的|好吧|行|可以|嗯+|哦+|对|对的|是|是的|不|不是|不用了|没事了?|明白了?|知道了|懂了|太好了|不错|抱歉|对不起|麻烦你了)",
    r"你是谁|你叫什么(?:名字)?|你能做什么|你会什么|你怎么样|你好吗|最近怎么样",
    r"(?:请)?(?:继续|接着说|再说一遍|再说一次|重复一遍|多说一点|说多一点|为什么|什么意思)",
    r"(?:请)?(?:说|讲|写)?(?:得|的)?(?:短|长|简单|详细|清楚)一?(?:点|些)儿?",
    r"(?:请)?(?:你)?(?:用|换成|翻译成|译成)(?:英语|英文|中文|汉语|法语|德语|一句话)(?:再)?(?:说|讲|写|回答|解释|总结)?(?:一遍|一次|一下)?",
    r"(?:请)?(?:总结|解释|翻译)(?:一下|一遍)?(?:这个|上面的话|上文)?",
)
_TALK_ONLY = re.compile("|".join(f"(?:{pattern})" for pattern in _TALK))
_POLITE = re.compile(r"\b(?:please|pls|now|then|just|so|oh|ah|well|can you|could you|would you)\b|[啊呀吧哦呢请]$")
_LEANS = re.compile(
    r"^(?:and|but|or|so|then|also)\b|\b(?:what|how) about\b|\b(?:it|its|they|them|their|theirs|he|him|his|she|her|hers|"
    r"that|those|this|these|there|one|ones|same|else|other|another)\b|[它他她]|这|那(?!么)|其(?!他?实)|呢[？?]?$|^(?:还|另外|然后|再|而|但)",
    re.IGNORECASE,
)
_ANY_THING = frozenset(
    "address age amount colour color cost date day email floor hour minute month number page person phone place price reason "
    "room size thing time week year 电话 地址 价格 价钱 时间 日期 名字 颜色 年纪 号码 地点 原因 大小 楼层 房间".split()
)
"""Nouns that anything may have: a question that names nothing else is about what was spoken of before."""
_ENDS = re.compile(r"\n\n(?:\[\d{1,2}\] .*(?:\n|$))+\s*$|\s*\[\d{1,2}\]")


def is_talk(text: str) -> bool:
    """Whether a message is a greeting, thanks or a word about the talk itself, in which nothing is asked of documents."""
    plain = re.sub(r"['’]", "", text.lower())
    parts = [_POLITE.sub(" ", part) for part in re.split(r"[,.!?;:~，。！？；：～\n]+", plain)]
    said = [" ".join(part.split()) for part in parts if part.strip()]
    return all(_TALK_ONLY.fullmatch(part) for part in said) if said else not re.search(r"\w", text)


def leans(question: str) -> bool:
    """Whether a question makes sense only after the turns before it."""
    if _LEANS.search(question):
        return True
    words = words_of(question)
    things = {w for w in words.plain if w not in _ANY_THING} | {
        r for r in words.runs if len(r) > 1 and r not in _ANY_THING
    }
    return not (words.numbers or words.names or things)


def with_turns_before(messages: Sequence[Message]) -> tuple[str, str]:
    """The last question with the one that it leans on: the last that stands by itself comes first; and what to search for.

    They differ where the answer to the first had a source: its first sentence may name what is meant.
    """
    asked = [i for i, m in enumerate(messages) if m.role == "user" and not is_talk(m.text)]
    last = asked[-1]
    root = next((i for i in reversed(asked[:-1]) if not leans(messages[i].text)), asked[0])
    if root == last:
        return messages[last].text, messages[last].text
    answer = next((m.text for m in messages[root + 1 :] if m.role == "assistant"), "")
    named = sentences(without_sources(answer))[:1] if _ENDS.search(answer) else []
    return _joined(messages[root].text, messages[last].text), _joined(messages[root].text, *named, messages[last].text)


def _joined(*texts: str) -> str:
    return " ".join(" ".join(text.split()) for text in texts)


def without_sources(answer: str) -> str:
    """An answer without the numbers of its passages and the list of them."""
    return _ENDS.sub("", answer)
