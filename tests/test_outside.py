"""JSON and bytes from elsewhere: read whole, or refused in one sentence; never a traceback, never a replacement character."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jielong.errors import CheckpointError, DataError
from jielong.outside import (
    MAX_DEPTH,
    Fields,
    decoded_lines,
    own_object,
    parse_json,
    read_json_file,
    read_lines,
    read_text,
    shorten_value,
)

_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(_values)
def test_what_json_writes_is_read_as_it_was(value):
    assert parse_json(json.dumps(value)) == value
    if "\\ud" not in json.dumps(value):
        assert parse_json(json.dumps(value, ensure_ascii=False)) == value


@given(st.text() | st.binary().map(lambda b: b.decode("latin-1")))
def test_no_text_makes_the_reader_trace_back(text):
    try:
        parse_json(text)
    except DataError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "not JSON"),
        ('{"a": 1, "a": 2}', "the key 'a' stands twice"),
        ('{"a": NaN}', "NaN is no number in JSON"),
        ("-Infinity", "-Infinity is no number in JSON"),
        ("[" * 200 + "]" * 200, f"deeper than {MAX_DEPTH} levels"),
        ('{"a":' * 5000 + "1" + "}" * 5000, f"deeper than {MAX_DEPTH} levels"),
        ("[" * 100_000, f"deeper than {MAX_DEPTH} levels"),
        ("9" * 5000, "a number has 5000 digits"),
        ('{"a": ["\\ud83d"]}', r"\\ud83d stands alone, which is half of a character"),
    ],
)
def test_json_is_held_to_limits(text, told):
    with pytest.raises(DataError, match=told):
        parse_json(text)


def test_brackets_in_strings_are_no_depth():
    assert parse_json(json.dumps(["[{" * 500, '\\"[' * 300]))[0] == "[{" * 500
    assert parse_json('"\\ud83d\\ude00"') == "😀"


def test_a_value_is_shown_short():
    assert shorten_value({"a": "é"}) == '{"a": "é"}'
    assert len(shorten_value("x" * 500)) == 60


def test_what_is_no_regular_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name, told in (
        ("pipe", "is no regular file"),
        ("", "is a folder"),
        ("none", "No such file"),
        ("a\0b", "no name"),
    ):
        with pytest.raises(DataError, match=told):
            read_text(tmp_path / name if name else tmp_path)


def test_a_damaged_gzip_is_told(tmp_path):
    whole = gzip.compress(b'{"a": 1}\n' * 5000)
    (tmp_path / "cut.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "bad.gz").write_bytes(b"\x1f\x8bnothing")
    for name in ("cut.gz", "bad.gz"):
        with pytest.raises(DataError, match="is a damaged gzip file"):
            list(read_lines(tmp_path / name))


def test_bytes_that_are_no_text_are_refused_and_never_replaced(tmp_path):
    (tmp_path / "noise").write_bytes(bytes(range(256)) * 40)
    (tmp_path / "zip.jsonl").write_bytes(b"PK\x03\x04" + bytes(100))
    (tmp_path / "late.jsonl").write_bytes(b'{"a": "b"}\n' * 3 + b'{"a": "\xff\xfe\x81\x00"}\n')
    with pytest.raises(DataError, match="is no text in an encoding that is known here"):
        read_text(tmp_path / "noise")
    with pytest.raises(DataError, match="is no text; expected one JSON object a line"):
        list(read_lines(tmp_path / "zip.jsonl"))
    with pytest.raises(DataError, match=r"late\.jsonl:4: byte 8 of the line is not utf-8"):
        list(read_lines(tmp_path / "late.jsonl"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "gb18030"])
def test_lines_come_out_the_same_in_every_encoding(tmp_path, encoding):
    lines = ["plain", "今天的天气怎么样？我们去公园走走吧。", "", "你好，世界，这里是中国的首都北京。"]
    (tmp_path / "file").write_bytes("\n".join(lines).encode(encoding))
    assert [text.rstrip("\n") for _, text, _ in decoded_lines(tmp_path / "file")] == lines
    assert read_text(tmp_path / "file").lstrip("\ufeff") == "\n".join(lines)


def test_records_are_lines_a_list_or_one_object(tmp_path):
    cases = {
        "lines": ('{"a": 1}\n\n{"a": 2}\n', [(1, {"a": 1}), (3, {"a": 2})]),
        "list": ('[\n {"a": 1},\n {"a": 2}\n]', [(1, {"a": 1}), (2, {"a": 2})]),
        "object": ('{\n "a": 1\n}\n', [(1, {"a": 1})]),
        "empty": ("\n \n", []),
    }
    for name, (text, expected) in cases.items():
        (tmp_path / name).write_text(text)
        assert [(line.number, line.data) for line in read_lines(tmp_path / name)] == expected, name


def test_a_wrong_line_is_given_with_its_problem_and_the_rest_goes_on(tmp_path):
    (tmp_path / "file").write_text('{"a": 1}\n{"a": \n{"a": 3}\n')
    first, second, third = read_lines(tmp_path / "file")
    assert (first.data, third.data) == ({"a": 1}, {"a": 3})
    assert (second.number, second.data) == (2, None) and second.problem.startswith("not JSON")


def test_a_json_file_is_named_in_its_error(tmp_path: Path):
    (tmp_path / "config.json").write_text('{"a": 1,}')
    with pytest.raises(DataError, match=r"config\.json: not JSON"):
        read_json_file(tmp_path / "config.json")


# Shapes and folders -------------------------------------------------------------------------------------------------


def test_fields_are_taken_by_their_kind_and_within_bounds():
    fields = Fields({"a": 3, "b": 2.5, "c": "x", "d": [1, 2], "e": {"f": True}, "g": None}, "it")
    assert (fields.whole("a"), fields.number("b"), fields.text("c"), fields.wholes("d")) == (3, 2.5, "x", [1, 2])
    assert fields.inner("e").flag("f") is True
    assert fields.whole("g", None) is None and fields.whole("g", 7, or_null=True) is None and fields.whole("h", 7) == 7
    fields.finish()


@pytest.mark.parametrize("value", [None, True, -1, 10**30, 2.0, "3", [3], {"a": 3}, float("nan")])
def test_a_whole_number_is_no_other_thing(value):
    with pytest.raises(CheckpointError, match=r"^it has a = .*; expected a whole number from 0 to 100$"):
        Fields({"a": value}, "it", CheckpointError).whole("a", high=100)


@pytest.mark.parametrize("value", [None, True, "1", [1], float("inf"), float("nan"), 10**400])
def test_a_number_is_finite_and_fits_a_float(value):
    with pytest.raises(DataError, match="expected a finite number"):
        Fields({"a": value}, "it").number("a")


def test_what_is_no_object_has_no_fields():
    for data in (None, [], "x", 3):
        with pytest.raises(DataError, match="expected an object"):
            Fields(data, "it")
    with pytest.raises(DataError, match=r"b\[1\] of it is a number; expected an object"):
        Fields({"b": [{}, 3]}, "it").inners("b")


def test_a_value_that_fills_pages_is_cut_in_a_sentence():
    assert len(str(DataError(f"it has {'x' * 10**6!r}; expected less"))) < 5000


def test_a_link_out_of_a_models_folder_is_not_followed(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret").write_text("{}")
    (folder / "own.json").write_text("{}")
    (folder / "inside.json").symlink_to("own.json")
    (folder / "outside.json").symlink_to("../secret")
    (folder / "device.json").symlink_to("/dev/zero")
    (folder / "circle.json").symlink_to("circle.json")
    os.mkfifo(folder / "pipe.json")
    assert own_object(folder / "own.json") == own_object(folder / "inside.json") == {}
    for name, told in (("outside", "out of its folder"), ("device", "no regular file"), ("pipe", "no regular file")):
        with pytest.raises(CheckpointError, match=told):
            own_object(folder / f"{name}.json")
    with pytest.raises(CheckpointError, match="cannot be read"):
        own_object(folder / "circle.json")


def test_links_of_a_hubs_cache_lead_to_its_blobs_alone(tmp_path):
    repository = tmp_path / "models--a--b"
    snapshot = repository / "snapshots" / "0123"
    for folder in (snapshot, repository / "blobs"):
        folder.mkdir(parents=True)
    (repository / "blobs" / "abc").write_text('{"a": 1}')
    (repository / "refs").write_text("{}")
    (snapshot / "config.json").symlink_to("../../blobs/abc")
    (snapshot / "other.json").symlink_to("../../refs")
    assert own_object(snapshot / "config.json") == {"a": 1}
    (tmp_path / "short").symlink_to(snapshot)
    assert own_object(tmp_path / "short" / "config.json") == {"a": 1}
    with pytest.raises(CheckpointError, match="out of its folder"):
        own_object(snapshot / "other.json")
