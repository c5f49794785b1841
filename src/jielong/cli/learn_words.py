"""The sentences of `jielong learn`, in English and Chinese side by side."""

from __future__ import annotations

from typing import Any

ROWS: dict[str, tuple[str, str]] = {
    "reading": ("Reading the judgements in {store}", "读取 {store} 中的评判"),
    "has": (
        "{pairs} pairs, {liked} thumbs up, {disliked} down and {demonstrations} written answers to {prompts} prompts, "
        "by {voters} voters",
        "{prompts} 个问题，{voters} 位评判者：{pairs} 对比较、{liked} 个赞、{disliked} 个踩、{demonstrations} 个手写回答",
    ),
    "parts": (
        "Prompts to learn from: {policy}; for the judge: {judge}; held out: {held_out}",
        "用于学习的问题：{policy}；用于训练评审的：{judge}；留出的：{held_out}",
    ),
    "will": (
        "Trains an adapter of {base} by {method}, beside everything else, in about {memory:.1f} GB of memory",
        "以低优先级用 {method} 为 {base} 训练适配器，约需 {memory:.1f} GB 内存",
    ),
    "left": ("{minutes:.1f} min left", "还需 {minutes:.1f} 分钟"),
    "keys": (
        "Which answer is better? l: left, r: right, t: both alike, b: both bad, q: go on later",
        "哪个回答更好？l：左，r：右，t：一样，b：都不好，q：以后继续",
    ),
    "pair": ("Pair {n}", "第 {n} 对"),
    "left side": ("--- left", "--- 左"),
    "right side": ("--- right", "--- 右"),
    "kept": (
        "{asked} votes are kept; the same command goes on.",
        "已保存 {asked} 票；再次运行同一命令即可继续。",
    ),
    "ask later": (
        "It is ready to be compared: run this command in a terminal, or open the page of jielong serve ({base})",
        "可以比较了：请在终端中运行此命令，或打开 jielong serve 的页面（{base}）",
    ),
    "held out": (
        "held-out pairs in which the better answer gained more: {right} of {pairs}, by {margin:.2f} nats",
        "留出的比较中，较好回答的概率提升更多的：{pairs} 对中的 {right} 对，平均 {margin:.2f} 奈特",
    ),
    "judge": (
        "the judge, right on {right} of {held_out} held-out pairs, prefers the new answers on {won} of {prompts} prompts",
        "评审（在 {held_out} 对留出的比较中判对 {right} 对）在 {prompts} 个问题中的 {won} 个上更喜欢新的回答",
    ),
    "regression": (
        "{changed:.0%} of the answers to {prompts} fixed prompts are others now",
        "对 {prompts} 个固定问题的回答中有 {changed:.0%} 发生了变化",
    ),
    "promoted": ("Promoted: {why}", "已采用：{why}"),
    "refused": ("Refused: {why}", "未采用：{why}"),
    "cancelled": ("Cancelled: {why}", "已取消：{why}"),
    "failed": ("Failed: {why}", "失败：{why}"),
    "next": (
        "jielong serve offers it as {base}-learned; jielong learn undo takes it back.",
        "jielong serve 以 {base}-learned 提供它；用 jielong learn undo 可撤回。",
    ),
    "undone": ("{attempt} is undone; {now} stands now.", "已撤回 {attempt}；现在使用 {now}。"),
    "status": ("{id}: {state}, by {method}, {progress:.0%}", "{id}：{state}，方法 {method}，{progress:.0%}"),
    "paused": ("paused", "已暂停"),
    "votes": ("{asked} votes so far; {least} to {most} are needed", "已投 {asked} 票；共需 {least} 到 {most} 票"),
    "stands": ("{now} stands now.", "现在使用 {now}。"),
}


class Words:
    """The sentences of one language."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._column = 1 if language == "zh" else 0

    def __call__(self, key: str, **values: Any) -> str:
        """A sentence with its places filled in."""
        return ROWS[key][self._column].format(**values)
