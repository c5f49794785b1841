"""What is picked for a training: padded or packed pairs, and that it stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from jielong.data.steps import PackedPairs, PaddedPairs
from jielong.model.config import ModelConfig
from jielong.model.transformer import Transformer
from jielong.stages import picking
from jielong.stages.picking import pick, picked_words, read_picked
from jielong.tokens.chat import Rendered, RenderedPair
from jielong.train.machine import Machine
from jielong.train.sources import Holds, Part, RowsConfig, SourceContext

ROWS, MACHINE = RowsConfig(length=16, rows_per_step=4, micro_rows=4), Machine(can_compile=True)
MODEL = Transformer(
    ModelConfig(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        head_dim=16,
    )
)


class Comparisons:
    """Material of a few pairs."""

    holds: Holds = "preferences"
    notes = ()

    def pairs(self, part: Part) -> list[RenderedPair]:
        return [RenderedPair(_said(3 + i), _said(4)) for i in range(4)]


def _said(length: int) -> Rendered:
    return Rendered((5,) * length, (False,) + (True,) * (length - 1))


def test_long_trainings_on_pairs_pack_them_and_compile_nothing(tmp_path: Path) -> None:
    pick(tmp_path / "few.json", ROWS, 2, MODEL, MACHINE, 1, has_pairs=True)
    pick(tmp_path / "many.json", ROWS, 10**9, MODEL, MACHINE, 1, has_pairs=True)
    pick(tmp_path / "rows.json", ROWS, 10**9, MODEL, MACHINE, 1)
    few, many, rows = (read_picked(tmp_path / f"{name}.json") for name in ("few", "many", "rows"))
    assert "packed" not in few and not few["compile"]
    assert many["packed"] and not many["compile"]
    assert "packed" not in rows and rows["compile"]
    assert "packed" in picked_words(many, MACHINE)


def test_a_training_that_began_padded_goes_on_padded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "picked.json"
    pick(file, ROWS, 2, MODEL, MACHINE, 1, has_pairs=True)
    monkeypatch.setattr(picking, "PACK_S", 0.0)
    pick(file, ROWS, 2, MODEL, MACHINE, 1, has_pairs=True)
    assert "packed" not in read_picked(file)


@pytest.mark.parametrize(("is_packed", "kind"), [(False, PaddedPairs), (True, PackedPairs)])
def test_rows_of_pairs_are_packed_where_that_was_picked(is_packed: bool, kind: type[PaddedPairs]) -> None:
    feed = ROWS.build(SourceContext(Comparisons(), seed=0, is_packed=is_packed))  # type: ignore[arg-type]
    assert type(feed.source) is kind
    assert ("ends" in feed.held_out[0].extra) is is_packed
