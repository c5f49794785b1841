"""The page report.html: one file that needs no network and no script, light or dark as the reader's screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from jielong.report.gauge import gauge_figures
from jielong.report.page import STYLE
from jielong.report.plots import Series, number, plot, running_mean
from jielong.report.report import ReportData, best_stages, control, rows
from jielong.report.words import ENGLISH, Words
from jielong.runs import write_text


def write_report(path: Path, data: ReportData, words: Words = ENGLISH) -> None:
    """Write the HTML report to `path`, in one go. ResourceError when the disk is full or the folder forbidden."""
    write_text(path, report_html(data, words))


def report_html(data: ReportData, words: Words = ENGLISH) -> str:
    """Render the report as one page of HTML that fetches nothing."""
    sections = [
        _header(data, words),
        _section(words("results"), _table(data, words) + _gains(data, words) + _legend(data, words)),
        _section(words("same questions"), _samples(data, words)),
        _section(words("training"), _plots(data, words)),
        _section(words("gauge"), "".join(gauge_figures(one, words) for one in data.gauges.values())),
        _section(words("pages to text"), _refine(data, words)),
        _section(words("the run"), _facts(data, words)),
    ]
    return (
        f'<!DOCTYPE html>\n<html lang="{words.language}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>Jielong · {escape(data.title(words))}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(s for s in sections if s)
        + "\n</main>\n</body>\n</html>\n"
    )


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>" if body else ""


def _header(data: ReportData, words: Words) -> str:
    """Render the title, the main figures and the warnings."""
    last = list(data.stages)[-1] if data.stages else ""
    values = data.stages.get(last, {})
    tiles = []
    for measure in rows(data):
        if measure.key in ("unseen_accuracy_en", "unseen_accuracy_zh", "invention_rate", "gold_score"):
            if measure.key in values:
                name = words("of stage", measure=measure.name(words), stage=words.stage(last))
                tiles.append((measure.show(values[measure.key]), name))
    if "seconds" in data.facts:
        tiles.append((words.duration(data.facts["seconds"]), words("from pages to report")))
    if "peak_memory_bytes" in data.facts:
        tiles.append((words.size(data.facts["peak_memory_bytes"]), words("most memory")))
    cards = "".join(f"<div><b>{escape(value)}</b><span>{escape(name)}</span></div>" for value, name in tiles)
    notes = "".join(f"<li>{escape(words.warning(w))}</li>" for w in data.warnings)
    warnings = f"<aside><h2>{words('worth knowing')}</h2><ul>{notes}</ul></aside>" if notes else ""
    return (
        f'<header><p class="brand">Jielong 接龙</p><h1>{escape(data.title(words))}</h1></header>'
        f'<div class="tiles">{cards}</div>{warnings}'
    )


# Results ---------------------------------------------------------------------------------------------------------


def _table(data: ReportData, words: Words) -> str:
    """Render the table of measures by stage."""
    head = "".join(f'<th scope="col">{escape(words.stage(s))}</th>' for s in data.stages)
    head += "".join(f'<th scope="col" class="control">{escape(words.stage(c))}</th>' for c in data.controls)
    lines = []
    for measure in rows(data):
        best = best_stages(data, measure)
        way = {1: "↑", -1: "↓", 0: ""}[measure.better]
        cells = ""
        for stage, values in data.stages.items():
            mark = ' class="best"' if stage in best else ""
            cells += f"<td{mark}>{measure.show(values.get(measure.key))}</td>"
        for name in data.controls:
            cells += f'<td class="control">{measure.show(control(data, name, measure.key))}</td>'
        name = escape(measure.name(words))
        lines.append(f'<tr><th scope="row">{name} <span class="way">{way}</span></th>{cells}</tr>')
    return (
        f'<div class="wide"><table class="results"><thead><tr><th scope="col">{words("measure")}</th>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _legend(data: ReportData, words: Words) -> str:
    """Render the explanations of the measures."""
    terms = [(m.name(words), m.meaning(words)) for m in rows(data)]
    terms += [(words("control", name=words.stage(c)), words.known(f"meaning.{c}", "")) for c in data.controls]
    items = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>" for name, text in terms if text)
    return f'<p class="muted">{escape(words("reading the table"))}</p><dl>{items}</dl>'


def _gains(data: ReportData, words: Words) -> str:
    """Render one line for each stage that was compared with the one before."""
    lines = []
    for pair, gain in data.facts.get("gains", {}).items():
        new, _, old = pair.partition(" over ")
        told = words(
            "gain",
            new=words.stage(new),
            old=words.stage(old),
            mean=gain["mean"],
            low=gain["low"],
            high=gain["high"],
            verdict=words("not chance" if gain["excludes_zero"] else "chance"),
        )
        lines.append(f"<li>{escape(told)}</li>")
    if not lines:
        return ""
    return f'<p class="muted gains">{escape(words("gains"))}</p><ul class="gains">{"".join(lines)}</ul>'


# Cards -----------------------------------------------------------------------------------------------------------


def _samples(data: ReportData, words: Words) -> str:
    """Render the cards: a question and every stage's answer."""
    blocks = []
    for sample in data.samples:
        cells = []
        for stage, answer in sample["answers"].items():
            kind, sign, said = _verdict(answer.get("score"))
            said = words(said) if said else ""
            mark = f'<span class="mark" title="{said}" aria-label="{said}">{sign}</span>' if sign else ""
            text = escape(answer["text"].rstrip("\ufffd").strip()) or f'<span class="muted">{words("nothing")}</span>'
            cells.append(
                f'<div class="answer {kind}"><h4>{escape(words.stage(stage))}{mark}</h4><div class="text">{text}</div></div>'
            )
        reference = sample.get("reference")
        right = f'<span class="muted"> → {escape(reference)}</span>' if reference else ""
        question = f"{_label(sample, words)}<h3>{escape(sample['question'])}{right}</h3>"
        blocks.append(f'<article>{question}<div class="answers">{"".join(cells)}</div></article>')
    return _how_chosen(data, words) + "".join(blocks)


def _how_chosen(data: ReportData, words: Words) -> str:
    """Render how the cards were chosen, so that nobody takes them for a sample of the whole exam."""
    if not data.chosen:
        return ""
    lines = []
    for pair in data.chosen["pairs"]:
        better, worse = pair["better"], pair["worse"]
        names = {"old": words.stage(pair["old"]), "new": words.stage(pair["new"])}
        lines.append(words("cards pair", **names, differ=better + worse, better=better, worse=worse))
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    before = escape(words("cards chosen", questions=data.chosen["questions"]))
    after = escape(words("cards order", agree=data.chosen["agree"]))
    return f'<div class="muted chosen"><p>{before}</p><ul>{items}</ul><p>{after}</p></div>'


def _label(sample: Mapping[str, Any], words: Words) -> str:
    """Render the kind of question, and which change the card was chosen for."""
    if "kind" not in sample:
        return ""
    change = sample["change"]
    names = {"old": words.stage(sample["old"]), "new": words.stage(sample["new"])} if change != "same" else {}
    kind = words.known(f"kind.{sample['kind']}", sample["kind"])
    return (
        f'<p class="label">{escape(kind)} <span class="{change}">{escape(words(f"card {change}", **names))}</span></p>'
    )


def _verdict(score: float | None) -> tuple[str, str, str]:
    """Return class, sign and word of a score."""
    if score is None:
        return "", "", ""
    if score > 0:
        return "right", "✓", "right"
    return ("wrong", "✗", "wrong") if score < 0 else ("neutral", "○", "neither")


# Curves ----------------------------------------------------------------------------------------------------------


def _plots(data: ReportData, words: Words) -> str:
    """Render the curves of each training stage."""
    figures = []
    for stage, lines in data.curves.items():
        name, x = words.stage(stage), words("step")
        held_out = _points(lines, "step", "held_out_loss")
        loss = [
            *_curve(words("train"), _points(lines, "step", "loss"), 1),
            Series(words("held-out"), held_out, colour=2),
        ]
        drawn = _draw_plot(loss, x, words(_loss_of(lines)), words)
        figures.append(_figure(words("loss of", stage=name), drawn, loss, words))
        rewards = _points(lines, "step", "score")
        if rewards:
            reward = _curve(words("reward line"), rewards, 3)
            figures.append(
                _figure(words("reward of", stage=name), _draw_plot(reward, x, words("reward"), words), reward, words)
            )
        path = [Series(words("KL, reward"), _points(lines, "kl", "score"), "path", 3)]
        if path[0].points:
            drawn = _draw_plot(path, words("KL"), words("reward"), words)
            figures.append(_figure(words("reward and KL of", stage=name), drawn, path, words))
    return f'<div class="plots">{"".join(figures)}</div>' if figures else ""


def _loss_of(lines: Sequence[Mapping[str, Any]]) -> str:
    """Name a loss with its unit. That of reinforcement has none, as its terms differ."""
    keys = {key for line in lines for key in line}
    return "loss" if "kl" in keys else "loss a pair" if "gap" in keys else "loss a token"


def _draw_plot(series: Sequence[Series], x: str, y: str, words: Words) -> str:
    drawn = plot(series, x_label=x, y_label=y, label=words("over", y=y, x=x))
    return drawn or f'<p class="muted">{words("nothing logged")}</p>'


def _curve(name: str, points: Sequence[tuple[float, float]], colour: int) -> list[Series]:
    """Return the points as a line; many of them as a faint line with a running mean before it."""
    if len(points) <= 40:
        return [Series(name, points, colour=colour)]
    mean = running_mean(points, max(2, len(points) // 50))
    return [Series(name, points, "faint", colour), Series(name, mean, colour=colour)]


def _points(lines: Sequence[Mapping[str, Any]], x: str, y: str) -> list[tuple[float, float]]:
    return [(float(r[x]), float(r[y])) for r in lines if r.get(x) is not None and r.get(y) is not None]


def _figure(title: str, drawn: str, series: Sequence[Series], words: Words) -> str:
    marks = {s.mark for s in series}
    note = words("path of steps" if "path" in marks else "mean of steps" if "faint" in marks else "every step")
    return f"<figure><figcaption><b>{escape(title)}</b><span>{escape(note)}</span></figcaption>{drawn}</figure>"


# The run ---------------------------------------------------------------------------------------------------------


def _refine(data: ReportData, words: Words) -> str:
    """Render the counts of refining as bars."""
    if not data.refine:
        return ""
    texts = data.refine["num_texts"]
    dropped = sorted(data.refine["dropped"].items(), key=lambda pair: -pair[1])
    bars = _bar(
        words("kept"), data.refine["num_documents"] / max(texts, 1), _texts(data.refine["num_documents"], words), "good"
    )
    for reason, count in dropped:
        name = reason.replace("_", " ")
        name = words.known(f"drop.{name}", name)
        bars += _bar(name, count / max(texts, 1), _texts(count, words))
    told = words("refined", pages=data.refine["num_pages"], texts=texts)
    return f'<p class="muted">{escape(told)}</p><div class="bars">{bars}</div>'


def _texts(count: int, words: Words) -> str:
    return words("one text") if count == 1 else words("texts", count=count)


def _bar(name: str, share: float, text: str, kind: str = "") -> str:
    """Render one bar with its name, share and count."""
    return (
        f'<span class="name">{escape(name)}</span><span class="rail">'
        f'<i class="{kind}" style="width:{100 * min(1.0, share):.2f}%"></i></span>'
        f'<span class="count">{escape(text)} <em>{100 * share:.1f}%</em></span>'
    )


def _facts(data: ReportData, words: Words) -> str:
    """Render times and facts of the run."""
    seconds = data.facts.get("seconds_by_stage", {})
    total = max(sum(seconds.values()), 1e-9)
    bars = "".join(_bar(words.stage(stage), s / total, words.duration(s)) for stage, s in seconds.items())
    lines = [*_flatten_facts(data.facts, words), *_picked(data.facts.get("picked", {}), words)]
    table = "".join(f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in lines)
    times = f'<p class="muted">{words("time by stage")}</p><div class="bars">{bars}</div>' if bars else ""
    return times + (f'<table class="facts">{table}</table>' if table else "")


def _picked(picked: Mapping[str, Any], words: Words) -> list[tuple[str, str]]:
    """Return how each stage was trained on this machine, as labels and values."""
    lines = []
    for stage, found in picked.items():
        if isinstance(found, Mapping):
            told = [words("compiled" if found.get("compile") else "not compiled")]
            shape = found.get("shape")
            if isinstance(shape, Sequence) and len(shape) == 2:
                told.append(words("micro-batch", rows=shape[0], length=shape[1]))
            lines.append((words("how trained", stage=words.stage(stage)), words("comma").join(told)))
    return lines


_ELSEWHERE = ("recipe", "seconds_by_stage", "gains", "picked")


def _flatten_facts(facts: Mapping[str, Any], words: Words, above: str = "") -> list[tuple[str, str]]:
    """Return label and value of every fact that stands nowhere else on the page."""
    lines = []
    for key, value in facts.items():
        path = f"{above}{key}"
        if key in _ELSEWHERE:
            continue
        if isinstance(value, Mapping):
            lines += _flatten_facts(value, words, f"{path}.")
        else:
            name = words.known(f"fact.{path}", path.replace("_", " ").replace(".", words("colon")))
            lines.append((name, _format_fact(key, value, words)))
    return lines


def _format_fact(key: str, value: Any, words: Words) -> str:
    """Format a fact with the unit that its name implies."""
    if value is None or isinstance(value, bool):
        return words({None: "none", True: "yes", False: "no"}[value])
    if isinstance(value, (int, float)):
        if key.endswith("seconds"):
            return words.duration(value)
        if key.endswith("_bytes"):
            return words.size(value)
        if key.startswith("load_at"):
            return words("processes", count=value)
        if key == "gflops":
            return words("gflops", count=value)
        if key.startswith("exam_questions"):
            return f"{100 * value:.1f}%"
        return number(value) if isinstance(value, float) else f"{value:,}"
    return words("comma").join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
