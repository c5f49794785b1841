"""Sheets that no threshold of retrieval was chosen on: other things, places, facts and wordings than `worlds.reading` has.

Every name, wording and everyday question below belongs by a hash of its letters to one of two halves. Whoever changes how
passages are ranked or judged looks at the development half; the held-out half is for the figure that is reported after.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from jielong.runs import derive_seed
from jielong.worlds.reading import FACTS_PER_SHEET, LANGS, Place, Sheet, invented_place, real_places

HALVES = ("development", "held out")
SEEN_PLACES = 50
"""So many of the real places, from the largest on, the thresholds were chosen on."""

_KINDS = {
    "observatory": "天文台", "castle": "城堡", "bookshop": "书店", "aquarium": "水族馆", "brewery": "啤酒厂",
    "windmill": "风车", "vineyard": "葡萄园", "monastery": "修道院", "swimming pool": "游泳池", "railway station": "火车站",
    "post office": "邮局", "pharmacy": "药房", "fire station": "消防站", "sawmill": "锯木厂", "shipyard": "造船厂",
    "cable car": "缆车", "ice rink": "溜冰场", "quarry": "采石场", "dam": "水坝", "harbour": "港口", "tea house": "茶馆",
    "dairy": "乳品厂", "orchard": "果园", "planetarium": "天象馆", "concert hall": "音乐厅", "fountain": "喷泉",
    "clock tower": "钟楼", "cave": "洞穴", "printing house": "印刷厂", "weather station": "气象站", "kindergarten": "幼儿园",
    "university": "大学", "bathhouse": "澡堂", "tannery": "制革厂", "glassworks": "玻璃厂", "pottery": "陶器坊",
    "canal": "运河", "racecourse": "赛马场", "greenhouse": "温室", "embassy": "大使馆",
}  # fmt: skip
_NAMED = {
    "director": "主任", "gardener": "园丁", "guard": "守卫", "accountant": "会计", "sculptor": "雕塑家", "inspector": "检查员",
    "doctor": "医生", "translator": "翻译", "owner": "主人", "singer": "歌手", "carpenter": "木匠", "photographer": "摄影师",
}  # fmt: skip
_NUMBERED = {
    "closing year": "关闭年份", "window count": "窗户数", "ticket price": "票价", "lamp count": "灯数",
    "phone extension": "分机号", "number of visitors": "访客人数",
}  # fmt: skip
_RELATIONS = {**_NAMED, **_NUMBERED}

_STATEMENTS = {
    "en": (
        "The {relation} of {subject} is {value}.",
        "{value} is the {relation} of {subject}.",
        "For {subject}, the list gives {value} as the {relation}.",
        "As to the {relation} of {subject}: {value}.",
        "In the records of {subject}, the {relation} is {value}.",
        "{subject} has {value} as its {relation}.",
    ),
    "zh": (
        "{subject}的{relation}是{value}。",
        "{value}是{subject}的{relation}。",
        "据记载，{subject}的{relation}为{value}。",
        "说到{subject}的{relation}，那就是{value}。",
        "{subject}以{value}为{relation}。",
        "在{subject}的档案里，{relation}写的是{value}。",
    ),
}
_WORDINGS = {
    "en": (
        "Do you happen to know the {relation} of {subject}?",
        "Which {relation} does {subject} have?",
        "Please look up the {relation} of {subject} for me.",
        "What do the papers give as {subject}'s {relation}?",
        "I forgot the {relation} of {subject}, can you help?",
        "About {subject}: what is its {relation}?",
        "My friend asked me about the {relation} of {subject}.",
        "Does anybody know what the {relation} of {subject} is?",
        "Find the {relation} of {subject}, please.",
        "{subject} must have a {relation}; which one is it?",
    ),
    "zh": (
        "请帮我查一下{subject}的{relation}。",
        "{subject}的{relation}你还记得吗？",
        "关于{subject}，它的{relation}是什么？",
        "有人问我{subject}的{relation}，该怎么回答？",
        "资料里写的{subject}的{relation}是什么？",
        "我忘了{subject}的{relation}，帮帮我。",
        "找一找{subject}的{relation}。",
        "说说{subject}的{relation}吧。",
        "朋友想知道{subject}的{relation}。",
        "{subject}应该有{relation}，是什么呢？",
    ),
}
# The same question in both languages; half of them share words with the wordings above.
_EVERYDAY = (
    ("How long do I cook rice?", "米饭要煮多久？"), ("Who composed the Moonlight Sonata?", "月光奏鸣曲是谁作曲的？"),
    ("Please look up how to remove a coffee stain.", "请帮我查一下怎样去掉咖啡渍。"), ("What is 17 times 23?", "17乘23等于多少？"),
    ("Do you happen to know why cats purr?", "你知道猫为什么打呼噜吗？"), ("Write a birthday wish.", "写一句生日祝福。"),
    ("I forgot how to reset my password, can you help?", "我忘了怎样重设密码，帮帮我。"), ("Why do leaves turn red?", "树叶为什么会变红？"),
    ("My friend asked me about the meaning of inflation.", "有人问我通货膨胀的意思，该怎么回答？"), ("Tell me a joke.", "讲个笑话。"),
    ("Find the shortest way to learn the piano, please.", "找一找学钢琴的捷径。"), ("How deep is the ocean?", "海洋有多深？"),
    ("Does anybody know what the speed of sound is?", "有谁知道声音的速度是多少？"), ("How do magnets work?", "磁铁是怎样工作的？"),
    ("About sleep: what is its purpose?", "关于睡眠，它的作用是什么？"), ("What should I pack for a hike?", "去远足该带什么？"),
    ("Which colour does copper have when it burns?", "铜燃烧时是什么颜色？"), ("How do I change a flat tyre?", "怎样换轮胎？"),
    ("What do the rules of football say about offside?", "足球规则里写的越位是什么？"), ("Is a tomato a fruit?", "番茄是水果吗？"),
    ("Please look up the recipe of pancakes for me.", "请帮我查一下煎饼的做法。"), ("How do I stop hiccups?", "怎样止住打嗝？"),
    ("Do you happen to know the formula of salt?", "你知道食盐的化学式吗？"), ("Who invented the telephone?", "电话是谁发明的？"),
    ("My friend wants to know how to save money.", "朋友想知道怎样存钱。"), ("What causes an earthquake?", "地震是怎样发生的？"),
    ("Find a rhyme for winter, please.", "找一找和冬天押韵的词。"), ("How many bones has a grown person?", "成年人有多少块骨头？"),
    ("I forgot the plural of goose, can you help?", "我忘了鹅的英文复数，帮帮我。"), ("Why is the sea salty?", "海水为什么是咸的？"),
    ("Tell me about the use of commas.", "说说逗号的用法吧。"), ("How do I write a letter of complaint?", "怎样写投诉信？"),
    ("Does anybody know what a black hole is?", "有谁知道黑洞是什么？"), ("What is good against a cold?", "感冒了怎么办？"),
    ("Which instrument has four strings?", "哪种乐器有四根弦？"), ("Can dogs eat chocolate?", "狗可以吃巧克力吗？"),
    ("About chess: how does the knight move?", "关于象棋，马是怎样走的？"), ("How is paper made?", "纸是怎样做成的？"),
    ("What do dictionaries give as the opposite of brave?", "词典里写的勇敢的反义词是什么？"), ("When is spring?", "春天从哪天开始？"),
    ("Do you happen to know how vinegar is made?", "你知道醋是怎样做的吗？"), ("How do I sharpen a knife?", "怎样磨刀？"),
    ("Please look up the boiling point of alcohol.", "请帮我查一下酒精的沸点。"), ("Why do we yawn?", "人为什么会打哈欠？"),
    ("Find three names for a puppy, please.", "找一找适合小狗的三个名字。"), ("What is a sonnet?", "什么是十四行诗？"),
    ("My friend asked me about the price of gold.", "有人问我黄金的价格，该怎么回答？"), ("How do I get rid of ants?", "怎样赶走蚂蚁？"),
    ("I forgot the third law of motion, can you help?", "我忘了运动第三定律，帮帮我。"), ("Recommend me a film.", "推荐一部电影。"),
    ("Tell me about the history of tea.", "说说茶的历史吧。"), ("How do airplanes fly?", "飞机为什么能飞？"),
)  # fmt: skip


def half_of(name: str) -> str:
    """The half that a name, a wording or a question belongs to, whatever the seed."""
    return HALVES[derive_seed(0, "retrieval", "half", name) % 2]


def of_half(names: Iterable[str], half: str) -> list[str]:
    return [name for name in names if half_of(name) == half]


@dataclass(frozen=True)
class UnseenSheet(Sheet):
    """A sheet about one of the things here, its statements in the wordings `said`, one for each fact."""

    said: tuple[str, ...]

    @property
    def text(self) -> str:
        filled = [
            form.format(value=value, relation=_relation(relation, self.lang), subject=self._subject(self.lang))
            for form, (relation, value) in zip(self.said, self.facts, strict=True)
        ]
        return (" " if self.lang == "en" else "").join(text[:1].upper() + text[1:] for text in filled)

    def question(self, relation: str, lang: str, part: str, rng: random.Random) -> str:
        """Asks for `relation` in one of the wordings of the half `part`."""
        form = rng.choice(of_half(_WORDINGS[lang], part))
        text = form.format(relation=_relation(relation, lang), subject=self._subject(lang))
        return text[:1].upper() + text[1:]

    def _subject(self, lang: str) -> str:
        return self.place.zh + _KINDS[self.kind] if lang == "zh" else f"the {self.place.en} {self.kind}"


def _relation(name: str, lang: str) -> str:
    return _RELATIONS[name] if lang == "zh" else name


def unseen_places(half: str) -> list[Place]:
    """The real places of a half, those with most people first."""
    return [place for place in real_places()[SEEN_PLACES:] if half_of(place.en) == half]


def unseen_sheets(places: Sequence[Place], half: str, seed: int) -> list[Sheet]:
    """A sheet for each place and each kind of the half, half of them in each language."""
    rng = random.Random(derive_seed(seed, "retrieval", "sheets", half))
    relations, forms = of_half(_RELATIONS, half), {lang: of_half(_STATEMENTS[lang], half) for lang in LANGS}
    sheets: list[Sheet] = []
    for place in places:
        for kind in of_half(_KINDS, half):
            lang = rng.choice(LANGS)
            facts = [(name, _value(name, lang, rng)) for name in rng.sample(relations, FACTS_PER_SHEET)]
            said = tuple(rng.choice(forms[lang]) for _ in facts)
            sheets.append(UnseenSheet(place, kind, lang, tuple(facts), said))
    return sheets


def _value(relation: str, lang: str, rng: random.Random) -> str:
    if relation in _NAMED:
        return str(getattr(invented_place("test", rng), lang))
    return str(rng.randrange(100, 2100))


def everyday(half: str) -> dict[str, tuple[str, ...]]:
    """Questions of a half that no sheet answers, by language."""
    chosen = [pair for pair in _EVERYDAY if half_of(pair[0]) == half]
    return {"en": tuple(en for en, _ in chosen), "zh": tuple(zh for _, zh in chosen)}
