"""Stories: the plan is in every draft, the best draft is taken, what contradicts is mended; and what is measured of them."""

from __future__ import annotations

import asyncio
import random
import re

import pytest
from bench.strategies import story as bench
from bench.strategies.calibrated import Calibrated, Known
from tests.test_port import talkative_port

from jielong.records import Conversation, Message
from jielong.use.ledger import Budget
from jielong.use.port import Options
from jielong.use.strategies import named
from jielong.use.strategies.story import Draft, mean_mark
from jielong.use.strategy import Outcome, run

PREMISES = {"en": "Write about Ann and Bo.", "zh": "写一个关于王芳和李明的故事。"}
CAST = {"en": ("Ann: a tall cook", "Bo: her shy brother"), "zh": ("王芳：高个子厨师", "李明：害羞的弟弟")}
OUTLINE = {"en": ("They lose the soup.", "They find it."), "zh": ("他们丢了汤。", "他们找到了汤。")}
SETTING = {"en": "A kitchen at night.", "zh": "夜里的厨房。"}


def author(language: str, issues: str = "None.", edit: str = "{} mended") -> Calibrated:
    """Plans as above; a draft is a letter by dice, its mark the letter's place, an edit the draft with "mended" after it."""

    def react(said: Conversation, known: Known | None, dice: random.Random) -> str:
        text = said.messages[-1].text
        last = text.splitlines()[-1]
        passage = (re.findall(r"(?:Passage:|段落：)\n(.*)", text) or [""])[0]
        if "take place" in last or "什么地方" in last:
            return SETTING[language]
        if "main characters" in last or "主要人物" in last:
            return "\n".join(f"- {line}" for line in CAST[language])
        if "Outline this" in last or "提纲。" in last:
            return "\n".join(f"{n}. {line}" for n, line in enumerate(OUTLINE[language], 1))
        if "two numbers" in last or "两个数字" in last:
            return f"{ord(passage[-1]) - 96}\n10"
        if "contradict" in last or "矛盾" in last:
            return issues
        if "mended" in last or "改好" in last:
            return edit.format(passage)
        if "one or two sentences" in last or "一两句" in last:
            return f"sum of {text.splitlines()[0]}"
        return f"part {dice.choice('abcdefg')}"

    return Calibrated((), react=react)


def told(spec: str, model: Calibrated, language: str = "en", budget: Budget | None = None, **given: object) -> Outcome:
    conversation = Conversation((Message("user", PREMISES[language]),))
    return asyncio.run(run(named(spec, given), conversation, model.ask, Options(), budget=budget))


def prompts(outcome: Outcome, label: str) -> list[str]:
    return [c.conversation.messages[-1].text for c in outcome.calls if c.label.startswith(label)]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_whole_plan_and_what_happened_are_in_every_draft(language: str) -> None:
    outcome = told("story:parts=2,drafts=3", author(language), language)
    drafts = prompts(outcome, "draft")
    assert len(drafts) == 2 * 3
    for text in drafts:
        assert all(line in text for line in (SETTING[language], *CAST[language], *OUTLINE[language]))
    first = outcome.answer.text.split("\n\n")[0]
    for text in drafts[3:]:
        assert f"sum of {first}" in text and f"\n{first}\n" in text
    for text in drafts[:3]:
        assert "sum of" not in text


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_draft_with_the_highest_marks_is_taken(language: str) -> None:
    outcome = told("story:parts=2,drafts=4", author(language), language)
    written = [c.answer.text for c in outcome.calls if c.label.startswith("draft")]
    assert len(set(written[:4])) > 1, "else there is nothing to choose"
    assert outcome.answer.text.split("\n\n") == [max(written[:4]), max(written[4:])]


def test_a_program_may_rank_the_drafts_and_no_mark_is_asked_for() -> None:
    def early(draft: Draft) -> float:
        assert draft.point in OUTLINE["en"] and len(draft.before) == OUTLINE["en"].index(draft.point)
        return -ord(draft.text[-1])

    outcome = told("story:parts=2,drafts=4", author("en"), rank=early)
    written = [c.answer.text for c in outcome.calls if c.label.startswith("draft")]
    assert outcome.answer.text.split("\n\n") == [min(written[:4]), min(written[4:])]
    assert not prompts(outcome, "mark")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_contradicts_the_plan_is_mended_and_nothing_else(language: str) -> None:
    found = told("story:parts=1,drafts=1", author(language, "Ann is small here."), language)
    assert found.answer.text.endswith(" mended")
    assert "Ann is small here." in prompts(found, "edit")[0]
    fine = told("story:parts=1,drafts=1", author(language, "无" if language == "zh" else "None."), language)
    assert not fine.answer.text.endswith(" mended") and not prompts(fine, "edit")


def test_an_edit_that_is_another_text_is_not_taken() -> None:
    model = author("en", "Ann is small here.", "Sure! I have changed the following things for you.")
    outcome = told("story:parts=1,drafts=1", model)
    assert prompts(outcome, "edit") and outcome.answer.text.startswith("part ")


def test_an_outline_that_is_too_short_is_filled_with_the_premise_and_a_long_one_cut() -> None:
    longer = told("story:parts=3,drafts=1", author("en"))
    assert f"part 3/3 of the story now: {PREMISES['en']}" in prompts(longer, "draft")[2]
    assert len(prompts(told("story:parts=1,drafts=1", author("en")), "draft")) == 1


def test_a_story_that_is_stopped_keeps_the_parts_it_has() -> None:
    whole = told("story:parts=2,drafts=1", author("en"))
    labels = [c.label for c in whole.calls]
    stopped = told("story:parts=2,drafts=1", author("en"), budget=Budget(calls=labels.index("draft 2 0")))
    assert stopped.is_stopped and stopped.answer.text == whole.answer.text.split("\n\n")[0]


def test_marks_are_read_with_and_without_a_scale() -> None:
    assert mean_mark("7\n9") == 8
    assert mean_mark("Coherence: 7/10, relevance: 8.5/10") == 7.75
    assert mean_mark("20 and 2, all in all 1") == 6, "10 is the most, and two marks count"
    assert mean_mark("very good") == 0


# --- measures


def test_repetition_counts_words_and_in_chinese_characters() -> None:
    assert bench.tokens("Don't stop. 明月 2x") == ["don't", "stop", "明", "月", "2x"]
    words = bench.tokens("a b c d a b c d")
    # abcd bcda cdab dabc abcd: one of five was there before
    assert bench.repeated(words) == pytest.approx(1 / 5)
    assert bench.distinct(words, 1) == pytest.approx(4 / 8)
    # ab bc cd da ab bc cd
    assert bench.distinct(words, 2) == pytest.approx(4 / 7)
    assert bench.repeated(bench.tokens("床前明月光床前明月光")) == pytest.approx(2 / 7)
    assert bench.repeated(["a"]) == 0


def test_presence_is_the_share_of_fifths_with_the_name() -> None:
    text = "Ann ran. She fell. Bo came. Bo saw Ann. They left."
    assert bench.presence(text, ["Ann", "Bo"]) == pytest.approx((2 + 2) / 10)
    assert bench.presence("王芳来了。她走了。李明到了。李明笑了。天黑了。", ["王芳", "李明"]) == pytest.approx(3 / 10)
    assert bench.presence("", ["Ann"]) == 0


def test_strangers_are_names_that_nobody_introduced() -> None:
    text = "Ann met Carl. They ran. Then came Bo. But with Eve and Carl, and Eve, all was well. On Monday, they slept."
    assert bench.strangers(text, "A story of Ann and Bo.") == {"Eve"}
    assert bench.strangers("王芳来了。她走了。天黑了。赵强说：“走。”王芳笑了。", "王芳的故事") == {"赵强"}


def test_a_contradiction_is_said_of_one_person_alone() -> None:
    people = (bench.Person("Mara", r"\bblack\s+hair"), bench.Person("Tobias", r"\bsaw\b"))
    text = "Mara brushed her black hair. Tobias saw the sea. Mara and Tobias saw nothing. Mara has red hair."
    assert bench.contradictions(text, people) == 2


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_experiment_compares_stories_in_pairs(language: str) -> None:
    premise = next(p for p in bench.PREMISES if bench.language_of(p.text) == language)
    outcomes = asyncio.run(bench.pair(premise, author(language).ask, 0, 20))
    assert tuple(outcomes) == bench.NAMES
    assert len(bench.tokens(outcomes["going on"].answer.text)) >= len(bench.tokens(outcomes["Re3"].answer.text))
    lines = {line.name: line for line in bench.lines(premise, outcomes)}
    assert len(lines) == len(outcomes) + len(bench.fields(bench.Measures))
    presence = lines["presence, Re3"]
    assert presence.equal and presence.equal.name == "one sample" and presence.against
    names = [person.name for person in premise.people]
    assert presence.against.scores == (bench.presence(outcomes["going on"].answer.text, names),)


def test_a_story_of_a_model_that_never_stops_is_compared_at_equal_tokens_written() -> None:
    premise = bench.PREMISES[0]
    outcomes = asyncio.run(bench.pair(premise, talkative_port(positions=8192).ask, 0, 6))
    for outcome in outcomes.values():
        assert outcome.usage.completion_tokens == sum(len(call.answer.ids) for call in outcome.calls)
        assert outcome.usage.prompt_tokens == sum(len(call.answer.prompt_ids) for call in outcome.calls)
    re3, once, going_on = outcomes.values()
    assert once.usage.completion_tokens == re3.usage.completion_tokens > 5 * 3 * 6, (
        "three drafts of five parts, and more"
    )
    assert len(once.calls) == 1 and once.answer.stop == "length"
    assert len(bench.tokens(going_on.answer.text)) >= len(bench.tokens(re3.answer.text))
    # repetition is counted in as many words as the shortest has
    shortest = min(len(bench.tokens(outcome.answer.text)) for outcome in outcomes.values())
    repeated = next(line for line in bench.lines(premise, outcomes) if line.name == "repeated_4, Re3")
    assert repeated.scores == (bench.repeated(bench.tokens(re3.answer.text)[:shortest]),)
