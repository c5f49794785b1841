"""Token draws as text for a terminal: one block a token, 80 columns wide."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.cells import cell_len, set_cell_size

from jielong.records import Candidate, Cut, Draw

Name = Callable[[int], str]
"""From a token's id to how it is shown."""

_LABEL, _CELL = 17, 11


def legend(*, is_greedy: bool, has_cuts: bool) -> str:
    """Explain the lines of a block, to be read once."""
    lines = [
        "A block is a token: its place, the token, its probability, how it was chosen.",
        "  ␣ is a space, ↵ a line break, \\xe4 a byte of a character that tokens share.",
        "  likeliest         the tokens that the model held likeliest, and below",
        "  at temperature 1  their probabilities as the model gives them",
    ]
    if not is_greedy:
        lines.append("  at 0.8            the same at the temperature asked for, where it is another")
    if has_cuts:
        lines.append("  left              the same of the tokens that the filters left, 100% together")
        lines.append("  cut               how many tokens each filter took, and their probability")
    if is_greedy:
        return "\n".join([*lines, "At temperature 0 the likeliest token is taken: no dice are thrown.", ""])
    return "\n".join(
        [
            *lines,
            "  number            drawn evenly from 0 to 1. The tokens that are left lie there",
            "                    side by side, in the vocabulary's order, as wide as their",
            "                    probability; the token is the one that the number fell into",
            "",
        ]
    )


def draw_block(number: int, draw: Draw, name: Name) -> str:
    """Format how the token with this number in the answer was drawn."""
    taken = _Column(draw.taken, name)
    chance = percent(draw.taken.left if draw.uniform is not None else draw.taken.model)
    lines = [f"{number:>4}  {taken.name}  {chance}  {_choice_line(draw)}"]
    columns = [_Column(one, name) for one in draw.likeliest]
    lines.append(_line("likeliest", [one.name for one in columns]))
    lines.append(_line("at temperature 1", [percent(one.candidate.model) for one in columns]))
    if draw.uniform is not None and any(one.model != one.tempered for one in (draw.taken, *draw.likeliest)):
        changed = f"at {draw.temperature:g}" if draw.temperature != 1 else "with the penalty"
        lines.append(_line(changed, [percent(one.candidate.tempered) for one in columns]))
    if draw.cuts:
        lines.append(_line("left", [percent(c.left) if c.left else "cut" for c in draw.likeliest]))
        lines += _wrap_parts("cut", [_cut(cut) for cut in draw.cuts] + [f"left {draw.num_left:,}"])
    return "\n".join(lines)


class _Column:
    """A token among the likeliest, cut to its column."""

    def __init__(self, candidate: Candidate, name: Name) -> None:
        self.candidate = candidate
        shown = name(candidate.id)
        fits = cell_len(shown) < _CELL
        self.name = shown if fits else set_cell_size(shown, _CELL - 2).rstrip() + "…"


def _choice_line(draw: Draw) -> str:
    """Format the random number that chose the token, or that none was needed."""
    if draw.uniform is None:
        return "likeliest taken, no dice" if draw.rank == 1 else "likeliest that was left taken, no dice"
    return f"number {draw.uniform:.4f} fell in {draw.low:.4f} to {draw.high:.4f}, {_rank(draw.rank)}"


def _rank(rank: int) -> str:
    return "the likeliest" if rank == 1 else f"rank {rank:,}"


def _cut(cut: Cut) -> str:
    return f"{cut.filter} {cut.num_ids:,} with {percent(cut.probability)}" if cut.num_ids else f"{cut.filter} none"


def _line(label: str, cells: Sequence[str]) -> str:
    return ("      " + f"{label:<{_LABEL}}" + "".join(set_cell_size(cell, _CELL) for cell in cells)).rstrip()


def _wrap_parts(label: str, parts: Sequence[str], width: int = 80) -> list[str]:
    """Join parts after a label with commas, over as many lines as needed."""
    lines: list[str] = []
    margin = 6 + _LABEL
    for number, part in enumerate(parts):
        piece = part + ("," if number < len(parts) - 1 else "")
        if lines and len(lines[-1]) + 1 + len(piece) <= width:
            lines[-1] += f" {piece}"
        else:
            lines.append(" " * margin + piece)
    return [f"      {label:<{_LABEL}}{lines[0].lstrip()}", *lines[1:]]


def percent(probability: float) -> str:
    """Format a probability in percent, with enough digits to tell it from 0 and from 1."""
    share = 100 * probability
    if 0 < share < 0.01:
        return "<0.01%"
    if 99.99 < share < 100:
        return ">99.99%"
    if share in (0, 100):
        return f"{share:.0f}%"
    return f"{share:.2f}%" if share < 1 or share > 99 else f"{share:.1f}%"
