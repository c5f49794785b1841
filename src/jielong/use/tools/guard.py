"""What comes from documents, pages and tools is data: this is how it is kept from speaking with anybody's voice.

Four steps, in order. What a reader of the page would not see is taken out: comments, hidden elements, invisible characters.
Marks of chat formats are rewritten so that no server reads them as its own. Sentences that read like instructions to a
model are taken out, with a word where one stood. What is left stands between two lines whose key is made of the text, so
that no text can close its own frame (spotlighting by delimiters; with `datamark` a sign also replaces every blank, Hines et
al. 2024, arXiv 2403.14720). None of this is proof: a tool that changes something asks a person all the same.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass

from jielong.use.prompting import fill, language_of

_HIDDEN = (
    re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL),
    re.compile(r"<(script|style|template|noscript)\b.*?(?:</\1\s*>|\Z)", re.DOTALL | re.IGNORECASE),
    re.compile(
        r"<(\w+)\b[^<>]*(?:\bhidden\b|aria-hidden\s*=\s*[\"']?true|display\s*:\s*none|visibility\s*:\s*hidden"
        r"|font-size\s*:\s*0|opacity\s*:\s*0(?:\.0+)?\s*[;\"'])[^<>]*>.*?(?:</\1\s*>|\Z)",
        re.DOTALL | re.IGNORECASE,
    ),
)
_MARK = re.compile(
    r"<(?=\s*[|｜/]?\s*(?:im_start|im_end|endoftext|eot_id|start_header_id|end_header_id|begin_of_text|start_of_turn|end_of_turn"
    r"|system|user|assistant|tool|tool_calls?|tool_response|function_calls?|think|s|eos|bos)\b[^<>]{0,40}[|｜]?\s*>|[|｜])"
    r"|\[(?=/?(?:INST|SYS|TOOL_CALLS|TOOL_RESULTS|AVAILABLE_TOOLS)\])",
    re.IGNORECASE,
)
_ROLE = re.compile(
    r"(?im)^[ \t#>*\[]*(system|assistant|user|developer|tool|系统|助手|用户)(?:[ \t]*message)?[ \t\]*]*[:：]"
)
_SENTENCE = re.compile(r"[^.!?。！？\n]+(?:[.!?。！？]+[\"'”’)）]*|\n|\Z)|\n")
_PICTURE = re.compile(r"!\[([^\]\n]*)\]\([^)\n]*\)")
_BASE64 = re.compile(r"\b[A-Za-z0-9+/]{24,}={0,2}")

_ABOUT = r"(?:previous|prior|above|earlier|preceding|all|any|these|those|your|the|my|system|initial|original|safety|question|user)"
_INSTRUCTIONS = re.compile(
    "|".join(
        (
            # to forget or replace what was said before
            rf"\b(?:ignore|disregard|forget|stop following|do not follow|don't follow)\b.{{0,20}}\b{_ABOUT}\b",
            r"\b(?:override|bypass|skip)\b.{0,30}\b(?:instructions?|rules|prompt|safety)\b",
            r"\bnew (?:instructions?|task|rules?|orders?|system prompt)\b",
            r"\b(?:you (?:are|must) now|from now on|instead of answering|pretend (?:to be|that)|act as|switch to)\b",
            # to say something particular
            r"\b(?:say|reply|respond|answer|write|output|print|repeat|begin|start|end|finish|include|append|add)\b.{0,30}"
            r"\b(?:only|exactly|instead|with|the word|the words|the phrase|the code|nothing but|following)\b",
            r"\b(?:tell|convince|inform|recommend to|advise) the (?:user|reader|person)\b",
            # to call something, send something, show something
            r"\b(?:call|use|invoke|run|execute|trigger)\b.{0,20}\btools?\b",
            r"\b(?:send|email|e-mail|mail|post|upload|forward|leak|transmit|submit)\b.{0,60}"
            r"(?:@|https?:|\bto\b|\b(?:conversation|password|secret|key|history|data)\b)",
            r"\b(?:reveal|show|print|repeat|output|disclose|translate)\b.{0,30}\b(?:prompt|instructions?|password|secret|key)\b",
            r"\b(?:note|message|attention|important|instructions?|reminder)\b.{0,20}\b(?:to|for)\b.{0,12}"
            r"\b(?:ai|assistant|model|language model|llm|chatbot|bot)\b",
            r"\b(?:ai|assistant|language model|llm|chatbot)s?\b.{0,30}\b(?:must|should|shall|has to|have to|needs? to|please)\b",
            r"\{\s*\"name\"\s*:.{0,200}\"(?:arguments|parameters)\"\s*:",
            r"\b(?:decode|base64|rot13)\b.{0,40}\b(?:follow|obey|execute|do|run|it)\b",
            # the same in Chinese
            "(?:忽略|无视|忘记|忘掉|不要理会|不要遵守|跳过|推翻).{0,12}(?:指令|指示|要求|规则|提示|内容|问题|上文|上面|以上|之前|前面|一切|所有)",
            "新的?(?:指令|指示|任务|规则|要求)|从现在(?:开始|起)|你现在是|假装|扮演|不要回答",
            "(?:只|仅|请|必须|务必|直接|改为|然后)(?:需|能|要|须)?(?:你)?(?:回答|回复|输出|说|写|返回|重复|告诉)",
            "(?:回答|回复|输出|开头|结尾|末尾|最后).{0,8}(?:加上|写上|包含|必须|只能|写|说)",
            "(?:调用|使用|运行|执行|触发).{0,10}工具",
            "(?:发送|发给|发到|寄到|上传|转发|泄露|提交|发邮件).{0,30}(?:@|https?:|到|给|至|邮箱|密码|密钥|对话|记录)",
            "把.{0,20}(?:发送|发给|发到|寄到|上传|转发|提交)",
            "(?:透露|显示|输出|重复|公开).{0,12}(?:系统提示|提示词|指令|密码|密钥)",
            "(?:助手|模型|人工智能|机器人|AI).{0,10}(?:必须|应当|应该|需要|请|务必|注意)|(?:致|给|告)(?:AI|人工智能|助手|模型)",
            "(?:解码|base64).{0,16}(?:执行|照做|遵守|按)",
        )
    ),
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Guarded:
    """A text made safe to show to a model, and the sentences of it that were left out."""

    text: str
    left_out: tuple[str, ...] = ()


def guarded(text: str, source: str, tools: Collection[str] = (), *, datamark: bool = False) -> Guarded:
    """The text of `source` (a tool's name, say) as data: without instructions, without marks, framed.

    `tools` are the names of those that could be called: a sentence that says to use one of them is an instruction.
    """
    kept, left_out = without_instructions(visible(text), tools)
    kept = unmarked(kept)
    language = language_of(kept)
    name = "data_marked" if datamark else "data"
    if datamark:
        kept = re.sub(r"\s+", "^", kept)
    key = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
    return Guarded(fill(name, language, text=kept, source=source, key=key), left_out)


def visible(text: str) -> str:
    """The text as a reader sees it: no comments, hidden elements, addresses of pictures or invisible characters."""
    for pattern in _HIDDEN:
        text = pattern.sub("", text)
    text = _PICTURE.sub(r"[\1]", text)
    shown = (c for c in text if unicodedata.category(c) not in ("Cf", "Co", "Cs") and (c in "\n\t" or c.isprintable()))
    return "".join(shown)


def unmarked(text: str) -> str:
    """The text with the opening sign of every mark of a chat format, and of every line that names a speaker, rewritten."""
    text = _MARK.sub(lambda m: "‹" if m.group() == "<" else "(", text)
    return _ROLE.sub(lambda m: f"“{m[1]}” -", text)


def is_instruction(sentence: str, tools: Collection[str] = ()) -> bool:
    """Whether a sentence reads as if it told a model what to do, or to use one of `tools`; also one hidden in base64."""
    calling = _calling(tuple(tools))
    said = [unicodedata.normalize("NFKC", sentence), *map(_decoded, _BASE64.findall(sentence))]
    return any(_INSTRUCTIONS.search(text) or calling.search(text) for text in said)


@functools.cache
def _calling(tools: tuple[str, ...]) -> re.Pattern[str]:
    if not tools:
        return re.compile(r"(?!)")  # matches nothing
    names = "|".join(map(re.escape, tools))
    return re.compile(
        rf"(?:call|use|using|invoke|run|execute|with|用|运行|执行|触发).{{0,16}}(?<!\w)(?:{names})(?!\w)", re.I | re.A
    )


def sentences(text: str) -> list[str]:
    """The sentences of a text; a line ends one."""
    return [said for found in _SENTENCE.findall(text) if (said := found.strip())]


def without_instructions(text: str, tools: Collection[str] = ()) -> tuple[str, tuple[str, ...]]:
    """The text with a word in place of each sentence that reads like an instruction, and those sentences."""
    left_out: list[str] = []
    word = fill("left_out", language_of(text))

    def look(found: re.Match[str]) -> str:
        sentence = found.group()
        if not is_instruction(sentence, tools):
            return sentence
        left_out.append(sentence.strip())
        return word + ("\n" if sentence.endswith("\n") else " ")

    return _SENTENCE.sub(look, text), tuple(left_out)


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
