"""What a household is made of: rooms, furniture, things and devices, each with its English and Chinese name.

A kind says what can be done: a container opens and closes, a basin cleans, a stove heats; dishes, food and clothes can be
treated, other things only carried. Some things never occur in the training part, and things with made-up names never
occur in the test part: who has learned the names by heart instead of reading them is found out.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

from jielong.worlds.nonsense import any_word

LANGUAGES = ("en", "zh")

Part = Literal["train", "test"]

CLEAN, HEAT, COOL = "clean", "heat", "cool"


@dataclass(frozen=True)
class Named:
    """A name in each language."""

    en: str
    zh: str

    def name(self, language: str) -> str:
        return self.zh if language == "zh" else self.en


@dataclass(frozen=True)
class FurnitureKind(Named):
    """What things lie on or in. `does` is what it does to a thing in the hand (clean, heat, cool)."""

    is_inside: bool = False
    """Things are in it, not on it."""
    opens: bool = False
    does: str = ""
    is_device: bool = False
    """It is switched on and off, and holds nothing."""


@dataclass(frozen=True)
class ThingKind(Named):
    """What can be carried; `takes` are the treatments that make sense for it."""

    takes: tuple[str, ...] = ()


def _surface(en: str, zh: str) -> FurnitureKind:
    return FurnitureKind(en, zh)


def _container(en: str, zh: str, does: str = "") -> FurnitureKind:
    return FurnitureKind(en, zh, is_inside=True, opens=True, does=does)


def _basin(en: str, zh: str) -> FurnitureKind:
    return FurnitureKind(en, zh, is_inside=True, does=CLEAN)


def _device(en: str, zh: str) -> FurnitureKind:
    return FurnitureKind(en, zh, is_device=True)


FURNITURE: dict[str, FurnitureKind] = {
    kind.en: kind
    for kind in (
        *(
            _surface(*names)
            for names in (
                ("table", "桌子"),
                ("shelf", "架子"),
                ("counter", "台面"),
                ("desk", "书桌"),
                ("bed", "床"),
                ("sofa", "沙发"),
                ("chair", "椅子"),
                ("bench", "长凳"),
                ("rack", "挂架"),
                ("windowsill", "窗台"),
            )
        ),
        *(
            _container(*names)
            for names in (
                ("cupboard", "橱柜"),
                ("drawer", "抽屉"),
                ("wardrobe", "衣柜"),
                ("chest", "木箱"),
                ("cabinet", "柜子"),
            )
        ),
        _container("fridge", "冰箱", COOL),
        _container("freezer", "冰柜", COOL),
        _container("oven", "烤箱", HEAT),
        _container("microwave", "微波炉", HEAT),
        FurnitureKind("stove", "炉灶", does=HEAT),
        _basin("sink", "水槽"),
        _basin("bathtub", "浴缸"),
        *(
            _device(*names)
            for names in (
                ("lamp", "台灯"),
                ("radio", "收音机"),
                ("fan", "风扇"),
                ("television", "电视"),
                ("heater", "暖炉"),
            )
        ),
    )
}

ROOMS: dict[str, Named] = {
    room.en: room
    for room in (
        Named("kitchen", "厨房"),
        Named("living room", "客厅"),
        Named("bedroom", "卧室"),
        Named("bathroom", "浴室"),
        Named("study", "书房"),
        Named("hall", "走廊"),
        Named("cellar", "地窖"),
        Named("attic", "阁楼"),
        Named("workshop", "工坊"),
        Named("nursery", "儿童房"),
    )
}

_DISH, _FOOD, _CLOTH = (CLEAN, HEAT, COOL), (HEAT, COOL), (CLEAN,)


def _kinds(takes: tuple[str, ...], names: str) -> list[ThingKind]:
    pairs = (pair.split("=") for pair in names.split(", "))
    return [ThingKind(en, zh, takes) for en, zh in pairs]


THINGS: dict[str, ThingKind] = {
    kind.en: kind
    for kind in (
        *_kinds(_DISH, "cup=杯子, plate=盘子, bowl=碗, pan=平底锅, pot=汤锅, mug=马克杯, jug=水壶, glass=玻璃杯"),
        *_kinds(_DISH, "spoon=勺子, fork=叉子, teapot=茶壶, vase=花瓶, tray=托盘, ladle=长柄勺, saucer=茶碟"),
        *_kinds(
            _FOOD, "apple=苹果, potato=土豆, tomato=番茄, egg=鸡蛋, pear=梨, carrot=胡萝卜, bread=面包, peach=桃子"
        ),
        *_kinds(_FOOD, "onion=洋葱, corn=玉米, pumpkin=南瓜, sausage=香肠, melon=甜瓜, plum=李子, turnip=芜菁"),
        *_kinds(_CLOTH, "shirt=衬衫, towel=毛巾, sock=袜子, scarf=围巾, hat=帽子, cloth=抹布, glove=手套, apron=围裙"),
        *_kinds(_CLOTH, "blanket=毯子, pillow=枕头, jacket=夹克"),
        *_kinds((), "book=书, key=钥匙, pen=钢笔, candle=蜡烛, clock=时钟, letter=信, coin=硬币, ball=皮球, comb=梳子"),
        *_kinds((), "newspaper=报纸, basket=篮子, hammer=锤子, mirror=镜子, doll=娃娃, violin=小提琴, map=地图"),
    )
}

HELD_OUT = frozenset(
    "mug ladle saucer teapot peach melon turnip corn glove apron jacket hammer comb violin map doll".split()
)
"""Things of the test part alone."""

_SYLLABLES = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "an", "el", "or")]
_HAN = "云石木花星月山水风雨金银青白红黑长圆方小大古新竹松海河铃草叶珠丝盒片条球环管板架刀针线"


def things_of(part: Part) -> list[ThingKind]:
    """The real things that occur in a part: in the test part all, the held-out ones among them."""
    return [kind for name, kind in THINGS.items() if part == "test" or name not in HELD_OUT]


_TAKEN = {name for kinds in (THINGS, FURNITURE, ROOMS) for kind in kinds.values() for name in (kind.en, kind.zh)}
_LEARNED = things_of("train")


def made_up_thing(rng: random.Random) -> ThingKind:
    """A thing that nobody has heard of, so that its name has to be read."""
    while True:
        dice = rng.random()
        if dice < 0.3:
            en = "".join(rng.choice(_SYLLABLES) for _ in range(rng.choice((2, 2, 3))))
            zh = "".join(rng.choice(_HAN) for _ in range(rng.choice((2, 2, 3))))
        elif dice < 0.6:
            en, zh = any_word("en", rng), any_word("zh", rng)
        else:
            # the beginning of one thing and the end of another: no piece of a word tells what follows it
            one, other = (rng.choice(_LEARNED) for _ in range(2))
            en = one.en[: rng.randint(1, len(one.en) - 1)] + other.en[rng.randint(1, len(other.en) - 1) :]
            zh = rng.choice(one.zh) + rng.choice(other.zh)
        if not {en, zh} & _TAKEN:
            return ThingKind(en, zh, rng.choice((_DISH, _FOOD, _CLOTH, ())))
