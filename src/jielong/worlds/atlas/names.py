"""Countries that do not exist, by name, in English and in transliteration.

A model that has learned to say "I don't know" must be asked about something nobody can know. Names are put together from
syllables and the endings that names of countries have, in English letters and with the characters that Chinese uses for
such syllables; whatever is a real name or looks like one is thrown away. Which part a name belongs to, training or
test, is decided by a hash of its Chinese form, so that no name is in both parts, in either language.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import lru_cache

from babel import Locale

from jielong.errors import ConfigError
from jielong.runs import derive_seed
from jielong.worlds.atlas.facts import LANGS, relation_values

PARTS = ("train", "test")

_SYLLABLES = dict(
    pair.split(":")
    for pair in (
        "ba:巴 be:贝 bi:比 bo:博 bu:布 da:达 de:德 di:迪 do:多 du:杜 fa:法 fe:费 fi:菲 fo:福 fu:富 ga:加 ge:盖 go:戈 gu:古 "
        "ha:哈 he:赫 hi:希 ho:霍 hu:胡 ja:贾 jo:乔 ju:朱 ka:卡 ke:凯 ki:基 ko:科 ku:库 la:拉 le:莱 li:利 lo:洛 lu:卢 ma:马 "
        "me:梅 mi:米 mo:莫 mu:穆 na:纳 ne:内 ni:尼 no:诺 nu:努 pa:帕 pe:佩 pi:皮 po:波 pu:普 ra:拉 re:雷 ri:里 ro:罗 ru:鲁 "
        "sa:萨 se:塞 si:西 so:索 su:苏 ta:塔 te:泰 ti:蒂 to:托 tu:图 va:瓦 ve:韦 vi:维 vo:沃 ya:亚 yo:约 za:扎 ze:泽 zi:齐 "
        "zo:佐 zu:祖 sha:沙 sho:绍 cha:查 che:切 tra:特拉 bre:布雷 dro:德罗 kla:克拉 gri:格里 sto:斯托 vla:弗拉"
    ).split()
)
_CODAS = {"": "", "n": "恩", "l": "尔", "r": "尔", "s": "斯", "m": "姆", "k": "克", "t": "特"}
_ENDINGS = {
    "nia": "尼亚", "ria": "里亚", "lia": "利亚", "via": "维亚", "dia": "迪亚", "sia": "西亚", "tia": "蒂亚",
    "land": "兰", "stan": "斯坦", "ova": "奥瓦", "mark": "马克", "ro": "罗", "gar": "加尔", "mia": "米亚", "nova": "诺瓦",
    "ru": "鲁", "": "",
}  # fmt: skip

# Regions, former states and lands of fiction that CLDR's list of territories does not hold.
_ALSO_KNOWN = {
    "en": (
        "Bavaria Catalonia Dalmatia Galicia Karelia Lapland Macedonia Moldavia Persia Rhodesia Ruritania Narnia Saxony "
        "Scotland Siberia Silesia Somaliland Tasmania Tatarstan Dagestan Kurdistan Wallonia Yugoslavia Zealand "
        "Transylvania Transnistria Anatolia Sardinia Borneo Sumatra Java Crimea Abkhazia Ossetia Mesopotamia"
    ).split(),
    "zh": "巴伐利亚 马其顿 波斯 苏格兰 西伯利亚 塔斯马尼亚 达吉斯坦 库尔德斯坦 南斯拉夫 撒丁 爪哇 克里米亚".split(),
}
_CLOSE = 0.55  # share of common letter pairs above which a name looks like a real one


@dataclass(frozen=True)
class MadeUp:
    """A country that does not exist: its name in English and in Chinese."""

    en: str
    zh: str

    def name(self, lang: str) -> str:
        return self.zh if lang == "zh" else self.en


def made_up(part: str, count: int, seed: int) -> tuple[MadeUp, ...]:
    """Return `count` different made-up countries of one part, "train" or "test"; the parts share no name."""
    if part not in PARTS:
        raise ConfigError(f"part {part!r} of the made-up countries does not exist; expected one of {', '.join(PARTS)}")
    rng = random.Random(derive_seed(seed, "atlas", "made up", part))
    found: dict[str, MadeUp] = {}
    english: set[str] = set()
    while len(found) < count:
        name = _compose(rng)
        if name.zh in found or name.en in english or part_of(name) != part or _looks_real(name):
            continue
        found[name.zh] = name
        english.add(name.en)
    return tuple(found.values())


def part_of(name: MadeUp) -> str:
    """Return the part a name belongs to, whatever the seed."""
    return PARTS[derive_seed(0, "atlas", "part", name.zh) % 2]


def _compose(rng: random.Random) -> MadeUp:
    """Compose a random name of syllables and an ending, in both languages."""
    syllables, codas, endings = list(_SYLLABLES), list(_CODAS), list(_ENDINGS)
    en = zh = ""
    ending = rng.choice(endings)
    num_syllables = rng.choice((2, 3)) if ending in ("", "ro", "ru", "gar") else rng.choice((1, 2, 2))
    for _ in range(num_syllables):
        syllable = rng.choice(syllables)
        coda = rng.choice(codas) if rng.random() < 0.4 else ""
        en, zh = en + syllable + coda, zh + _SYLLABLES[syllable] + _CODAS[coda]
    if ending.startswith("o"):  # -ova wants a consonant before it
        en, zh = en + "l", zh + "洛"
        return MadeUp((en + "ova").capitalize(), zh + "瓦")
    return MadeUp((en + ending).capitalize(), zh + _ENDINGS[ending])


def _pairs(text: str) -> frozenset[str]:
    marked = f"^{text.lower()}$"
    return frozenset(marked[i : i + 2] for i in range(len(marked) - 1))


@lru_cache(maxsize=2)
def _pairs_of_real_names(lang: str) -> tuple[frozenset[str], ...]:
    """Return, for each real name of a country, capital or language, the set of its letter pairs."""
    names = {*Locale(lang).territories.values(), *_ALSO_KNOWN[lang], *relation_values("name", lang)}
    names |= {*relation_values("capital", lang), *relation_values("language", lang)}
    return tuple(_pairs(name) for name in sorted(names))


def _looks_real(name: MadeUp) -> bool:
    """Whether a name is close to that of a real country, in either language."""
    for lang in LANGS:
        mine = _pairs(name.name(lang))
        if any(2 * len(mine & real) > _CLOSE * (len(mine) + len(real)) for real in _pairs_of_real_names(lang)):
            return True
    return False
