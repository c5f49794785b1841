"""Detection of orders to a model: sentences about the conversation, the model or its answer, not any imperative.

Documents are full of orders to people: send the form to the desk, ignore the lamp, use the tool in the menu. An order
to a model differs in whom or what it names. It replaces what was said before, gives the model a part to play, says how
its answer must be, speaks to an AI, wants the conversation sent away, or has a tool called by a name that programs
give. So each pattern holds such a word beside its verb; the verb alone is none.
"""

from __future__ import annotations

import functools
import re


def _any(words: str) -> str:
    """Return a pattern of these words or phrases, which are separated by commas."""
    return f"(?:{'|'.join(word.strip() for word in words.split(','))})"


def _maybe(words: str) -> str:
    """Return a pattern of one of these words and a blank after it, or nothing."""
    return f"(?:{_any(words)} )?"


# How much may stand between two words, and what an order makes a model say: a word in capitals, or a quotation.
_FEW, _SOME, _MANY = r".{0,12}", r".{0,24}", r".{0,50}"
_SHOUTED = r"(?:(?-i:[A-Z]{3,})|[\"'“‘])"

_AI = rf"(?:ai(?: {_any('assistants?, models?, agents?, systems?, tools?')})?|llms?|(?:large )?language models?|chat ?bots?|chatgpt)"
_IGNORE = r"(?<!not )(?<!never )\b" + _any(
    "ignore, disregard, forget, override, bypass, cancel, set aside, stop following"
)
_NOT_FOLLOW = rf"\b{_any('do not, don.t, never')} follow"
_WEAK = _any("of, the, this, that, these, those, and, or, other, said")
_STRONG = _any(
    "all, any, each, every, everything, your, my, previous, prior, above, earlier, preceding, former, initial, original, "
    "system, safety, user, user.s, old"
)
"""Which instructions: those that a model was given, and not just some."""
_TALK = _any(
    "instructions?, directions?, directives?, commands?, prompts?, orders?, rules, restrictions?, guidelines, guardrails?, "
    "programming, training, questions?, requests?, tasks?, conversations?, context, system, user"
)
_TEXT = _any("texts?, contexts?, contents?, lines, words, inputs?, data, outputs?")
_SAFETY = _any("filters?, guidelines, protocols?, measures, checks?, policy, policies, alignment, restrictions?, rules")
_JOB = _any("task, instructions?, directives?, goal, objective, job, purpose, role")
_SAY = _any("say, reply, respond, answer, output, write, print, return, repeat")
_REPLY = _any("answers?, reply, replies, responses?, outputs?, summary")
_YOUR_REPLY = rf"your (?:{_any('next, final, whole, entire, own')} )?{_REPLY}\b"
_PHRASE = rf"the (?:{_any('single, exact, following')} )?{_any('words?, phrase, sentence, string, text, code')}"
_UNBOUND = r"(?:no|without)(?: any)?(?: \w+)? " + _any("rules, restrictions, limits, filters?, restraints?, guidelines")
_SEND = _any("send, e-?mail, mail, post, upload, forward, leak, transmit, submit, copy, exfiltrate")
_SHOW = _any("reveal, show, print, repeat, output, disclose, leak, translate, display, copy, tell me")
_SUMMARISE = _any("analy[sz]ing, processing, reading, summari[sz]ing, reviewing, evaluating")

_ENGLISH = {
    "what was said before does not count": (
        rf"(?:{_IGNORE}|{_NOT_FOLLOW})(?: {_WEAK})* {_STRONG}(?: (?:{_WEAK}|{_STRONG})){{0,4}} {_TALK}\b",
        rf"{_IGNORE}(?: {_any('all, any, the, these, those, your')})? (?:{_TALK}|{_TEXT}) {_any('above, before, of the user, so far')}\b",
        rf"{_IGNORE}(?: (?:all|any|everything|{_WEAK}))* {_any('previous, prior, above, preceding, earlier')}"
        rf"(?: {_TEXT}\b|[.,;:!]|$| and\b)",
        rf"{_IGNORE}\b{_FEW}\b{_any('everything, anything, all, what')}\b{_SOME}\b{_any('above, before, told, said so far')}\b",
        rf"{_IGNORE} (?:the user|your {_any('training, guidelines, rules, role')}"
        rf"|{_any('everything, all, anything')} (?:that )?{_any('I, you, we')})\b",
        rf"(?<!not )(?<!never )\b{_any('ignore, disregard, override, bypass, disable')}(?: {_any('all, any, your, the')})* "
        rf"{_any('safety, content')} {_SAFETY}\b",
        rf"{_IGNORE} (?:the |your )?{_any('current, summary, document summary, analysis')} {_any('tasks?, requests?, verdict')}\b",
        rf"{_IGNORE}\b.{{0,60}}\band instead\b",
        rf"\b{_any('bypass, disable')} {_maybe('all, your')}filters\b|\boverride your {_any('programming, training, settings')}\b",
        rf"\b{_any('prior, previous, earlier, above, former')} {_TALK} "
        rf"{_any('is, are, was, were, has been, have been')} {_any('void, cancell?ed, revoked, replaced')}",
        rf"\b(?:question|user.s (?:request|question|task)|user request|prompt)\b.{{0,20}}\b{_any('cancell?ed, void, replaced by')}",
        rf"\breplacement {_any('question, task, prompt')}\b|\bstop {_any('what you are doing, what you were doing, acting as')}\b",
        rf"\byour {_any('new, real, actual, true, only, next')} {_JOB} {_any('is, are')}\b",
        rf"\bthe {_any('real, actual, true')} {_any('instructions?, task, question')} {_any('is, are, follows?')}\b",
        rf"\bnew {_any('instructions?, orders')} {_any('from, by')} the {_any('developer, user, system, admin')}|\bnew system prompt\b",
        rf"(?:^|[-#*>:] ?){_maybe('system, priority')}?new (?:priority )?{_any('instructions?, directives?, persona, objective')}(?::|$)",
    ),
    "another part to play": (
        rf"\byou are now (?:(?-i:[A-Z])\w|an? (?!(?:\w+ )?{_any('member, subscriber, customer, guest, user')}\b)"
        r"|in \w+ mode|no longer|free of|[\"'“])",
        rf"\byou are no longer {_any('an?, the, bound')}\b|\bas an? {_AI}, you\b|\bif you are an? {_AI}\b",
        rf"\b{_any('pretend, act, behave, respond')}\b.{{0,20}}\b{_AI}\b|\b{_any('pretend, act as, you are')}\b{_MANY}\b{_UNBOUND}\b",
        rf"\b{_any('pretend to be, act as, role-?play as')} (?:(?-i:[A-Z]{{2,}})\b|an? {_any('unrestricted, uncensored, evil')})",
        rf"\bpretend (?:that )?you(?: are|.re)? {_any('not bound, have no')}\b|\bact as if you(?: are|.re| were)\b",
        rf"\bunrestricted {_any('ai, assistant, mode')}\b|\b{_any('character, role')} of an? {_any('evil, unrestricted')}\b",
        rf"\bfrom {_any('now, this point, this moment')} on\b.{{0,16}}\b(?:you {_maybe('will, must, are to, should, shall, only, always')}"
        rf"{_any('answer, reply, respond, say, speak, write')}|{_any('every, each, all, any, your')} {_REPLY})",
    ),
    "how the answer must be": (
        rf"\b{_SAY}\b{_FEW}\b{_any('only, exactly, just, solely, nothing but')}\b.{{0,6}}(?:(?:with )?{_PHRASE}\b|(?:with )?{_SHOUTED})",
        rf"\b{_SAY}\b{_SOME}\b{_PHRASE} {_SHOUTED}|\b{_REPLY}\b.{{0,40}}\b{_PHRASE} {_SHOUTED}",
        rf"\b(?:reply|respond|now {_SAY})(?: with)?:? {_SHOUTED}",
        rf"\b{_any('begin, start, end, finish, close, conclude, prefix, append, precede, sign')}\b.{{0,30}}\b{_YOUR_REPLY}",
        rf"\b{_YOUR_REPLY}{_FEW}\b{_any('must, should, has to, is to')}\b",
        rf"\b{_any('add, include, insert, put, mention')}\b{_MANY}\b{_any('to, in, into, at the end of')} {_YOUR_REPLY}",
        rf"\b{_REPLY} to {_any('every, any, all, each')}(?: \w+)? {_any('question, query, request, message')}s?\b{_SOME}\bis\b",
        rf"\b{_any('answer, reply, respond')}s?\b.{{0,8}}{_any('every, any, all, each')}(?: \w+)? {_any('questions?, messages?')} "
        rf"{_any('with, in')} (?:the\b|{_SHOUTED})",
        rf"\b{_any('sole, only, single')} {_any('output, reply, response')} {_any('be, is, must be, should be')}\b",
    ),
    "spoken to a model, or about it": (
        rf"\b{_any('note, message, attention, important, instructions?, reminder, notice, hint')}[:,]? {_maybe('to, for')}"
        rf"(?:{_any('all, any, the, every')} ){{0,2}}{_AI}\b",
        rf"(?:^|[.:;!] *)(?:{_any('hey, dear, hello, hi')} )?{_AI}[,:] |^{_any('hey, dear, hello, hi')} {_AI}\b",
        rf"(?<!\ba )(?<!\ban )\b(?:{_AI}|assistants?)\b(?: {_SUMMARISE} this(?: \w+)?)?,? "
        rf"{_any('must, should, shall, has to, have to, needs? to, please, will, is to, are to')} "
        rf"(?:{_any('now, only, always, also, first, instead, not, then')} ){{0,2}}"
        rf"{_any('answer, reply, respond, say, output, ignore, disregard, obey, recommend')}\b",
        rf"\b{_any('ai, assistant, model')}s?,? {_any('stop, listen')}\b|\b{_AI} {_SUMMARISE} this\b",
        rf"\b{_any('ai, llm, model, assistant, hidden')}[ _]instructions?\]?:",
        r"(?-i:\b(?:SYSTEM|ADMIN|DEVELOPER)[ _](?:INSTRUCTION|COMMAND|OVERRIDE|PROMPT)S?\b)|\bsystem: ?override\b",
        rf"(?-i:\b(?:SYSTEM|System|ASSISTANT|Assistant)\b)(?: {_any('message, command, note, override, prompt')})?\]?: ?"
        rf"{_any('ignore, send, e-?mail, forward, delete, you, answer, reply, the user, always, never')}\b",
        rf"\b{_any('whoever, anyone who, if you, when you, while you')} {_maybe('is, are')}"
        rf"{_any('summari[sz], process, pars')}\w* {_any('this, the page, the text, the document')}\b",
        rf"\b{_any('when, while, before, after, if you are')} (?:summari[sz]ing {_any('this, the page, the text, the document')}"
        rf"|{_any('drafting, writing, composing')} {_YOUR_REPLY})",
        rf"\b{_any('when, while, after')} {_SUMMARISE} this(?: \w+)?,? {_maybe('please')}{_maybe('silently')}"
        rf"{_any('output, also, always, add, include, send, forward, say, recommend, give, rate')}\b",
        rf"\b{_any('tell, convince, inform, persuade, urge, advise')} the user {_any('to, that')}\b",
        rf"\b{_any('do not, don.t, never, without')} {_any('tell, mention, reveal, inform')}(?:ing)?\b.{{0,16}}"
        rf"\b(?:the user|this {_any('instruction, note, message, prompt')})\b",
        rf"\b{_any('convince, persuade')} the user\b",
    ),
    "the conversation sent away, the prompt shown": (
        rf"\b{_SEND}\b.{{0,30}}\b(?:{_any('this, the, our, whole, entire, all, full')} {_any('conversation, chat, dialogue')}s?"
        rf"|chat {_any('history, log')}|text of this chat|system prompt|passwords? to \S+@)",
        rf"\b{_SEND}\b.{{0,40}}\b(?:all (?:\w+ )?{_any('messages, e-?mails, mails, contacts, queries, passwords')}"
        rf"|users?['’]?s? (?:\w+ ){{0,2}}"
        rf"{_any('e-?mails, database, tokens?, data, quer(?:y|ies), questions?, names?, passwords?, files?, credentials')})"
        r"\b.{0,40}(?:\bto \S+@|https?:)",
        rf"\b{_SEND} all user data\b|\bsilently {_SEND}\b|\bto send the password to\b",
        rf"\b{_any('include, with, add, append')} the user.?s (?:\w+ )?"
        rf"{_any('token, password, credentials, data, question, query, api keys?')}\b",
        rf"\b{_SHOW}\b{_FEW}\b{_any('everything, all, anything, the words')}\b{_SOME}(?:\babove this\b|\bbefore this\b|\babove\b"
        r"|\bof this (?:conversation|chat)\b)",
        rf"\b{_SHOW}\b{_SOME}\b{_any('your, the hidden, the system, the initial, the developer.s')} "
        rf"(?:system )?{_any('prompt, instructions?')}\b",
        rf"\b{_any('your, original, initial, hidden, entire, full, whole')} (?:\w+ ){{0,2}}system prompt\b|\bthe words above\b",
        r"\bsystem (?:prompt|message|instructions) verbatim\b",
        rf"\byour (?:system (?:instructions|message)|{_any('initial, original, hidden')} instructions)\b",
        rf"\b{_any('show, tell, give, send')} me your {_any('api key, credentials, passwords?, configuration')}\b",
        rf"\b{_any('before, after')} {_any('you answer, you reply, you respond, answering, replying, responding')},? "
        rf"{_maybe('please, first')}{_any('send, call, use, open, visit, delete, run, post, fetch')}\b",
        rf"\binstead of {_any('summari[sz]ing, answering')} {_any('this, the page, the text, the question, the user')}\b",
    ),
    "a tool called by a name of programs, or the call itself": (
        rf"\buse {_any('the, your')} [\w-]+ tool to {_any('send, delete, upload, forward, post, e-?mail, buy, pay, transfer')}\b",
        rf"\b{_any('call, use, invoke, run, execute, trigger')} {_maybe('the, your')}{_any('tool, function, plugin')} [`\"']?\w+_\w+",
        r"\{\s*\"name\"\s*:.{0,200}\"(?:arguments|parameters)\"\s*:",
        rf"\bdecode (?:this|it|the {_any('following, text, string, message')})\b.{{0,40}}\b{_any('follow, obey, execute, do, run')}\b",
        rf"\bdecode and {_any('follow, obey, execute, run')}\b",
    ),
}

_AI_ZH = _any("AI(?:系统|助手|模型)?, 人工智能(?:助手)?, 大?语言模型, 大模型, 聊天机器人, 智能助手")
_IGNORE_ZH = (
    _any("忽略, 无视, 忘记, 忘掉, 丢弃, 推翻, 覆盖, 不要管, 不要理会, 不用管, 先别管")
    + "(?:掉|了)?"
    + f"|{_any('不要, 不再, 停止, 别')}{_any('遵守, 遵循, 听从, 执行')}"
)
_STRONG_ZH = _any(
    "所有, 一切, 全部, 任何, 之前, 以前, 以上, 上面, 上文, 前面, 上述, 先前, 此前, 原来, 原有, 系统, 安全, 用户, 收到, 开发者, 给你, "
    "这些, 那些, 你, 您, 的, 过, 之"
)
_TALK_ZH = _any(
    "指令, 指示, 提示, 规则, 准则, 要求, 问题, 任务, 命令, 对话, 内容, 文字, 文本, 上下文, 消息, 说明, 设定, 限制, 约束, 话"
)
_REPLY_ZH = _any("回答, 回复, 答复, 答案, 输出")
_SAY_ZH = _any("回答, 回复, 答复, 输出, 说, 写, 返回, 重复")
_SEND_ZH = _any("发送, 发给, 发到, 发出, 寄到, 上传, 转发, 泄露")
_OPEN, _CLOSE = '[“「『‘"]', '[”」』’"]'

_CHINESE = {
    "what was said before does not count": (
        f"(?:{_IGNORE_ZH}){_STRONG_ZH}{{1,8}}{_TALK_ZH}",
        f"{_any('忘记, 忘掉')}了?你的|{_any('之前, 此前, 以上, 先前, 原来')}的?{_any('所有, 全部, 一切, ')}的?{_TALK_ZH}"
        f"{_any('已?作废, 已?取消, 无效')}",
        rf"忽略 ?[\[【]?{_any('System, 系统')}[\]】]? ?{_any('中, 里')}|{_any('原, 用户')}.{{0,6}}{_any('问题, 任务, 请求')}已经?"
        f"{_any('取消, 作废, 替换')}|替换{_any('问题, 任务')}|覆盖指令",
        f"{_any('新, 真正, 唯一, 实际')}的?{_any('任务, 指令, 目标')}{_any('是, ：')}.{{0,4}}(?:{_SAY_ZH}|逐字|忽略)",
        f"真正的{_any('指令, 任务')}",
        f"{_any('开发者, 系统, 管理员, 用户')}的?新{_any('指令, 任务, 要求')}|新的?系统提示|^新指令[:：]|停下你?手头",
        f"绕过{_any('你的, 所有的?')}{_any('安全, 过滤, 限制, 规则')}|{_any('关闭, 禁用')}你的安全",
    ),
    "another part to play": (
        f"你现在是|你不再是|{_any('如果你是, 作为')}一?个?{_AI_ZH}|{_any('假装, 扮演')}{_FEW}{_AI_ZH}|{_any('无限制, 越狱')}模式",
        f"{_any('假装, 扮演, 你是')}{_FEW}{_any('没有任何, 不受任何, 不受')}{_any('规则, 限制, 约束')}",
        f"从{_any('现在, 这一刻, 此刻')}{_any('开始, 起')}[，,]?{_any('请, 你, 您, ')}.{{0,6}}(?:{_SAY_ZH}|每[个次]{_REPLY_ZH}|助手)",
    ),
    "how the answer must be": (
        f"{_any('只准, 只能, 只需?, 仅, 必须, 务必, 一律, 都只?, 现在只?, 改为, 任务是')}{_any('需, 要, 须, 许, 可以, ')}{_SAY_ZH}"
        f"{_any('以下, 下面, 出, ')}[:：]?{_OPEN}",
        f"{_any('每个, 每次, 所有, 任何')}{_REPLY_ZH}.{{0,4}}{_any('都, 必须, 只')}.{{0,4}}{_OPEN}",
        f"{_any('回答, 回复, 答复, 输出, 总结')}的?{_any('末尾, 结尾, 开头, 最后, 前面, 后面')}.{{0,4}}"
        f"{_any('加上, 写上, 附上, 放上, 插入')}",
        f"{_REPLY_ZH}.{{0,6}}以{_OPEN}.{{1,30}}{_any('收尾, 结尾, 结束, 开头, 开始')}|你的{_REPLY_ZH}{_any('必须, 应该, 要, 只能')}",
        f"{_any('任何, 所有, 每一?个, 一切')}问题.{{0,8}}(?:都只?{_SAY_ZH}|答案都?是){_OPEN}|唯一的{_REPLY_ZH}{_any('是, 为')}{_OPEN}",
        f"请{_SAY_ZH}{_OPEN}.{{1,20}}{_CLOSE}(?:这?.{{1,2}}个字|这个词)",
    ),
    "spoken to a model, or about it": (
        f"{_any('致, 给, 告')}{_any('各位, 所有, ')}{_AI_ZH}|(?:{_AI_ZH}(?:们)?请?|^助手请)注意|^助手指令|^{_AI_ZH}[，,：:]",
        f"(?:{_AI_ZH}|助手|模型)(?:们)?[，,]?(?:对.{{1,8}})?都?{_any('必须, 应当, 应该, 需要, 务必, 须, 请')}"
        f"{_any('只, 先, 立即, 都, 直接, 向用户')}*{_any('回答, 回复, 答复, 输出, 忽略, 无视, 遵守, 调用, 发送, 声明, 推荐')}",
        f"^助手[，,：:]{_FEW}{_any('只, 必须, 务必, 请')}{_SAY_ZH}|助手[，,]到此为止|总结[本此这][文页篇].{{0,2}}[时的]",
        f"请?在总结[里中]{_any('加上, 写上, 说')}|{_any('撰写, 起草')}你的?{_any('回复, 回答, 总结')}|向用户推荐",
        f"{_any('说服, 劝说, 诱导, 告诉')}用户(?!名|的使用){_FEW}{_any('打开, 点击, 访问, 下载, 无法, 购买')}",
        f"不要{_any('告诉, 提醒, 告知, 让')}用户",
    ),
    "the conversation sent away, the prompt shown": (
        f"把[这整全所有本我们的与用户段个部次些]{{0,6}}{_any('对话, 聊天(?:记录)?, 会话, 系统提示, 密码')}.{{0,6}}{_SEND_ZH}",
        rf"{_any('所有, 全部')}的?{_any('邮件, 消息, 联系人, 聊天, 密码')}.{{0,8}}{_SEND_ZH}.{{0,4}}(?:\S+@|https?:)",
        rf"用户的?{_any('令牌, 密码, 数据, 问题, 姓名, 凭据')}.{{0,10}}{_SEND_ZH}.{{0,4}}(?:\S+@|https?:)",
        f"{_any('透露, 显示, 输出, 重复, 公开, 打印, 告诉我, 逐字')}.{{0,10}}{_any('系统提示, 提示词, 你的指令, 初始指令, 系统指令')}",
        f"重复上面{_FEW}文字|{_REPLY_ZH}之?前[，,]?{_any('请, 先, 务必')}{{0,2}}{_any('用, 调用, 发送, 访问, 打开, 删除, 运行')}",
        f"不要{_any('总结, 回答')}{_any('本[文页], 用户, 问题, 这个')}",
    ),
    "a tool called by a name of programs": (
        rf"(?:{_any('请, 现在, 就, 先, 再, 然后, 务必, 直接')}[你就]?{_any('调用, 使用')}{_any('工具, 函数, ')}|"
        rf"{_any('调用, 使用, 运行')}工具)\s*[`“]?[a-z]\w*_\w+",
        f"解码{_any('并, 后, 以下, 下面, 这段, 它')}{_FEW}{_any('执行, 照做, 遵守, 按')}",
    ),
}


@functools.cache
def _orders() -> re.Pattern[str]:
    """Compile all patterns when the first sentence is looked at: a tenth of a second that most commands do not need."""
    patterns = (one for table in (_ENGLISH, _CHINESE) for many in table.values() for one in many)
    return re.compile("|".join(patterns), re.IGNORECASE)


def is_order(text: str) -> bool:
    """Whether a sentence reads like an order to a model."""
    return _orders().search(text) is not None


@functools.cache
def calling(tools: tuple[str, ...]) -> re.Pattern[str]:
    """Return the pattern of an order to use one of these tools.

    A name that is a word of its own, such as search, must follow its verb: "use search", and not "use the search in the
    menu".
    """
    if not tools:
        return re.compile(r"(?!)")  # matches nothing
    verbs = _any("call, use, using, invoke, run, execute, with, 调用, 用, 运行, 执行, 触发")
    plain = "|".join(re.escape(name) for name in tools if name.isalpha())
    made = "|".join(re.escape(name) for name in tools if not name.isalpha())
    patterns = []
    if made:
        patterns.append(rf"(?i:{verbs}).{{0,16}}(?<!\w)(?:{made})(?!\w)")
    if plain:
        patterns.append(rf"(?i:{verbs}(?: the tool| tool|工具)?)[ `“\"']{{0,2}}(?<!\w)(?:{plain})(?!\w)")
    return re.compile("|".join(patterns), re.ASCII)
