"""Folding of look-alike characters before rules are applied: one letter for all that look or mean the same.

Full-width signs, letters of other alphabets that look Latin and the traditional form of a character each become the
form that the rules are written in. The text keeps its length, so a place found in the folded text is that place in the
text itself.
"""

from __future__ import annotations

import unicodedata

_ALIKE = dict(zip("аеорсухіјѕԁԛԝАВЕКМНОРСТХ", "aeopcyxijsdqwABEKMHOPCTX", strict=True))
"""Cyrillic letters that look like Latin ones."""

# Each simplified character of the rules (`orders`, `guard`) that has other forms, followed by these.
_FORMS = """
与與 丢丟 个個箇 为為爲 买買 仅僅 从從 们們 会會 传傳 关關 内內 写寫 准準 凭憑 击擊 则則 删刪 别別 劝勸 务務 发發 后後
听聽 员員 声聲 复復複 头頭 实實 对對 导導 并並併 应應 废廢 开開 弃棄 当當 录錄 总總 户戶戸 执執 换換 据據 数數 无無
时時 显顯 机機 来來 标標 没沒 泄洩 注註 滤濾 点點 狱獄 现現 盖蓋 码碼 系係繫 约約 经經 结結 绕繞 给給 统統 联聯 荐薦
装裝 规規 视視 触觸 让讓 记記 许許 设設 访訪 诉訴 词詞 话話 该該 语語 诱誘 说說説 请請 调調 购購 转轉 载載 输輸 过過
运運 这這 邮郵 里裡裏 闭閉 问問 际際 页頁 须須 题題 只祇 么麼
"""
FORMS = {word[0]: word[1:] for word in _FORMS.split()}
_SIMPLIFIED = {form: simple for simple, forms in FORMS.items() for form in forms}


_WORDS = {
    "回覆": "回复",
    "訊息": "消息",
    "人工智慧": "人工智能",
    "使用者": " 用户",
    "呼叫工具": "调用工具",
    "呼叫函式": "调用函数",
}
"""Words of Taiwan that differ in more than their characters, as they stand once these are folded."""


class _Folds(dict[int, str]):
    """The form of each character, by its number; learned as characters come."""

    def __missing__(self, number: int) -> str:
        character = chr(number)
        plain = unicodedata.normalize("NFKC", character)
        plain = plain if len(plain) == 1 else character
        self[number] = _ALIKE.get(plain) or _SIMPLIFIED.get(plain) or plain
        return self[number]


_FOLDS = _Folds()


def folded(text: str) -> str:
    """Fold the text, character by character, to the form that rules are written in."""
    text = text.translate(_FOLDS)
    for word, known in _WORDS.items():
        text = text.replace(word, known)
    return text
