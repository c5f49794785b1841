"""JSON and bytes of others: read whole, or refused in one sentence that says where and what.

All input from files, models, servers and people goes through here. JSON is held to limits that no honest file meets:
nesting, digits of a number, NaN, a key given twice. Bytes are decoded by an encoding that is detected, and refused if
none fits: no replacement character enters a record. Fields of an object are taken one at a time, each of its kind and
within bounds. Files that we wrote ourselves are read in `runs`, which holds them to the same limits.
"""

from __future__ import annotations

from jielong.outside.encodings import declared_encodings, decode
from jielong.outside.files import (
    HEAD_BYTES,
    FileRecord,
    check_file,
    decoded_lines,
    list_problems,
    open_unpacked,
    parse_record,
    parse_records,
    read_bytes,
    read_json_file,
    read_lines,
    read_text,
    refuse_pointer,
)
from jielong.outside.folders import own_file, own_object, own_text
from jielong.outside.parsing import MAX_DEPTH, kind_of, parse_json, shorten_value
from jielong.outside.shapes import MOST, Fields, is_name, is_number, is_whole

__all__ = [
    "HEAD_BYTES",
    "MAX_DEPTH",
    "MOST",
    "Fields",
    "FileRecord",
    "check_file",
    "declared_encodings",
    "decode",
    "decoded_lines",
    "is_name",
    "is_number",
    "is_whole",
    "kind_of",
    "list_problems",
    "open_unpacked",
    "own_file",
    "own_object",
    "own_text",
    "parse_json",
    "parse_record",
    "parse_records",
    "read_bytes",
    "read_json_file",
    "read_lines",
    "read_text",
    "refuse_pointer",
    "shorten_value",
]
