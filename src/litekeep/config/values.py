"""
What one key of the configuration may hold: a value of TOML goes in, a setting comes out.

The reader of the file (`file.py`) knows where a value stands and makes the error;
here is only what is allowed, and what a wrong value is called.
"""

from __future__ import annotations

import contextlib
import difflib
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from litekeep.config.keys import Key, SecretSource
from litekeep.config.places import is_url
from litekeep.dockername import Address, is_docker, parse_docker
from litekeep.errors import UserError
from litekeep.units import parse_duration, parse_share, parse_size, show_duration

NAME_SIZE_MAX = 100

_SECRET_KINDS = ("env", "file", "ssm")


def value_of(key: Key, found: Any, full_path: Callable[[str], Path]) -> Any:
    """
    Return the setting that *found* is.

    Args:
        key: What is allowed.

        found: As TOML has it.

        full_path: Makes a path of a text.

    Raises:
        ValueError: It is not allowed.
    """
    if key.kind in _AS_THEY_ARE:
        if _AS_THEY_ARE[key.kind](key, found):
            return found
        raise ValueError("not allowed")
    match key.kind, found:
        case "names" | "words", list() if found and _are_texts(key, found):
            return tuple(dict.fromkeys(found))
        case "path", str() if found:
            return full_path(found)
        case "database", str() if found:
            return _address(found, full_path)
        case "place", str() if found:
            return found if is_url(found) else str(full_path(found))
        case "secret", _ if source := _secret(found, full_path):
            return source
        case "size", str():
            with contextlib.suppress(UserError):
                return parse_size(found)
        case "share", str():
            with contextlib.suppress(UserError):
                return parse_share(found)
        case "duration", str():
            with contextlib.suppress(UserError):
                seconds = parse_duration(found)
                if _within(key, seconds):
                    return seconds
    raise ValueError("not allowed")


def allowed_of(key: Key) -> str:
    """Return what a key may hold, for a person."""
    if key.kind == "words":
        return "a list with some of " + ", ".join(f'"{value}"' for value in key.allowed)
    if key.allowed:
        return " or ".join(f'"{value}"' for value in key.allowed)
    return {
        "flag": "true or false",
        "number": f"a whole number from {key.low} to {key.high}",
        "text": "text that is not empty",
        "endpoint": 'a URL without a user, such as "https://minio.example.com:9000"',
        "name": f"up to {NAME_SIZE_MAX} characters, with no / and no leading dot",
        "names": "a list of names, at least one",
        "prefix": 'names with / between them, or "" for none',
        "path": "a path",
        "database": "a path, docker:VOLUME/FILE or docker:CONTAINER:/path/in/it",
        "place": "a folder or a URL",
        "timezone": 'the name of a time zone, such as "Europe/Berlin"',
        "secret": 'text, { env = "NAME" }, { file = "PATH" } or { ssm = "/PARAMETER" }',
        "size": 'a size, such as "16 GiB"',
        "scalar": "text, a number that is finite, true or false",
        "share": 'a share, such as "50%"',
        "keep": "a table such as { last = 24, daily = 7, weekly = 5, monthly = 12 }",
        "duration": f'a duration, such as "90s" or "5 min"{_bounds(key)}',
    }[key.kind]


def near_of(key: Key, found: Any) -> str:
    """Return a word on what was probably meant, or nothing."""
    if key.kind != "secret" or not isinstance(found, dict) or len(found) != 1:
        return ""
    near = difflib.get_close_matches(next(iter(found)), _SECRET_KINDS, 1)
    return f"Did you mean {near[0]}? " if near and near[0] not in found else ""


def shown(key: Key, found: Any) -> str:
    """Return a wrong value for a person; one that may be secret, or holds one, is not shown."""
    match found:
        case bool() if key.kind != "secret":
            return str(found).lower()
        case str() if key.kind == "secret":
            return "text" if found else '""'
        case str() if key.kind == "endpoint" and "@" in found:
            return "a URL with a user in it"
        case str():
            return f'"{found}"'
        case dict():
            return "a table"
        case list():
            return "a list" if found else "an empty list"
        case bool():
            return "true or false"
        case int() | float() if key.kind == "secret":
            return "a number"
    return "a date or time" if key.kind == "secret" else str(found)


def is_name(text: str) -> bool:
    r"""
    Say whether *text* may name a database or a store.

    >>> is_name("manual_generator"), is_name("a/b"), is_name(".hidden"), is_name("a\n")
    (True, False, False, False)
    """
    return (
        0 < len(text.encode("utf-8", "surrogatepass")) <= NAME_SIZE_MAX
        and not text.startswith(".")
        and text == text.strip()
        and text.isprintable()
        and not set(text) & set("/\\")
    )


def zone_named(name: str) -> ZoneInfo | None:
    """Return the time zone of this name, or None."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _address(found: str, full_path: Callable[[str], Path]) -> Address:
    if not is_docker(found):
        return full_path(found)
    try:
        return parse_docker(found)
    except UserError as error:
        raise ValueError("not allowed") from error


def _within(key: Key, number: float) -> bool:
    return (key.low is None or key.low <= number) and (key.high is None or number <= key.high)


def _bounds(key: Key) -> str:
    low = f", at least {show_duration(key.low)}" if key.low else ""
    high = f", at most {show_duration(key.high)}" if key.high is not None else ""
    return low + high


def _is_number(key: Key, found: Any) -> bool:
    return isinstance(found, int) and not isinstance(found, bool) and _within(key, found)


def _is_finite(found: Any) -> bool:
    # Nothing is equal to nan, so that the question would fail for ever.
    return isinstance(found, float) and math.isfinite(found)


def _is_text(key: Key, found: Any) -> bool:
    return isinstance(found, str) and bool(found) and (not key.allowed or found in key.allowed)


def _are_texts(key: Key, found: list[Any]) -> bool:
    return all(_is_text(key, item) for item in found)


def _is_prefix(text: str) -> bool:
    return not text or all(map(is_name, text.split("/")))


def _is_endpoint(text: str) -> bool:
    try:
        parts = urlsplit(text)
        has_port = parts.port is None or parts.port > 0
    except ValueError:
        return False
    return (
        parts.scheme in ("http", "https")
        and bool(parts.hostname)
        and "@" not in parts.netloc
        and not parts.query
        and not parts.fragment
        and has_port
    )


def _secret(found: Any, full_path: Callable[[str], Path]) -> SecretSource | None:
    if isinstance(found, str) and found:
        return SecretSource("text", found)
    if not isinstance(found, dict) or len(found) != 1:
        return None
    ((kind, value),) = found.items()
    if kind not in _SECRET_KINDS or not isinstance(value, str) or not value:
        return None
    return SecretSource(kind, str(full_path(value)) if kind == "file" else value)


#: The kinds whose values are settings as they are.
_AS_THEY_ARE: dict[str, Callable[[Key, Any], bool]] = {
    "flag": lambda _, found: isinstance(found, bool),
    "number": _is_number,
    "text": _is_text,
    "endpoint": lambda _, found: isinstance(found, str) and _is_endpoint(found),
    "name": lambda _, found: isinstance(found, str) and is_name(found),
    "prefix": lambda _, found: isinstance(found, str) and _is_prefix(found),
    "scalar": lambda _, found: isinstance(found, bool | int | str) or _is_finite(found),
    "timezone": lambda _, found: isinstance(found, str) and zone_named(found) is not None,
}


def fresh_name(wanted: str, taken: Sequence[str]) -> str:
    """
    Return a name that is not taken: the one that is wanted, or one with a number behind it.

    >>> fresh_name("app", ["app", "app-2"])
    'app-3'
    """
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}-{number}"
    return name
