"""Reading, changing, listing and searching the frozen dataclasses that configure everything.

Each lies beside the thing it configures. `set_field(config, "sft.loop.steps", "200")` gives a copy with one field
changed; `list_fields` gives the path, value and meaning of every field; `nearest` finds fields by the words that people
use for them.
"""

from jielong.config.changing import (
    above,
    at_least,
    at_most,
    format_value,
    get_field,
    later,
    leaves,
    resolved,
    set_field,
    set_fields,
)
from jielong.config.fields import Field, find, list_fields, nearest

__all__ = [
    "Field",
    "above",
    "at_least",
    "at_most",
    "find",
    "format_value",
    "get_field",
    "later",
    "leaves",
    "list_fields",
    "nearest",
    "resolved",
    "set_field",
    "set_fields",
]
