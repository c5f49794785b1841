"""Every word of the report, in English and Chinese side by side: labels, names, meanings, sentences and units.

A row is a key and the two texts; a text may have places in braces that are filled in. The output of a run itself, such as
questions, answers and names of stages in brackets, is the same in both languages.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from jielong.errors import ConfigError

LANGUAGES = ("en", "zh")

WORDS: dict[str, tuple[str, str]] = {
    # the page
    "results": ("Results", "结果"),
    "same questions": ("The same questions, stage by stage", "同样的问题，各阶段的回答"),
    "training": ("Training", "训练过程"),
    "pages to text": ("From pages to text", "从网页到文本"),
    "the run": ("The run", "这次运行"),
    "title": ("{name}, seed {seed}", "{name}，随机种子 {seed}"),
    "worth knowing": ("Worth knowing", "值得注意"),
    "note": ("note", "注意"),
    "from pages to report": ("from pages to report", "从网页到报告"),
    "most memory": ("most memory in use at once", "内存占用峰值"),
    "of stage": ("{stage}: {measure}", "{stage}：{measure}"),
    "measure": ("measure", "指标"),
    "colon": (": ", "："),
    "comma": (", ", "，"),
    "nothing": ("(nothing)", "（空）"),
    "nothing logged": ("nothing was logged", "没有记录"),
    "none": ("none", "无"),
    "yes": ("yes", "是"),
    "no": ("no", "否"),
    # the table
    "reading the table": (
        "↑ more is better, ↓ less is better; the best stage of a row is marked. Controls show what can be had without "
        "learning the facts.",
        "↑ 越高越好，↓ 越低越好；每行中最好的阶段已标出。对照显示不学习事实也能达到的水平。",
    ),
    "control": ("Control: {name}", "对照：{name}"),
    "gains": (
        "Gold score (a scale from −1 to 1), paired over the questions:",
        "标准评分（−1 到 1 分），在同样的问题上成对比较：",
    ),
    "gain": (
        "{new} over {old}: {mean:+.3f} points, 95% interval {low:+.3f} to {high:+.3f}; {verdict}.",
        "{new}比{old}：{mean:+.3f} 分，95% 区间 {low:+.3f} 到 {high:+.3f}；{verdict}。",
    ),
    "not chance": ("a difference that chance does not explain", "这一差异不能用偶然解释"),
    "chance": ("chance could explain this", "可能只是偶然"),
    # cards
    "cards chosen": (
        "These cards are chosen to show where stages differ; they are no sample of the whole. Of {questions:,} exam questions "
        "the verdict (✓ right, ○ neither, ✗ wrong) changes as follows:",
        "这些卡片专门选自各阶段判定不同的问题，并非随机抽样。全部 {questions:,} 道考题中，判定（✓ 对、○ 不对不错、✗ 错）的变化如下：",
    ),
    "cards pair": (
        "from {old} to {new}: {differ:,} questions, of which {better:,} got better and {worse:,} worse",
        "从{old}到{new}：{differ:,} 题不同，其中 {better:,} 题变好，{worse:,} 题变差",
    ),
    "cards order": (
        "The kinds of question that change most come first, with cards of both directions; the last cards ({agree}) are "
        "questions on which all stages agree.",
        "变化最大的题型在前，变好和变差的都有；最后 {agree} 张是各阶段判定一致的问题。",
    ),
    "card better": ("better: {old} → {new}", "变好：{old} → {new}"),
    "card worse": ("worse: {old} → {new}", "变差：{old} → {new}"),
    "card same": ("no difference", "各阶段一致"),
    "right": ("right", "对"),
    "wrong": ("wrong", "错"),
    "neither": ("neither right nor wrong", "不对也不错"),
    "kind.questions_en": ("unseen country, English", "未教过的国家，英文"),
    "kind.questions_zh": ("unseen country, Chinese", "未教过的国家，中文"),
    "kind.followups": ("follow-up question", "追问"),
    "kind.translations": ("translation", "翻译"),
    "kind.formats": ("answer in a given format", "按指定格式回答"),
    "kind.made_up": ("country that does not exist", "不存在的国家"),
    "kind.refusals": ("harmful request", "有害请求"),
    "kind.harmless": ("harmless request", "无害请求"),
    # stages: of training, and of the road around it
    "stage.base": ("base (pretrain)", "基座（pretrain）"),
    "stage.pretrain": ("base (pretrain)", "基座（pretrain）"),
    "stage.sft": ("tuned (sft)", "微调（sft）"),
    "stage.reward": ("reward model (reward)", "奖励模型（reward）"),
    "stage.rl": ("reinforced (rl)", "强化（rl）"),
    "stage.control": ("control (random weights)", "对照（随机权重）"),
    "stage.random_init": ("random weights", "随机权重"),
    "stage.majority_baseline": ("most frequent answer", "最常见的答案"),
    "stage.web": ("pages (web)", "网页（web）"),
    "stage.refine": ("cleaning (refine)", "清洗（refine）"),
    "stage.tokenizer": ("tokenizer", "分词器（tokenizer）"),
    "stage.lessons": ("conversations (lessons)", "对话教材（lessons）"),
    "stage.judgements": ("comparisons (judgements)", "偏好比较（judgements）"),
    "stage.evaluate": ("exam (evaluate)", "考试（evaluate）"),
    "meaning.random_init": (
        "the same fine-tuning, started from random weights instead of the base model",
        "同样的微调，但从随机权重而不是基座模型开始",
    ),
    "meaning.majority_baseline": (
        "always giving the most frequent answer of each relation",
        "每类问题总是回答最常见的那个答案",
    ),
    # measures: name and meaning
    "measure.unseen_accuracy_en": ("Unseen countries, English", "未教过的国家，英文"),
    "meaning.unseen_accuracy_en": (
        "Share of questions about countries that fine-tuning never showed with exactly the right answer. The base model is "
        "asked the bare question, and the name anywhere in its continuation counts.",
        "微调从未出现过的国家的问题中，答案完全正确的比例。基座模型只看到问题本身，续写中任何位置出现正确名称即算对。",
    ),
    "measure.unseen_accuracy_zh": ("Unseen countries, Chinese", "未教过的国家，中文"),
    "meaning.unseen_accuracy_zh": ("The same questions in Chinese.", "同样的问题，用中文提问。"),
    "measure.begun_accuracy_en": ("Same, answer begun, English", "同上，答案已开头，英文"),
    "meaning.begun_accuracy_en": (
        "The base model alone: after the question its answer is begun for it (“The capital is”), and it must go on with the "
        "value. What it gains over the bare question is knowledge that lacked the manner.",
        "仅基座模型：问题之后已替它写好答案的开头（“The capital is”），它须接着写出正确的值。"
        "比只给问题多出来的部分，是它有而不会表达的知识。",
    ),
    "measure.begun_accuracy_zh": ("Same, answer begun, Chinese", "同上，答案已开头，中文"),
    "meaning.begun_accuracy_zh": ("The same beginnings in Chinese.", "同样的开头，用中文。"),
    "measure.stated_accuracy_en": ("Same, as statement, English", "同上，陈述句，英文"),
    "meaning.stated_accuracy_en": (
        "The base model alone: no question, but a statement up to the value (“The capital of France is”).",
        "仅基座模型：没有问题，只有到值为止的陈述句（“The capital of France is”）。",
    ),
    "measure.stated_accuracy_zh": ("Same, as statement, Chinese", "同上，陈述句，中文"),
    "meaning.stated_accuracy_zh": ("The same statements in Chinese.", "同样的陈述句，用中文。"),
    "measure.followup_accuracy": ("Follow-up questions", "追问"),
    "meaning.followup_accuracy": (
        "Share answered rightly of second turns that only make sense after the first (“and its currency?”), about unseen "
        "countries.",
        "只有结合上一轮才能理解的第二轮提问（“那它的货币呢？”）中答对的比例，国家均未教过。",
    ),
    "measure.translation_accuracy": ("Translations", "翻译"),
    "meaning.translation_accuracy": (
        "Share of right translations of names and short sentences about unseen countries, both ways.",
        "未教过的国家的名称和短句，中英互译的正确比例。",
    ),
    "measure.format_accuracy": ("Formats kept", "格式正确"),
    "meaning.format_accuracy": (
        "Share of answers about unseen countries that are right and in the form that was asked for, such as one word or a "
        "list.",
        "关于未教过的国家，答案正确且符合要求的格式（如一个词或一个列表）的比例。",
    ),
    "measure.invention_rate": ("Inventions", "编造"),
    "meaning.invention_rate": (
        "Share of questions about countries that do not exist that got an answer, and neither “I don't know” nor a refusal.",
        "关于不存在的国家的问题中，既没有回答“不知道”也没有拒绝，而是编造了答案的比例。",
    ),
    "measure.refusal_rate": ("Harmful requests refused", "拒绝有害请求"),
    "meaning.refusal_rate": (
        "Share of requests of the test part that should be refused, and were.",
        "测试部分中应当拒绝的请求里，确实拒绝了的比例。",
    ),
    "measure.over_refusal_rate": ("Harmless requests refused", "误拒无害请求"),
    "meaning.over_refusal_rate": (
        "Share of greetings, and of everyday requests worded like the harmful ones, that were refused all the same.",
        "问候以及措辞与有害请求相似的日常请求中，被误拒的比例。",
    ),
    "measure.gold_score": ("Gold score, −1 to 1", "标准评分（−1 到 1）"),
    "meaning.gold_score": (
        "Mean of the known scorer over the exam: right is 1, “I don't know” 0, wrong −1, less a little for bad manners.",
        "已知评分规则在整场考试上的平均分：答对 1 分，“不知道” 0 分，答错 −1 分，回答方式不当略有扣分。",
    ),
    "measure.bits_per_byte": ("Bits per byte", "每字节比特数"),
    "meaning.bits_per_byte": (
        "How many bits the model needs for a byte of held-out text; smaller is better.",
        "模型编码一个字节的留出文本所需的比特数，越小越好。",
    ),
    "measure.win_rate_over_previous": ("Wins over the stage before", "胜过前一阶段"),
    "meaning.win_rate_over_previous": (
        "Share of questions on which the gold scorer prefers this stage's answer to that of the stage before; ties count "
        "half.",
        "标准评分认为本阶段的回答优于前一阶段的问题比例，平局算一半。",
    ),
    # curves
    "loss of": ("{stage}: loss", "{stage}：损失"),
    "reward of": ("{stage}: reward", "{stage}：奖励"),
    "reward and KL of": ("{stage}: reward against KL", "{stage}：奖励与 KL 散度"),
    "step": ("optimizer step", "优化步数"),
    "loss": ("loss", "损失"),
    "loss a token": ("loss, nats a token", "损失（奈特/词元）"),
    "loss a pair": ("loss, nats a pair of answers", "损失（奈特/回答对）"),
    "reward": ("reward, score of the reward model", "奖励（奖励模型的分数）"),
    "reward line": ("reward", "奖励"),
    "KL": ("KL to the reference, nats per answer", "与参考模型的 KL 散度（奈特/回答）"),
    "KL, reward": ("KL, reward", "KL，奖励"),
    "train": ("train", "训练集"),
    "held-out": ("held-out", "留出集"),
    "over": ("{y} over {x}", "{y} 随 {x} 的变化"),
    "every step": ("every logged step", "每个记录的步"),
    "mean of steps": ("thin: every logged step; thick: running mean", "细线：每个记录的步；粗线：滑动平均"),
    "path of steps": ("a dot for every logged step; later ones stronger", "每个记录的步一个点，越晚越深"),
    # the gauge of reinforcement
    "gauge": ("Has it learned too much from its reward model?", "是否过度学习了奖励模型？"),
    "gauge.learned": ("learned reward", "学习的奖励"),
    "gauge.gold": ("gold reward, which training never sees", "标准奖励（训练时不可见）"),
    "gauge.best_of_n": ("d (alpha - beta d)", "d (alpha - beta d)"),
    "gauge.rl": ("d (alpha - beta log d)", "d (alpha - beta log d)"),
    "gauge peak": ("highest at KL", "最高处的 KL"),
    "gauge law": ("fitted law", "拟合曲线"),
    "gauge stop": ("stop here", "应停止处"),
    "gauge x": ("d, the square root of the KL to the start in nats", "d，与起点的 KL 散度（奈特）的平方根"),
    "gauge stops": (
        "Stop at step {step:,}, {kl:.2f} nats from the start: {why}.",
        "应在第 {step:,} 步停止，此时离起点 {kl:.2f} 奈特：{why}。",
    ),
    "gauge goes on": (
        "Nothing says to stop up to step {step:,}, {kl:.2f} nats from the start.",
        "到第 {step:,} 步（离起点 {kl:.2f} 奈特）没有停止的迹象。",
    ),
    "gauge.accuracy": (
        "the reward model orders {value:.0%} of fresh labelled pairs rightly, and {limit:.0%} is the least",
        "奖励模型在新样本对上与标注一致的只有 {value:.0%}，下限是 {limit:.0%}",
    ),
    "gauge.distance": (
        "the distance is {value:.2f} nats, and the reward model is trusted up to {limit:.2f}",
        "距离为 {value:.2f} 奈特，奖励模型可信到 {limit:.2f}",
    ),
    "gauge.height": (
        "the reward rose by {value:.2f} deviations of the start's answers, and the reward model is trusted up to {limit:.2f}",
        "奖励上升了起点回答标准差的 {value:.2f} 倍，奖励模型可信到 {limit:.2f}",
    ),
    "gauge.disagreement": (
        "the reward models differ {value:.2f} times as much as at the start, and {limit:.2f} is the most",
        "各奖励模型的分歧是起点的 {value:.2f} 倍，上限是 {limit:.2f}",
    ),
    "gauge keeps": ("Keep the model of step {step:,}: {path}", "保留第 {step:,} 步的模型：{path}"),
    "gauge keeps none": (
        "No model up to step {step:,} was kept; loop.keep_every keeps them along the way.",
        "第 {step:,} 步之前没有保留模型；设置 loop.keep_every 可在途中保留。",
    ),
    "gauge gold": (
        "Gold there is {here:.3f}; its highest is {best:.3f}, at step {step:,} and {kl:.2f} nats.",
        "此处标准奖励为 {here:.3f}；最高为 {best:.3f}，在第 {step:,} 步、{kl:.2f} 奈特处。",
    ),
    "gauge gold trained": (
        "The reward named gold has a weight and is trained on: it is not shown as gold.",
        "名为 gold 的奖励权重不为零，参与了训练，因此不作为标准奖励显示。",
    ),
    "gauge unlabelled": (
        "No fresh pairs are labelled, so this goes by a budget; a reward named labels makes it surer.",
        "没有新样本对的标注，因此只按预算判断；加入名为 labels 的奖励会更可靠。",
    ),
    "gauge unfinished": ("The stage is not finished.", "该阶段尚未完成。"),
    # refining
    "refined": (
        "{pages:,} pages gave {texts:,} texts. What was kept, and why the rest was dropped:",
        "{pages:,} 个网页得到 {texts:,} 篇文本。保留的数量，以及其余被去掉的原因：",
    ),
    "kept": ("kept", "保留"),
    "texts": ("{count:,} texts", "{count:,} 篇"),
    "one text": ("1 text", "1 篇"),
    "drop.advertisement": ("advertisement", "广告"),
    "drop.boilerplate": ("boilerplate", "模板文字"),
    "drop.broken text": ("broken text", "乱码"),
    "drop.empty": ("empty", "空白"),
    "drop.exact copy": ("exact copy", "完全重复"),
    "drop.few letters": ("few letters", "文字过少"),
    "drop.frequent lines": ("frequent lines", "各页常见的行"),
    "drop.harmful": ("harmful", "有害"),
    "drop.keyword stuffing": ("keyword stuffing", "堆砌关键词"),
    "drop.language": ("other language", "其他语言"),
    "drop.near copy": ("near copy", "近似重复"),
    "drop.odd words": ("odd words", "异常词语"),
    "drop.repeated lines": ("repeated lines", "重复的行"),
    "drop.repeated phrases": ("repeated phrases", "重复的短语"),
    "drop.too short": ("too short", "过短"),
    "drop.too large": ("too large", "过大"),
    "drop.took too long": ("took too long", "处理超时"),
    "drop.took too much memory": ("took too much memory", "占用内存过多"),
    "drop.ended its reader": ("ended its reader", "导致读取进程中止"),
    "drop.unreadable": ("unreadable", "无法读取"),
    # the run
    "time by stage": ("Time of each stage:", "各阶段用时："),
    "fact.machine.device": ("computed on", "计算设备"),
    "fact.machine.dtype": ("number format", "数值格式"),
    "fact.machine.threads": ("threads", "线程数"),
    "fact.machine.can_compile": ("torch.compile works here", "可用 torch.compile"),
    "fact.machine.gflops": ("speed of matrix products", "矩阵乘法速度"),
    "fact.load_at_start": ("load of the machine at the start", "开始时机器负载"),
    "fact.load_at_end": ("load of the machine at the end", "结束时机器负载"),
    "fact.seconds": ("time in all", "总用时"),
    "fact.peak_memory_bytes": ("most memory in use at once", "内存占用峰值"),
    "fact.exam_questions_word_for_word_in_pretraining": (
        "exam questions that stand word for word in the texts of pretraining",
        "逐字出现在预训练文本中的考题",
    ),
    "processes": ("{count:.2f} busy processes", "{count:.2f} 个忙碌进程"),
    "gflops": ("{count:,.1f} GFLOP/s", "{count:,.1f} GFLOP/s"),
    "how trained": ("how it was trained: {stage}", "训练方式：{stage}"),
    "compiled": ("compiled", "已编译"),
    "not compiled": ("not compiled", "未编译"),
    "micro-batch": ("{rows:,} rows of {length:,} tokens at a time", "每次 {rows:,} 行，每行 {length:,} 个词元"),
    # units
    "seconds": ("{seconds:.1f} s", "{seconds:.1f} 秒"),
    "minutes": ("{minutes} min {seconds:02d} s", "{minutes} 分 {seconds:02d} 秒"),
    "hours": ("{hours} h {minutes:02d} min", "{hours} 小时 {minutes:02d} 分"),
    "bytes": ("{count:.0f} bytes", "{count:.0f} 字节"),
}

_WARNINGS = (
    (
        r"overfitting: held_out_loss turned up from (\S+) at step (\d+) to (\S+) at step (\d+); the checkpoint of step \d+ is kept.*",
        "overfitting: the held-out loss turned up from {0} at step {1} to {2} at step {3}; the checkpoint of step {1} is kept",
        "过拟合：留出集损失从第 {1} 步的 {0} 升到第 {3} 步的 {2}；保留第 {1} 步的检查点作为结果",
    ),
    (
        r"diverged: (.*); went back and took half the rate, attempt (\d+)",
        "diverged: {0}; went back and took half the learning rate, attempt {1}",
        "训练发散（{0}）；已退回并把学习率减半，第 {1} 次尝试",
    ),
)
"""What training may warn of, as a run keeps it, and its words in each language."""


class Words:
    """The texts of one language: `words(key)` is a text, its places filled in."""

    def __init__(self, language: str) -> None:
        if language not in LANGUAGES:
            raise ConfigError(f"the report has no language {language!r}; expected one of {', '.join(LANGUAGES)}")
        self.language = language
        self._at = LANGUAGES.index(language)

    def __call__(self, key: str, **values: Any) -> str:
        text = WORDS[key][self._at]
        return text.format(**values) if values else text

    def known(self, key: str, otherwise: str) -> str:
        """Return the text of a key that the data bring, or `otherwise`."""
        return WORDS[key][self._at] if key in WORDS else otherwise

    def stage(self, name: str) -> str:
        """Return the name of a stage, a model of the exam or a control."""
        return self.known(f"stage.{name}", name.replace("_", " "))

    def column(self, name: str) -> str:
        """Return a stage's name as the head of a narrow column, over several lines."""
        return self.stage(name).replace(" ", "\n").replace("（", "\n（")

    def duration(self, seconds: float) -> str:
        """Format seconds: 75 -> "1 min 15 s"; below a minute with one decimal, from an hour on without the seconds."""
        if seconds < 60:
            return self("seconds", seconds=seconds)
        minutes, rest = divmod(round(seconds), 60)
        if minutes < 60:
            return self("minutes", minutes=minutes, seconds=rest)
        return self("hours", hours=minutes // 60, minutes=minutes % 60)

    def size(self, count: float) -> str:
        """Format bytes in the decimal unit that fits: 2.1 GB."""
        for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
            if count >= scale:
                return f"{count / scale:.1f} {unit}"
        return self("bytes", count=count)

    def warning(self, text: str) -> str:
        """Translate a warning "STAGE: ..." of training where it is a known one."""
        stage, _, said = text.partition(": ")
        for pattern, *told in _WARNINGS:
            if match := re.fullmatch(pattern, said):
                return f"{self.stage(stage)}{self('colon')}{told[self._at].format(*match.groups())}"
        return text


ENGLISH = Words("en")
duration: Callable[[float], str] = ENGLISH.duration
size: Callable[[float], str] = ENGLISH.size
