"""
Sizes, durations and shares as people write them.

    "64 MiB", "10MB", "1g"      bytes       powers of 1024 for KiB..TiB and k..t, of 1000 for kB..TB
    "90s", "2h", "50 ms"        seconds     ms, s, m, h, d, w and their words
    "10%", "0.1"                share       0 < share <= 1
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from litekeep.errors import UserError

_SIZES: dict[str, float] = {"": 1, "b": 1}
for _power, _letter in enumerate("kmgt", 1):
    _SIZES |= {_letter: 1024**_power, f"{_letter}ib": 1024**_power, f"{_letter}b": 1000**_power}

_DURATIONS = {
    word: seconds
    for seconds, words in (
        (0.001, "ms"),
        (1, "s sec second seconds"),
        (60, "m min minute minutes"),
        (3600, "h hour hours"),
        (86400, "d day days"),
        (604800, "w week weeks"),
    )
    for word in words.split()
}
_QUANTITY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")


def _quantity(text: str, units: Mapping[str, float], what: str, example: str) -> float:
    match = _QUANTITY.fullmatch(text)
    unit = match[2].lower() if match else ""
    if match is None or unit not in units:
        raise UserError(f"{text!r} is not a {what}", hint=f"Write it like {example}.")
    return float(match[1]) * units[unit]


def parse_size(text: str) -> int:
    """
    Return bytes.

    Raises:
        UserError: *text* is no size.

    >>> parse_size("64 MiB"), parse_size("10MB"), parse_size("1k"), parse_size("512")
    (67108864, 10000000, 1024, 512)
    """
    return int(_quantity(text, _SIZES, "size", '"64 MiB"'))


def parse_duration(text: str) -> float:
    """
    Return seconds.

    Raises:
        UserError: *text* is no duration.

    >>> parse_duration("90s"), parse_duration("2h"), parse_duration("7 days")
    (90.0, 7200.0, 604800.0)
    """
    return _quantity(text, _DURATIONS, "duration", '"90s", "2h" or "7 days"')


def parse_share(text: str) -> float:
    """
    Return a share between 0 and 1.

    Raises:
        UserError: *text* is no share, or is not above 0 and at most 1.

    >>> parse_share("10%"), parse_share("0.25")
    (0.1, 0.25)
    """
    number = text.strip().removesuffix("%")
    try:
        share = float(number) / (100 if number != text.strip() else 1)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise UserError(f"{text!r} is not a share", hint='Write it like "10%".')
    return share


def show_size(size: float) -> str:
    """
    Return *size* in bytes for a person.

    >>> show_size(999), show_size(123456), show_size(5 * 2**30)
    ('999 B', '120.6 KiB', '5.0 GiB')
    """
    amount = float(size)
    if amount < 1000:
        return f"{amount:.0f} B"
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        amount /= 1024
        if amount < 1000:
            break
    return f"{amount:.1f} {unit}"


def show_duration(seconds: float) -> str:
    """
    Return *seconds* for a person.

    >>> show_duration(0.25), show_duration(75), show_duration(7300), show_duration(200000)
    ('0.2 s', '1 min 15 s', '2 h 1 min', '2 d 7 h')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h"
