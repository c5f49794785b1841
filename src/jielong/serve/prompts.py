"""Built-in questions for people who judge answers before asking any of their own: the same kinds in both languages.

Some have an answer that can be checked, some have none ("I don't know" is right), and some are a matter of taste.
"""

from __future__ import annotations

from collections.abc import Mapping

PROMPTS: Mapping[str, tuple[str, ...]] = {
    "en": (
        "What is the capital of Peru?",
        "Explain in two sentences why the sky is blue.",
        "What is the capital of Zorbograd?",
        "Write a haiku about rain on a tin roof.",
        "How do I keep cut flowers fresh for longer?",
        "What is 17 times 23?",
        "Suggest a name for a small bakery by the sea.",
        "What did I have for breakfast today?",
        "What is the difference between weather and climate?",
        "Give me three tips for falling asleep.",
        "Who wrote the novel “The Glass Ladder of Merrin”?",
        "Translate into Chinese: The train leaves at nine.",
        "Write one sentence to thank a neighbour for watering the plants.",
        "Why does bread rise?",
        "Name two rivers that flow through Germany.",
        "My friend is sad because her cat died. What can I say to her?",
        "How many moons does Mars have?",
        "What will the weather be like here tomorrow?",
        "Explain to a child what a magnet does.",
        "Sort these by size: elephant, mouse, horse.",
        "What can I cook with rice, eggs and spinach?",
        "Is it better to study in the morning or at night?",
        "Write a short riddle whose answer is a candle.",
        "What is a token of a language model?",
    ),
    "zh": (
        "秘鲁的首都是哪里？",
        "用两句话解释天空为什么是蓝色的。",
        "佐尔博格勒的首都是哪里？",
        "写一首关于雨打铁皮屋顶的俳句。",
        "怎样让鲜切花保持得更久？",
        "17 乘以 23 等于多少？",
        "给海边的一家小面包店起个名字。",
        "我今天早饭吃了什么？",
        "天气和气候有什么区别？",
        "给我三条帮助入睡的建议。",
        "小说《梅林的玻璃梯》是谁写的？",
        "翻译成英语：火车九点开。",
        "写一句话感谢邻居帮忙浇花。",
        "面包为什么会发起来？",
        "说出流经中国的两条河。",
        "朋友的猫死了，她很难过。我可以对她说什么？",
        "火星有几颗卫星？",
        "这里明天的天气怎么样？",
        "给小孩子讲讲磁铁是做什么的。",
        "按大小排列：大象、老鼠、马。",
        "用米饭、鸡蛋和菠菜可以做什么菜？",
        "早上学习好还是晚上学习好？",
        "写一个谜底是蜡烛的小谜语。",
        "语言模型的词元是什么？",
    ),
}
