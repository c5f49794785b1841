"""Shards: what was written is read, in any number of files, and damage is found at the door."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from jielong.data.shards import Shards, TokenArray, encode_documents, write_shards
from jielong.errors import DataError
from jielong.records import Document
from jielong.tokens import TokenizerConfig, train_tokenizer

TOKENIZER = train_tokenizer([], TokenizerConfig(vocab_size=320))
DOCUMENTS = [Document(text, id=f"id-{i}") for i, text in enumerate(["one", "", "二つ目", "<|endoftext|> four\n", "5"])]


def test_documents_come_back_from_one_shard_or_many(tmp_path: Path) -> None:
    expected = [[*TOKENIZER.encode(d.text), TOKENIZER.endoftext] for d in DOCUMENTS]
    for shard_tokens, num_shards in ((1000, 1), (6, 3), (1, 5)):
        folder = tmp_path / str(shard_tokens)
        written = write_shards(folder, encode_documents(DOCUMENTS, TOKENIZER), TOKENIZER, shard_tokens=shard_tokens)
        shards = Shards(folder)
        assert len(shards.manifest["shards"]) == num_shards
        assert [shards.document(i).tolist() for i in range(shards.num_documents)] == expected
        assert shards.ids == [d.id for d in DOCUMENTS]
        assert written.manifest == shards.manifest
        assert shards.manifest["tokenizer"] == TOKENIZER.digest
        assert shards.num_tokens == shards.manifest["num_tokens"] == sum(map(len, expected))
        assert shards.manifest["num_bytes"] == sum(len(d.text.encode()) for d in DOCUMENTS)
        in_memory = TokenArray.of(expected)
        index = np.random.default_rng(0).integers(0, shards.num_tokens, (3, 7))
        np.testing.assert_array_equal(shards.gather(index), in_memory.gather(index))
        np.testing.assert_array_equal(shards.offsets, in_memory.offsets)


def test_the_files_are_little_endian_uint16_and_uint64(tmp_path: Path) -> None:
    write_shards(tmp_path / "s", [("a", [300, 64]), ("b", [0])], TOKENIZER)
    assert (tmp_path / "s" / "shard-00000.bin").read_bytes() == bytes([300 - 256, 1, 64, 0, 0, 0])
    assert (tmp_path / "s" / "shard-00000.idx").read_bytes() == b"".join(n.to_bytes(8, "little") for n in (0, 2, 3))
    assert (tmp_path / "s" / "shard-00000.ids").read_text() == "a\nb\n"


def test_a_folder_exists_only_when_complete_and_is_not_overwritten(tmp_path: Path) -> None:
    def breaks_off():  # type: ignore[no-untyped-def]
        yield "a", [64]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shards(tmp_path / "s", breaks_off(), TOKENIZER)
    assert not (tmp_path / "s").exists()
    write_shards(tmp_path / "s", [("a", [64])], TOKENIZER)
    with pytest.raises(DataError, match="exists already"):
        write_shards(tmp_path / "s", [("b", [65])], TOKENIZER)
    assert Shards(tmp_path / "s").ids == ["a"]


@pytest.mark.parametrize(
    ("documents", "why"),
    [
        ([], "no document"),
        ([("a", [320])], "outside the vocabulary"),
        ([("a", [-1])], "outside the vocabulary"),
        ([("a", [])], "no tokens"),
        ([("a\nb", [64])], "line break"),
    ],
)
def test_what_is_no_document_is_refused(tmp_path: Path, documents: list[tuple[str, list[int]]], why: str) -> None:
    with pytest.raises(DataError, match=why):
        write_shards(tmp_path / "s", documents, TOKENIZER)
    assert not (tmp_path / "s").exists()


def test_missing_damaged_and_other_versions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no complete shards"):
        Shards(tmp_path / "nowhere")

    def fresh(name: str) -> Path:
        write_shards(tmp_path / name, encode_documents(DOCUMENTS, TOKENIZER), TOKENIZER)
        return tmp_path / name

    for suffix in ("bin", "idx"):
        file = fresh(suffix) / f"shard-00000.{suffix}"
        file.write_bytes(file.read_bytes()[:-2])
        with pytest.raises(DataError, match=f"{suffix} has .* expected"):
            Shards(file.parent)
        file.unlink()
        with pytest.raises(DataError, match="has 0 bytes"):
            Shards(file.parent)

    folder = fresh("borders")
    index = np.fromfile(folder / "shard-00000.idx", "<u8")
    index[1], index[2] = index[2], index[1]
    index.tofile(folder / "shard-00000.idx")
    with pytest.raises(DataError, match="idx is damaged"):
        Shards(folder)

    folder = fresh("ids")
    (folder / "shard-00000.ids").write_text("one\n")
    with pytest.raises(DataError, match="names 1 documents; expected 5"):
        Shards(folder).ids  # noqa: B018

    folder = fresh("manifest")
    manifest = json.loads((folder / "manifest.json").read_text())
    for changed, why in (
        ({**manifest, "version": 99}, "version 99; expected 1"),
        ({k: v for k, v in manifest.items() if k != "shards"}, "shards missing"),
        ([], "version None"),
    ):
        (folder / "manifest.json").write_text(json.dumps(changed))
        with pytest.raises(DataError, match=why):
            Shards(folder)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(DataError, match="damaged"):
        Shards(folder)


@pytest.mark.parametrize(
    "change",
    [
        *({"shards": value} for value in (3, [3], [{}], [], [{"name": "../x", "num_tokens": 1, "num_documents": 1}])),
        *({"vocab_size": value} for value in ("x", None, 0, 10**30, [1])),
        *({"num_tokens": value} for value in ("x", 1, 10**30)),
        *({"num_documents": value} for value in (None, 10**9)),
        *({"tokenizer": value} for value in (3, None)),
    ],
)
def test_a_manifest_of_another_shape_is_refused(tmp_path, change):
    write_shards(tmp_path / "s", [("a", [1, 2, 0]), ("b", [3, 0])], TOKENIZER)
    file = tmp_path / "s" / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(DataError):
        Shards(tmp_path / "s")


def test_a_token_that_no_model_has_and_names_that_are_no_text_are_told_when_they_are_read(tmp_path):
    write_shards(tmp_path / "s", [("a", [1, 2, 0]), ("b", [3, 0])], TOKENIZER)
    (tmp_path / "s" / "shard-00000.bin").write_bytes(b"\xff" * 10)
    (tmp_path / "s" / "shard-00000.ids").write_bytes(b"\xff\nb\n")
    shards = Shards(tmp_path / "s")
    with pytest.raises(DataError, match="holds the token 65535, outside its vocabulary"):
        shards.document(0)
    with pytest.raises(DataError, match="is damaged"):
        assert shards.ids
