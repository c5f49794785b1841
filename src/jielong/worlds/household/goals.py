"""Sentences for goals, in English and Chinese: the same kinds, as many sentences.

{place} is "on the shelf in the bedroom"; {deed} is "clean", "heat" or "cool", and {state} is "clean", "hot" or "cold",
or how a device is to be. A goal of the training part is one of many sentences between an opener and a closer that mean
nothing, or only the words that matter, in any order and strewn with small words that do not, so that a goal is
understood by its words and not by its form; the sentences of the test part stand alone, and are none of those.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

from jielong.worlds.household.things import Part
from jielong.worlds.nonsense import nonsense

OPENERS: dict[str, tuple[str, ...]] = {
    "en": (*[""] * 4, "hello. ", "please: ", "now, ", "listen: ", "one more thing: ", "it is late. ", "guests are coming. ",
           "I am tired today. ", "what a mess! ", "there is something to do: ", "if you have time: ", "I have a wish: ",
           "please, ", "kindly ", "do not forget: ", "without fail, ", "at last ", "it would be nice: ", "you know, ",
           "tidy up a little: "),
    "zh": (*[""] * 4, "你好。", "拜托", "劳驾", "听我说：", "还有一件事，", "天晚了。", "客人要来了。",
           "我今天累了。", "真乱！", "有一件事要做：", "有空的话：", "我有一个愿望：",
           "麻烦你，", "务必", "一定要", "最好", "最后", "别忘了，", "应当",
           "收拾一下："),
}  # fmt: skip
CLOSERS: dict[str, tuple[str, ...]] = {
    "en": ("", "", "", " thank you.", " that is all.", " take your time.", " I will be back soon.", " nothing else.",
           " all right?", " will you?", " is that possible?", " do it now."),
    "zh": ("", "", "", "谢谢。", "就这些。", "慢慢来。", "我马上回来。", "没有别的了。",
           "好吗？", "行吗？", "可以吗？", "现在就办。"),
}  # fmt: skip

SMALL_WORDS: dict[str, tuple[str, ...]] = {
    "en": tuple(
        "a about after again all also always am an and any are as at away back be because been before best better "
        "both but by can come could day do does done down each else end even ever every find first for from get "
        "give go goes good got had has have he help her here him his home how I if into is it just keep know last "
        "later least leave left let lies like little long look made make many may me might mind more most much "
        "must my need never new next no now of once one only or other our out over own part place please quite "
        "ready really right said same say see seem she should show so some soon stay still such sure take than "
        "that their them then there these they think this those time to today together too under until up us very "
        "want was way we well were what when where which while who why will wish with work would yes yet you your".split()
    ),
    "zh": tuple(
        "的 了 是 我 你 要 让 使 请 把 被 给 去 来 到 也 都 就 才 又 再 还 该 应 应当 应该 得 需 需要 务必 一定 "
        "必须 最好 最后 最终 终于 马上 现在 今天 以后 然后 接着 先 好 好吗 行 吗 吧 呢 啊 麻烦 劳驾 帮 帮我 替 "
        "替我 有 没有 想 想要 希望 愿意 能 能够 可以 可 会 而 而且 并 并且 和 同 跟 与 或 连 这 那 这个 那个 它 他 "
        "她 东西 地方 位置 时候 事 一件 一下 一点 只 只有 不 别 很 太 真 更 为 为了 因为 所以 如果 但 可是 放 放着 "
        "搁 摆 送 拿 取 找 弄 做 叫 留 等 待 回 过 起 上去 下来 出来 进去 里面 那儿 这儿 哪儿 什么 怎么 记得 知道 "
        "看 说 完 成 后 前".split()
    ),
}
"""Words that say nothing of what is wanted, to be strewn between those that do."""

WORDS_THAT_MATTER: dict[str, dict[str, tuple[tuple[str, ...], ...]]] = {
    "en": {
        "put": (("the {thing}", "{place}"), ("{thing}", "{place}"), ("the {thing}", "the {room}", "{place}")),
        "treat": (
            ("a {state} {thing}", "{place}"),
            ("the {state} {thing}", "{place}"),
            ("{deed} the {thing}", "{place}"),
            ("the {thing}", "{state}", "{place}"),
            ("the {thing}", "{deed} it", "{place}"),
        ),
        "two": (("the {thing}", "the {other}", "{place}"), ("{thing} and {other}", "{place}")),
        "close": (
            ("the {thing}", "{place}", "close it"),
            ("the {thing}", "{place}", "close the {furniture}"),
            ("the {thing}", "{place}", "the {furniture} closed"),
            ("{place}", "the {thing}", "closed"),
        ),
        "switch": (
            ("{deed} the {furniture}", "in the {room}"),
            ("the {furniture}", "in the {room}", "{state}"),
            ("the {furniture} in the {room}", "{state}"),
            ("the {furniture} in the {room}", "{deed} it"),
        ),
    },
    "zh": {
        "put": (("{thing}", "{place}"), ("这{thing}", "{place}"), ("{thing}", "{room}", "{place}")),
        "treat": (
            ("{state}的{thing}", "{place}"),
            ("一个{state}的{thing}", "{place}"),
            ("{deed}{thing}", "{place}"),
            ("{thing}", "{state}", "{place}"),
            ("{thing}", "{deed}", "{place}"),
        ),
        "two": (("{thing}", "{other}", "{place}"), ("{thing}和{other}", "{place}")),
        "close": (
            ("{thing}", "{place}", "关上它"),
            ("{thing}", "{place}", "关上{furniture}"),
            ("{thing}", "{place}", "{furniture}关着"),
            ("{place}", "{thing}", "关上"),
        ),
        "switch": (
            ("{deed}{furniture}", "在{room}"),
            ("{furniture}", "在{room}", "{state}着"),
            ("{room}的{furniture}", "{state}着"),
            ("{room}的{furniture}", "{deed}"),
        ),
    },
}
"""What a goal cannot be understood without, by kind: each way is a few parts that may stand in any order, two things in theirs."""

GOALS: dict[str, dict[str, dict[str, tuple[str, ...]]]] = {
    "en": {
        "train": {
            "put": (
                "let the {thing} find its way {place}.",
                "{place}, not elsewhere, I want to see the {thing}.",
                "the {thing} must be {place} in the end.",
                "may the {thing} be {place}?",
                "have the {thing} {place}.",
                "I wish that the {thing} were {place}.",
                "nothing but the {thing} is missing {place}.",
                "do not stop before the {thing} is {place}.",
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
                "let the {thing} be {state} and find its way {place}.",
                "{place}, not elsewhere, I want to see a {state} {thing}.",
                "the {thing} must be {state} and {place} in the end.",
                "may a {state} {thing} be {place}?",
                "have the {thing} {place}, but {deed} it before.",
                "I wish that a {state} {thing} were {place}.",
                "nothing but a {state} {thing} is missing {place}.",
                "do not stop before the {thing}, {state}, is {place}.",
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
                "let the {thing} and the {other} find their way {place}.",
                "{place}, not elsewhere, I want to see the {thing} with the {other}.",
                "the {thing} and the {other} must be {place} in the end.",
                "may the {thing} be {place}, and the {other} as well?",
                "have the {thing} and also the {other} {place}.",
                "do not stop before the {thing} and the {other} are {place}.",
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
                "let the {thing} find its way {place}, and let the {furniture} be closed.",
                "{place}, not elsewhere, I want to see the {thing}; then close the {furniture}.",
                "the {thing} must be {place} in the end, and the {furniture} is closed.",
                "may the {thing} be {place}? Close it then.",
                "have the {thing} {place} and the {furniture} closed.",
                "do not stop before the {thing} is {place} and the {furniture} is closed.",
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
                "let the {furniture} in the {room} be {state}.",
                "{state}: so I want the {furniture} in the {room}.",
                "the {furniture} in the {room} must be {state} in the end.",
                "may the {furniture} in the {room} be {state}?",
                "have the {furniture} in the {room} {state}.",
                "do not stop before the {furniture} in the {room} is {state}.",
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
                "让{thing}待在{place}。",
                "请你让{thing}去{place}，别的不用管。",
                "最后{thing}要摆在{place}。",
                "{thing}能不能放{place}？",
                "使{thing}回到{place}。",
                "我希望{place}放着{thing}。",
                "{place}就缺{thing}了。",
                "应当在{place}看见{thing}。",
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
                "让{thing}变{state}，待在{place}。",
                "请你{deed}{thing}，让它去{place}。",
                "最后{place}要摆着{state}的{thing}。",
                "{state}的{thing}能不能放{place}？",
                "使{thing}{state}，再送回{place}。",
                "我希望{place}放着{thing}，要{state}的。",
                "{place}就缺一个{state}的{thing}了。",
                "{thing}应当{state}，并且摆到{place}。",
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
                "让{thing}和{other}待在{place}。",
                "请你让{thing}跟{other}去{place}，别的不用管。",
                "最后{thing}与{other}要摆在{place}。",
                "{thing}还有{other}能不能放{place}？",
                "使{thing}同{other}一起回到{place}。",
                "应当在{place}看见{thing}，也看见{other}。",
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
                "让{thing}待在{place}，也让{furniture}关上。",
                "请你让{thing}去{place}，再把{furniture}关上。",
                "最后{thing}要摆在{place}，{furniture}也关着。",
                "{thing}能不能放{place}？然后关上它。",
                "使{thing}回到{place}，把{furniture}关好，要关上。",
                "应当在{place}放好{thing}，就关上{furniture}。",
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
                "让{room}的{furniture}{state}着。",
                "请你{deed}{furniture}，{room}里的那个。",
                "最后{room}的{furniture}要{state}着。",
                "{room}的{furniture}能不能{state}着？",
                "使{room}的{furniture}一直{state}着。",
                "{room}里，{furniture}应当{state}着。",
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
    """Return the number of ways to phrase a goal of a kind; in the training part, of numbers to draw one with."""
    return len(GOALS["en"]["test"][kind]) if part == "test" else 1 << 32


def phrase_goal(language: str, part: Part, kind: str, number: int, words: Mapping[str, str]) -> str:
    """Phrase a goal in one of the ways, with these words in the gaps."""
    if part == "test":
        return _capital(GOALS[language]["test"][kind][number].format(**words))
    rng = random.Random(number)
    if rng.random() < STREWN:
        return _scatter_words(language, kind, words, rng)
    text = rng.choice(GOALS[language]["train"][kind]).format(**words)
    opener, closer = rng.choice(OPENERS[language]), rng.choice(CLOSERS[language])
    if rng.random() < 0.1:
        opener = nonsense(language, rng) + ("," if rng.random() < 0.5 else "") + (" " if language == "en" else "")
    begins = not opener or opener.rstrip()[-1] in ".!"
    return _capital(opener) + (_capital(text) if begins else text) + _capital(closer)


STREWN = 0.4
"""So many goals of the training part are only words that matter, strewn with small ones."""


def _scatter_words(language: str, kind: str, words: Mapping[str, str], rng: random.Random) -> str:
    """Write the words that matter, two things in their order, with none to four small words, or nonsense, in between."""
    parts = list(rng.choice(WORDS_THAT_MATTER[language][kind]))
    shuffled = rng.sample(parts, len(parts))
    if kind == "two" and len(parts) == 3:
        first, second = sorted(shuffled.index(part) for part in parts[:2])
        shuffled[first], shuffled[second] = parts[:2]
    blank, comma = (" ", ",") if language == "en" else ("", "，")

    def between() -> str:
        """Draw small words or nonsense to stand between two words."""
        found = [rng.choice(SMALL_WORDS[language]) for _ in range(rng.choice((0, 0, 1, 1, 2, 2, 3, 4)))]
        if rng.random() < 0.1:
            found.append(nonsense(language, rng) + comma)
        elif rng.random() < 0.15:
            found.append(comma)
        return blank.join(found)

    text = blank.join(between() + blank + part.format(**words) for part in shuffled) + blank + between()
    text = " ".join(text.split()).replace(" ,", ",").strip("，, ")
    return _capital(text) + rng.choice(("", ".", ".", "?") if language == "en" else ("", "。", "。", "？"))


def _capital(text: str) -> str:
    """Return the text with its first letter in upper case."""
    blanks = len(text) - len(text.lstrip())
    return text[: blanks + 1].upper() + text[blanks + 1 :]
