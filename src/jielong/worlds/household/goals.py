"""How goals are put, in English and Chinese: the same kinds, as many sentences.

{place} is "on the shelf in the bedroom"; {deed} is "clean", "heat" or "cool", and {state} is "clean", "hot" or "cold", or how a
device is to be. A goal of the training part is one of many sentences between an opener and a closer that mean nothing, so
that a goal is understood by its words and not by its place; the sentences of the test part stand alone, and are none of those.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

from jielong.worlds.household.things import Part
from jielong.worlds.nonsense import nonsense

OPENERS: dict[str, tuple[str, ...]] = {
    "en": (*[""] * 4, "hello. ", "please: ", "now, ", "listen: ", "one more thing: ", "it is late. ", "guests are coming. ",
           "I am tired today. ", "what a mess! ", "there is something to do: ", "if you have time: ", "I have a wish: "),
    "zh": (*[""] * 4, "你好。", "拜托", "劳驾", "听我说：", "还有一件事，", "天晚了。", "客人要来了。",
           "我今天累了。", "真乱！", "有一件事要做：", "有空的话：", "我有一个愿望："),
}  # fmt: skip
CLOSERS: dict[str, tuple[str, ...]] = {
    "en": ("", "", "", " thank you.", " that is all.", " take your time.", " I will be back soon.", " nothing else."),
    "zh": ("", "", "", "谢谢。", "就这些。", "慢慢来。", "我马上回来。", "没有别的了。"),
}

GOALS: dict[str, dict[str, dict[str, tuple[str, ...]]]] = {
    "en": {
        "train": {
            "put": (
                "put the {thing} {place}.",
                "please put the {thing} {place}.",
                "the {thing} belongs {place}.",
                "I would like the {thing} to be {place}.",
                "can you find the {thing} and put it {place}?",
                "look for the {thing} and place it {place}.",
                "someone has misplaced the {thing}; its place is {place}.",
                "bring the {thing} to the {room} and leave it {place}.",
                "I need the {thing}: let it lie {place}.",
                "your job is to get the {thing} to where it should be, {place}.",
                "{place}: put the {thing} there.",
                "{place} there should be the {thing}.",
                "the place for the {thing} is {place}.",
                "is the {thing} {place}? If not, put it there.",
                "{place} I miss the {thing}.",
                "move the {thing}, so that it is {place}.",
                "see to it that the {thing} is {place}.",
                "take the {thing} and carry it to the {room}, {place}.",
                "when you are done, the {thing} is {place}.",
                "all I ask: the {thing} {place}.",
                "would you get the {thing} and set it {place}?",
                "store the {thing} {place}.",
                "the {thing}? {place}, please.",
                "{place} goes the {thing}.",
            ),
            "treat": (
                "{deed} the {thing} and put it {place}.",
                "please {deed} the {thing}, then put it {place}.",
                "put a {state} {thing} {place}.",
                "I want the {thing} {state} and {place}.",
                "first {deed} the {thing}; after that it belongs {place}.",
                "the {thing} has to be {state} before you put it {place}.",
                "can you find the {thing}, {deed} it and place it {place}?",
                "look for the {thing}, make it {state} and leave it {place}.",
                "I need a {state} {thing} {place}.",
                "your job is to {deed} the {thing} and to get it {place}.",
                "{place} I need a {state} {thing}.",
                "{place}: a {state} {thing}, please.",
                "{deed} the {thing}; {place} is its place.",
                "see to it that the {thing} is {state} and {place}.",
                "is the {thing} {state}? {deed} it and store it {place}.",
                "the {thing} should be {state}. Then set it {place}.",
                "only a {state} {thing} may be {place}; see to it.",
                "take the {thing}, {deed} it, carry it to the {room} and set it {place}.",
                "when you are done, a {state} {thing} is {place}.",
                "would you {deed} the {thing} and set it {place}?",
                "{deed} it first, the {thing}, and store it {place}.",
                "{place} goes the {thing}, but {state}.",
                "all I ask: a {state} {thing} {place}.",
                "the {thing}? {deed} it, and then {place} with it.",
            ),
            "two": (
                "put the {thing} and the {other} {place}.",
                "please put both the {thing} and the {other} {place}.",
                "the {thing} belongs {place}, and so does the {other}.",
                "I would like the {thing} and the {other} to be {place}.",
                "can you find the {thing} and the {other} and put them {place}?",
                "look for the {thing} and for the {other}; place both {place}.",
                "bring the {thing} to the {room} and leave it {place}, then the {other}.",
                "I need two things {place}: the {thing} and the {other}.",
                "{place}: put the {thing} there, and the {other}.",
                "the {thing}, the {other}: both belong {place}.",
                "see to it that the {thing} and the {other} are {place}.",
                "carry the {thing} and then the {other} to the {room} and set them {place}.",
                "when you are done, the {thing} and the {other} are {place}.",
                "store the {thing} {place}, with the {other}.",
                "first the {thing}, then the {other}: {place} with them.",
                "would you set the {thing} {place}, and the {other} too?",
                "{place} I need the {thing} and the {other}.",
                "{place} there should be the {thing} and the {other}.",
                "{place} go the {thing} and the {other}.",
                "all I ask: the {thing} and the {other} {place}.",
            ),
            "close": (
                "put the {thing} {place} and close it.",
                "please put the {thing} {place}, then close the {furniture}.",
                "the {thing} belongs {place}, and the {furniture} has to be closed.",
                "I would like the {thing} to be {place}, with the {furniture} closed.",
                "can you find the {thing}, put it {place} and close the {furniture}?",
                "bring the {thing} to the {room}, leave it {place} and close it after that.",
                "I need the {thing} {place}, and the {furniture} closed.",
                "{place}: put the {thing} there, then close the {furniture}.",
                "store the {thing} {place}; the {furniture} is to be closed.",
                "see to it that the {thing} is {place} and the {furniture} closed.",
                "close the {furniture} once the {thing} is {place}.",
                "when you are done, the {thing} is {place} and the {furniture} closed.",
                "the {thing} {place}, please, and do not leave the {furniture} open.",
                "would you set the {thing} {place} and close the {furniture} after it?",
                "{place} goes the {thing}; then close it.",
                "all I ask: the {thing} {place}, and the {furniture} closed.",
                "the {thing}? {place}, and close the {furniture}.",
                "{place} I need the {thing}; do not leave it open.",
                "move the {thing}, so that it is {place}, and close that {furniture}.",
            ),
            "switch": (
                "{deed} the {furniture} in the {room}.",
                "please {deed} the {furniture} in the {room}.",
                "the {furniture} in the {room} has to be {state}.",
                "I would like the {furniture} in the {room} to be {state}.",
                "can you go to the {room} and {deed} the {furniture}?",
                "look for the {furniture} in the {room}; it is to be {state}.",
                "I want the {furniture} {state}, the one in the {room}.",
                "see to it that the {furniture} in the {room} is {state}.",
                "go to the {room} and {deed} the {furniture}.",
                "{state} is what the {furniture} in the {room} should be.",
                "when you are done, the {furniture} in the {room} is {state}.",
                "would you {deed} the {furniture} in the {room}?",
                "the {furniture}, the one in the {room}, is to be {state}.",
                "I need the {furniture} in the {room} {state}.",
                "is the {furniture} in the {room} {state}? If not, see to it.",
                "in the {room} there is a {furniture}, which is to be {state}.",
                "all I ask: the {furniture} in the {room} {state}.",
                "the {furniture}? It is to be {state}, in the {room}.",
            ),
        },
        "test": {
            "put": (
                "make sure the {thing} ends up {place}.",
                "{place} is where I want the {thing}.",
                "could the {thing} please go {place}?",
                "what should be {place} is the {thing}.",
            ),
            "treat": (
                "make sure a {state} {thing} ends up {place}.",
                "{place} is where I want the {thing}, {state}.",
                "could you {deed} the {thing} so that it can go {place}?",
                "what should be {place} is a {state} {thing}.",
            ),
            "two": (
                "make sure the {thing} ends up {place} together with the {other}.",
                "{place} is where I want the {thing} and also the {other}.",
                "could the {thing} and the {other} please go {place}?",
                "what should be {place}: the {thing} and the {other}.",
            ),
            "close": (
                "make sure the {thing} ends up {place} and that the {furniture} is closed.",
                "{place} is where I want the {thing}; close the {furniture} when it is there.",
                "could the {thing} please go {place}, and then close it?",
            ),
            "switch": (
                "make sure the {furniture} in the {room} is {state}.",
                "could you {deed} the {furniture} that is in the {room}?",
                "in the {room}, the {furniture} should be {state}.",
            ),
        },
    },
    "zh": {
        "train": {
            "put": (
                "把{thing}放到{place}。",
                "请把{thing}放到{place}。",
                "{thing}应该放在{place}。",
                "我想要{thing}在{place}。",
                "你能找到{thing}，再放到{place}吗？",
                "找一找{thing}，放到{place}去。",
                "有人乱放了{thing}，它的位置是{place}。",
                "把{thing}带到{room}，留在{place}。",
                "我需要{thing}，让它在{place}。",
                "你的任务是把{thing}送到{place}。",
                "{place}：把{thing}放在那儿。",
                "{place}应该有{thing}。",
                "{thing}的地方是{place}。",
                "{thing}在{place}吗？不在就放过去。",
                "{place}少了{thing}。",
                "挪一下{thing}，让它在{place}。",
                "要保证{thing}在{place}。",
                "拿上{thing}，送去{room}，放在{place}。",
                "做完以后，{thing}在{place}。",
                "我只要一件事：{thing}在{place}。",
                "帮我拿来{thing}，摆在{place}。",
                "{thing}收在{place}。",
                "{thing}呢？请放{place}。",
                "{place}要放{thing}。",
            ),
            "treat": (
                "把{thing}{deed}，放到{place}。",
                "请先{deed}{thing}，再放到{place}。",
                "把一个{state}的{thing}放到{place}。",
                "我想要{thing}是{state}的，在{place}。",
                "先{deed}{thing}，然后它应该在{place}。",
                "{thing}要变{state}了，才能放到{place}。",
                "你能找到{thing}，{deed}，再放到{place}吗？",
                "找一找{thing}，让它变{state}，留在{place}。",
                "我需要{place}有一个{state}的{thing}。",
                "你的任务是{deed}{thing}，送到{place}。",
                "{place}我要一个{state}的{thing}。",
                "{place}：请放一个{state}的{thing}。",
                "{deed}{thing}，{place}是它的位置。",
                "要保证{thing}是{state}的，而且在{place}。",
                "{thing}是{state}的吗？{deed}，收在{place}。",
                "{thing}应该是{state}的，再摆在{place}。",
                "{place}只能有{state}的{thing}，你来办。",
                "拿上{thing}，{deed}，送去{room}，摆在{place}。",
                "做完以后，{state}的{thing}在{place}。",
                "帮我{deed}{thing}，摆在{place}。",
                "先{deed}它，就是{thing}，再收在{place}。",
                "{place}要放{thing}，可是要{state}的。",
                "我只要一件事：{state}的{thing}在{place}。",
                "{thing}呢？{deed}，然后放{place}。",
            ),
            "two": (
                "把{thing}和{other}放到{place}。",
                "请把{thing}和{other}都放到{place}。",
                "{thing}应该放在{place}，{other}也是。",
                "我想要{thing}和{other}都在{place}。",
                "你能找到{thing}和{other}，再放到{place}吗？",
                "找一找{thing}和{other}，都放到{place}去。",
                "把{thing}带到{room}，留在{place}，然后是{other}。",
                "我需要{place}有两样东西：{thing}和{other}。",
                "{place}：把{thing}放在那儿，还有{other}。",
                "{thing}、{other}：都应该在{place}。",
                "要保证{thing}和{other}在{place}。",
                "拿上{thing}，再拿{other}，送去{room}，摆在{place}。",
                "做完以后，{thing}和{other}在{place}。",
                "{thing}收在{place}，连同{other}。",
                "先{thing}，再{other}：都放{place}。",
                "帮我把{thing}摆在{place}，{other}也摆去。",
                "{place}我要{thing}和{other}。",
                "{place}应该有{thing}和{other}。",
                "{place}要放{thing}和{other}。",
                "我只要一件事：{thing}和{other}在{place}。",
            ),
            "close": (
                "把{thing}放到{place}，再关上。",
                "请把{thing}放到{place}，然后关上{furniture}。",
                "{thing}应该放在{place}，{furniture}要关上。",
                "我想要{thing}在{place}，{furniture}要关着。",
                "你能找到{thing}，放到{place}，再关上{furniture}吗？",
                "把{thing}带到{room}，留在{place}，最后关上它。",
                "我需要{thing}在{place}，{furniture}关上。",
                "{place}：把{thing}放在那儿，再关上{furniture}。",
                "{thing}收在{place}，{furniture}得关上。",
                "要保证{thing}在{place}，{furniture}关着。",
                "{thing}在{place}了，就关上{furniture}。",
                "做完以后，{thing}在{place}，{furniture}关着。",
                "{thing}请放{place}，别让{furniture}开着。",
                "帮我把{thing}摆在{place}，随后关上{furniture}。",
                "{place}要放{thing}，再关上它。",
                "我只要一件事：{thing}在{place}，{furniture}关着。",
                "{thing}呢？放{place}，关上{furniture}。",
                "{place}我要{thing}，别让它开着。",
                "挪一下{thing}，让它在{place}，关上那个{furniture}。",
            ),
            "switch": (
                "{deed}{room}的{furniture}。",
                "请{deed}{room}的{furniture}。",
                "{room}的{furniture}要{state}着。",
                "我想要{room}的{furniture}{state}着。",
                "你能去{room}{deed}{furniture}吗？",
                "找一找{room}的{furniture}，{deed}它。",
                "我需要{furniture}{state}着，在{room}的那个。",
                "要保证{room}的{furniture}{state}着。",
                "去{room}，{deed}{furniture}。",
                "{deed}它：{room}的{furniture}。",
                "做完以后，{room}的{furniture}{state}着。",
                "帮我{deed}{room}的{furniture}。",
                "{furniture}，{room}的那个：{deed}它。",
                "我要{room}的{furniture}{state}着。",
                "{room}的{furniture}{state}着吗？不是就{deed}它。",
                "{room}里有{furniture}，{deed}它。",
                "我只要一件事：{room}的{furniture}{state}着。",
                "{furniture}呢？{deed}它，在{room}。",
            ),
        },
        "test": {
            "put": (
                "务必让{thing}最后在{place}。",
                "{place}才是我要放{thing}的地方。",
                "麻烦让{thing}到{place}去好吗？",
                "该在{place}的东西是{thing}。",
            ),
            "treat": (
                "务必让{state}的{thing}最后在{place}。",
                "{place}才是我要放{thing}的地方，而且要{state}。",
                "麻烦你{deed}{thing}，好放到{place}去。",
                "该在{place}的东西是{state}的{thing}。",
            ),
            "two": (
                "务必让{thing}同{other}最后在{place}。",
                "{place}才是我要放{thing}还有{other}的地方。",
                "麻烦让{thing}和{other}到{place}去好吗？",
                "该在{place}的东西是{thing}和{other}。",
            ),
            "close": (
                "务必让{thing}最后在{place}，{furniture}也关上。",
                "{place}才是我要放{thing}的地方，放好就关上{furniture}。",
                "麻烦让{thing}到{place}去，再关上它好吗？",
            ),
            "switch": (
                "务必让{room}的{furniture}{state}着。",
                "麻烦你{deed}在{room}的{furniture}好吗？",
                "在{room}，{furniture}该{state}着。",
            ),
        },
    },
}


def num_phrasings(part: Part, kind: str) -> int:
    """How many ways there are to put a goal of a kind."""
    around = len(OPENERS["en"]) * len(CLOSERS["en"]) if part == "train" else 1
    return len(GOALS["en"][part][kind]) * around


def phrased(language: str, part: Part, kind: str, number: int, words: Mapping[str, str]) -> str:
    """One of the ways, with these words in the gaps."""
    sentences, openers, closers = GOALS[language][part][kind], OPENERS[language], CLOSERS[language]
    around, number = divmod(number, len(sentences))
    text = sentences[number].format(**words)
    if part == "test":
        return _capital(text)
    opener, closer = openers[around % len(openers)], closers[around // len(openers) % len(closers)]
    if around % len(openers) == 0:
        opener = nonsense(language, random.Random(around)) + (" " if language == "en" else "")
    begins = not opener or opener.rstrip()[-1] in ".!"
    return _capital(opener) + (_capital(text) if begins else text) + _capital(closer)


def _capital(text: str) -> str:
    """The text with its first letter large."""
    blanks = len(text) - len(text.lstrip())
    return text[: blanks + 1].upper() + text[blanks + 1 :]
