"""
What a key of the configuration may hold: the words that settings are written in.

A setting is a field with a `Key` in its metadata; `keys_of` lists them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal[
    "text",
    "endpoint",
    "name",
    "number",
    "flag",
    "names",
    "words",
    "prefix",
    "path",
    "database",
    "place",
    "secret",
    "size",
    "duration",
    "timezone",
    "scalar",
    "share",
    "keep",
]


@dataclass(frozen=True, slots=True)
class Key:
    """
    What one key of the configuration may hold.

    `allowed` lists the only values of a text, or of the words in a list; `low` and `high`
    bound a number or the seconds of a duration, both included; `stores` are the kinds of
    stores that it means something for, where it is not for all.
    """

    kind: Kind
    meaning: str
    allowed: tuple[str, ...] = ()
    low: float | None = None
    high: int | None = None
    stores: tuple[str, ...] = ()
    is_required: bool = False


@dataclass(frozen=True, slots=True)
class SecretSource:
    """Where a secret value comes from: ``"text"``, ``"env"``, ``"file"`` or ``"ssm"``."""

    kind: Literal["text", "env", "file", "ssm"]
    value: str = field(repr=False)


def key_field(
    kind: Kind,
    meaning: str,
    *,
    default: Any = None,
    allowed: tuple[str, ...] = (),
    low: float | None = None,
    high: int | None = None,
    stores: tuple[str, ...] = (),
) -> Any:
    """Return a field that may be left out."""
    return field(default=default, metadata={"key": Key(kind, meaning, allowed, low, high, stores)})


def required(kind: Kind, meaning: str) -> Any:
    """Return a field that must be given."""
    return field(metadata={"key": Key(kind, meaning, is_required=True)})


def keys_of(section: type[Any]) -> Iterator[tuple[str, Key]]:
    """
    Yield the keys of a section by name.

    >>> @dataclass
    ... class Example:
    ...     level: int = key_field("number", "How hard.")
    ...     where: str = ""
    >>> [name for name, key in keys_of(Example)]
    ['level']
    """
    for item in dataclasses.fields(section):
        if "key" in item.metadata:
            yield item.name, item.metadata["key"]
