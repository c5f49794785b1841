"""Configuration is frozen dataclasses beside the things they configure; here they are read, changed, listed and searched.

`set_field(config, "sft.loop.steps", "200")` gives a copy with one field changed; `list_fields` gives the path, value and
meaning of every field; `nearest` finds fields by the words that people use for them.
"""

from jielong.config.changing import above, as_set, at_least, at_most, get_field, leaves, resolved, set_field, set_fields
from jielong.config.fields import Field, find, list_fields, nearest

__all__ = [
    "Field",
    "above",
    "as_set",
    "at_least",
    "at_most",
    "find",
    "get_field",
    "leaves",
    "list_fields",
    "nearest",
    "resolved",
    "set_field",
    "set_fields",
]
