"""The inventory of a household: rooms, furniture, things and devices, each with its English and Chinese name.

A kind says what can be done: a container opens and closes, a basin cleans, a stove heats; dishes, food and clothes can
be treated, other things only carried. Some things never occur in the training part, and things with made-up names never
occur in the test part: this shows whether a model has learned the names by heart instead of reading them.
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
    """A kind of furniture, on or in which things lie. `does` is its effect on a thing in the hand (clean, heat, cool)."""

    is_inside: bool = False
    """Things are in it, not on it."""
    opens: bool = False
    does: str = ""
    is_device: bool = False
    """It is switched on and off, and holds nothing."""


@dataclass(frozen=True)
class ThingKind(Named):
    """A kind of thing that can be carried; `takes` are the treatments that make sense for it."""

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

_LESSON_WORDS = (
    "lantern=灯笼 bottle=瓶子 kettle=烧水壶 brush=刷子 ribbon=丝带 button=纽扣 pencil=铅笔 ladder=梯子 helmet=头盔 "
    "whistle=哨子 trumpet=小号 guitar=吉他 cello=大提琴 drum=鼓 flute=笛子 puzzle=拼图 marble=弹珠 kite=风筝 robot=机器人 "
    "puppet=木偶 camera=相机 lens=镜片 battery=电池 cable=电线 needle=针 thread=线 scissors=剪刀 knife=刀 chisel=凿子 "
    "wrench=扳手 shovel=铲子 bucket=水桶 sponge=海绵 soap=肥皂 perfume=香水 necklace=项链 bracelet=手镯 earring=耳环 "
    "purse=钱包 wallet=皮夹 suitcase=手提箱 umbrella=雨伞 raincoat=雨衣 sandal=凉鞋 slipper=拖鞋 boot=靴子 belt=腰带 "
    "skirt=裙子 trousers=裤子 sweater=毛衣 vest=背心 mitten=连指手笼 mask=面具 flag=旗子 stamp=邮票 envelope=信封 "
    "notebook=笔记本 magazine=杂志 calendar=日历 compass=指南针 globe=地球仪 statue=雕像 painting=画 photograph=照片 "
    "biscuit=饼干 cheese=奶酪 butter=黄油 yogurt=酸奶 honey=蜂蜜 pepper=胡椒 garlic=大蒜 ginger=生姜 cabbage=卷心菜 "
    "spinach=菠菜 lettuce=生菜 celery=芹菜 radish=萝卜 cucumber=黄瓜 aubergine=茄子 lemon=柠檬 orange=橙子 banana=香蕉 "
    "cherry=樱桃 grape=葡萄 apricot=杏子 mango=芒果 coconut=椰子 walnut=核桃 almond=杏仁 peanut=花生 chestnut=栗子 rice=米饭 "
    "noodle=面条 dumpling=饺子 pancake=煎饼 sandwich=三明治 chicken=鸡肉 salmon=鲑鱼 shrimp=虾 oyster=牡蛎 goblet=高脚杯 "
    "pitcher=大水罐 platter=大浅盘 colander=滤盆 grater=擦丝器 whisk=打蛋器 spatula=锅铲 chopstick=筷子 napkin=餐巾 "
    "curtain=窗帘 carpet=地毯 cushion=靠垫 mattress=床垫 duvet=羽绒被 quilt=棉被 feather=羽毛 pebble=卵石 shell=贝壳 "
    "fossil=化石 crystal=水晶 anchor=船锚 paddle=桨 saddle=马鞍 harness=挽具 bridle=缰绳 wagon=小车 pulley=滑轮 magnet=磁铁 "
    "beaker=烧杯 funnel=漏斗 thermometer=温度计 stethoscope=听诊器 bandage=绷带 syringe=注射器 crutch=拐杖 tablet=药片"
)
"""Words that occur in made-up things alone, whole or in pieces, and in no other part than that to learn from."""

_SYLLABLES = [
    a + b for a in "bcdfghjklmnprstvwz" for b in ("a", "e", "i", "o", "u", "an", "el", "or", "et", "ack", "ip", "um")
]
_HAN = "云石木花星月山水风雨金银青白红黑长圆方小大古新竹松海河铃草叶珠丝盒片条球环管板架刀针线"


def things_of(part: Part) -> list[ThingKind]:
    """Return the real things that occur in a part: in the test part all, the held-out ones among them."""
    return [kind for name, kind in THINGS.items() if part == "test" or name not in HELD_OUT]


_TAKEN = {name for kinds in (THINGS, FURNITURE, ROOMS) for kind in kinds.values() for name in (kind.en, kind.zh)}
_LESSONS = [Named(*pair.split("=")) for pair in _LESSON_WORDS.split()]
_PIECES = [named.en for named in (*_LESSONS, *things_of("train"), *FURNITURE.values(), *ROOMS.values())]
_CHARACTERS = "".join(named.zh for named in (*_LESSONS, *things_of("train"), *FURNITURE.values()))


def made_up_thing(rng: random.Random) -> ThingKind:
    """Make a thing with an invented name, so that its name has to be read."""
    while True:
        make = rng.choice((_of_syllables, _of_letters, _of_pieces, _of_pieces, _of_lessons))
        en, zh = make(rng)
        if rng.random() < 0.05:
            en, zh = en[:4] * 2, zh[0] * 2  # or what repeats itself is never copied, and said on and on
        if not {en, zh} & _TAKEN:
            return ThingKind(en, zh, rng.choice((_DISH, _FOOD, _CLOTH, ())))


def _of_syllables(rng: random.Random) -> tuple[str, str]:
    num_syllables = rng.choice((1, 2, 2, 3))
    return "".join(rng.choices(_SYLLABLES, k=num_syllables)), "".join(rng.choices(_HAN, k=rng.choice((2, 2, 3))))


def _of_letters(rng: random.Random) -> tuple[str, str]:
    return any_word("en", rng), any_word("zh", rng)


def _of_pieces(rng: random.Random) -> tuple[str, str]:
    """Make a word of two or three pieces of any words: no piece tells which one follows it."""
    pieces = []
    for word in rng.choices(_PIECES, k=rng.choice((2, 2, 3))):
        first = rng.randrange(max(1, len(word) - 1))
        pieces.append(word.replace(" ", "")[first : first + rng.randint(1, 4)])
    han = rng.choices(_CHARACTERS, k=rng.choice((1, 2, 2, 3)))
    if rng.random() < 0.3:
        han[rng.randrange(len(han))] = any_word("zh", rng)[0]
    return "".join(pieces)[:9], "".join(han)


def _of_lessons(rng: random.Random) -> tuple[str, str]:
    named = rng.choice(_LESSONS)
    return named.en, named.zh
