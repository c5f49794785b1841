"""Search queries from a conversation: whether to search, and for what.

A greeting is not looked for at all. A question that leans on the turns before it ("And when is it due?") is looked for
together with them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from jielong.records import Message
from jielong.use.retrieval.words import sentences, words_of

# Messages in which every word is of the talk itself, and one of them tells: whoever asks something of documents names a thing.
_TELLING = frozenset(
    "thanks thank thx cheers ta hello hi hey hiya greetings bye goodbye shorter longer simpler briefer brief repeat rephrase "
    "reword translate summarise summarize explain again answer answers reply sentence sentences word words gist sorry "
    "understood helped helpful appreciated perfect great super wonderful lovely brilliant ok okay fine nice good yes yeah yep "
    "no nope sure continue alright english chinese french german spanish mandarin politely".split()
)
_LIGHT = frozenset(
    "a an the that this it its your you me i my we us last previous first bit little lot bunch million tons more much less "
    "please could can would will do did done make made put say said write give in into of to for with and or but so very "
    "really just now well then oh ah not got get need all one two few other plain simple formal friendly casual polite "
    "language be been day night morning evening afternoon too also was were is are there here everyone have im thats id like "
    "if kind see later soon tomorrow today after tonight by way".split()
)
_PHRASE = re.compile(
    r"(?:how are|hows it going|how do) you(?: doing| do)?(?: today)?|whats up|(?:who|what) are you|what(?: is|s) your name|"
    r"what can you do|come again|(?:who|what) am i talking to|are you a (?:bot|robot|machine|human)|"
    r"(?:can you )?help(?: me)?|go on|more|tell me more|what do you mean|why|never ?mind|take care|"
    r"see you.{0,12}|"
    r"(?:in|into) (?:one|a few) (?:words?|sentences?)|(?:in|into) (?:english|chinese|mandarin|french|german|spanish)|got it|i see"
)
_HAN_TELLING = re.compile(
    "谢|感谢|辛苦|再见|拜拜|回头见|晚安|早安|[早晚中上下]?[上午]好|你好|您好|嗨|哈喽|在吗|在不在|翻译|解释|总结|概括|简短|重复|再说|再讲|说法|"
    "语气|太[短长]|[短长]一?[点些]|一遍|收到|口语|啰嗦|怎么[讲说]|机器人|回头聊|懂|明白|知道了|回答|答案|用[英中法德汉]|客气|没别的|继续|接着说|"
    "你是谁|你叫什么|你能做|你会什么|你好吗|什么意思|为什么|"
    "^(?:好|好的|好吧|行|可以|嗯+|哦+|对|对的|是|是的|不|不是|不用|没事|不错|抱歉|对不起|早)[了啊吧]?$"
)
_HAN_LIGHT = re.compile(
    "谢谢|多谢|感谢|非常|十分|辛苦|麻烦|再见|拜拜|回头见|明天见|晚安|早安|早上好|上午好|中午好|下午好|晚上好|大家|你好|您好|嗨|哈喽|在吗|在不在|"
    "好的|好吧|太好|不错|抱歉|对不起|明白|知道|看不懂|没看懂|听不懂|没听懂|懂|太长|太短|太复杂|简短|简单|详细|清楚|一点|一些|点儿|重新|重复|说|讲|"
    "写|解释|翻译|总结|概括|换|说法|方式|语气|一遍|一次|一下|英文|英语|中文|汉语|法语|德语|白话|口语|能不能|能否|可不可以|可以|请|刚才|刚刚|上面|没看懂|"
    "前面|那|这|句话|一句|句|段|话|回答|答案|没有|没别的|没事|别的|事|就|这样|先|不用|客气|要点|正式|亲切|活泼|继续|接着|你是谁|叫什么|名字|能做|"
    "会什么|做什么|什么意思|为什么|怎么样|最近|帮|忙|早|大忙|收到|发|聊|够|啰嗦|机器人|怎么|英|能|多|太|再|成|用|个|种|你|您|我|的|了|吗|呢|吧|啊|呀|哦|嗯|把|给|没|不|对|是|行|好|短|长|得|些|点|"
    "很|都|也|还|有|到"
)
_POLITE = re.compile(r"^(?:please|pls|so|oh|well|and) | (?:please|pls|then|now)$")
_HAN = re.compile("[\u3400-\u9fff]")
_POINTS = re.compile(
    r"\b(?:what|how) about\b|\b(?:it|its|they|them|their|theirs|he|him|his|she|her|hers|that|those|this|these|one|ones|same|"
    r"another)\b|[它他她]|[这那][个位些种样边里儿次天一]|^其(?!他?实)|呢[？?]?$",
    re.IGNORECASE,
)
_GOES_ON = re.compile(r"^(?:and|but|or|so|then|also)\b|^(?:那|还|另外|然后|再|而|但)", re.IGNORECASE)
_ASKS = re.compile(
    r"[?？]|\b(?:what|which|who|whom|whose|when|where|why|how|tell|show|find|give|list|name|need|want|looking|look|is|are|do|"
    r"does|did|can|could)\b|[吗呢]|什么|哪|谁|几|多少|多久|怎|为何|请|帮|告诉|查|找|列",
    re.IGNORECASE,
)
_ANY_THING = frozenset(
    "address age amount colour color cost date day email floor hour minute month number page person phone place price reason "
    "room size thing time week year 电话 地址 价格 价钱 时间 日期 名字 颜色 年纪 号码 地点 原因 大小 楼层 房间".split()
)
"""Nouns that anything may have: a question that names nothing else is about what was spoken of before."""
_ENDS = re.compile(r"\n\n(?:\[\d{1,2}\] .*(?:\n|$))+\s*$|\s*\[\d{1,2}\]")


def is_talk(text: str) -> bool:
    """Whether a message is a greeting, thanks or a remark about the talk itself, which asks nothing of documents."""
    plain = re.sub(r"['’]", "", text.lower())
    parts = [" ".join(part.split()) for part in re.split(r"[,.!?;:~，。！？；：～、\n]+", plain) if part.strip()]
    if not parts:
        return not re.search(r"\w", text)
    return all(map(_names_nothing, parts)) and any(map(_tells, parts))


def _names_nothing(part: str) -> bool:
    """Whether a part of a message holds only words of the talk itself."""
    if _HAN.search(part):
        return not _HAN_LIGHT.sub("", part).strip()
    return _is_phrase(part) or all(word in _TELLING or word in _LIGHT for word in part.split())


def _tells(part: str) -> bool:
    """Whether a part of a message shows that it is about the talk."""
    if _HAN.search(part):
        return _HAN_TELLING.search(part) is not None
    return _is_phrase(part) or not _TELLING.isdisjoint(part.split())


def _is_phrase(part: str) -> bool:
    return _PHRASE.fullmatch(_POLITE.sub("", part).strip()) is not None


def asks(text: str) -> bool:
    """Whether a message asks for something: it has a question's mark or word, or tells somebody to do something."""
    return _ASKS.search(text) is not None


def leans(question: str) -> bool:
    """Whether a question makes sense only after the turns before it."""
    if _POINTS.search(question):
        return True
    return _num_named(question) < (2 if _GOES_ON.search(question) else 1)


def _num_named(text: str) -> int:
    """Count the things that a text names, but for general words; of Chinese, runs of two characters and more."""
    words = words_of(text)
    things = [w for w in words.plain if w not in _ANY_THING] + [
        r for r in words.runs if len(r) > 1 and r not in _ANY_THING
    ]
    return len(things) + len(words.numbers) + len(words.names) + sum(len(r) > 3 for r in words.runs)


def with_turns_before(messages: Sequence[Message]) -> tuple[str, tuple[str, ...]]:
    """Return the last question after the one that it leans on, and the queries to search for.

    It leans on the last earlier question that stands by itself. If that one names little, the last that names more
    makes a second query. If its answer had a source, the answer's first sentence joins in: it may name what is meant.
    """
    asked = [i for i, m in enumerate(messages) if m.role == "user" and not is_talk(m.text)]
    last = asked[-1]
    whole = [i for i in reversed(asked[:-1]) if not leans(messages[i].text) and asks(messages[i].text)] or asked[:1]
    if whole[0] == last:
        return messages[last].text, (messages[last].text,)
    roots = dict.fromkeys((whole[0], next((i for i in whole if _num_named(messages[i].text) > 1), whole[0])))
    queries = []
    for root in roots:
        answer = next((m.text for m in messages[root + 1 :] if m.role == "assistant"), "")
        named = sentences(without_sources(answer))[:1] if _ENDS.search(answer) else []
        queries.append(_joined(messages[root].text, *named, messages[last].text))
    return _joined(messages[whole[0]].text, messages[last].text), tuple(queries)


def _joined(*texts: str) -> str:
    return " ".join(" ".join(text.split()) for text in texts)


def without_sources(answer: str) -> str:
    """Return an answer without the numbers of its passages and the list of them."""
    return _ENDS.sub("", answer)
