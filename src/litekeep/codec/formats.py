"""
The codecs there are, by name, by suffix and by first bytes.
"""

from __future__ import annotations

from litekeep.codec.base import Codec
from litekeep.codec.gzip import Gzip
from litekeep.codec.plain import Plain
from litekeep.codec.zstd import Zstd
from litekeep.errors import FormatError, UserError

#: In the order in which help and documentation name them; the first is the default.
CODECS: tuple[Codec, ...] = (Gzip(), Zstd(), Plain())
NAMES = tuple(codec.name for codec in CODECS)


def codec_named(name: str) -> Codec:
    """
    Return the codec of this name.

    Raises:
        UserError: There is none.
    """
    for codec in CODECS:
        if codec.name == name:
            return codec
    raise UserError(f"no format is called {name!r}", hint=f"There are {', '.join(NAMES)}.")


def codec_of_file(first_bytes: bytes) -> Codec:
    """
    Return the codec that made a file, by its first bytes.

    Raises:
        FormatError: None of them did.
    """
    for codec in CODECS:
        if codec.has_begun(first_bytes):
            return codec
    raise FormatError(
        "the file is neither gzip, nor zstd, nor an SQLite database",
        hint="If it ends in .age it is sealed, which this version cannot open.",
    )


def is_of_nothing(data: bytes) -> bool:
    """
    Say whether a whole file stands for no bytes: what was piped into it failed.

    >>> is_of_nothing(CODECS[0].encode(b"", 2)), is_of_nothing(b"SQLite format 3")
    (True, False)
    """
    try:
        return not any(codec_of_file(data).decode([data]))
    except FormatError:
        return False
