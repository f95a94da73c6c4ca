"""
The manifest: what a snapshot must be, in one JSON object beside it.

A snapshot exists once its manifest does.  Fields are only ever added; a reader
passes over fields that it does not know and refuses a higher `format_version`.

A manifest comes from a store, so nothing in it is believed before it is bounded:
`decode` checks types, lengths and ranges, and the catalogue checks that it lies
beside the object that it names.  It carries a checksum of itself (`documents.py`), so
that no flipped bit of it goes unseen, in whatever field.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from litekeep.documents import decode_document, encode_document
from litekeep.errors import FormatError, UserError

FORMAT_VERSION = 1
SIZE_MAX = 1 << 20
TEXT_LENGTH_MAX = 4096
#: Metadata of a snapshot's data: the manifest's id, and the database's name, URL-quoted.
ID_KEY = "litekeep-id"
DATABASE_KEY = "litekeep-database"
CAPTURED_KEY = "litekeep-captured-at"

Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Checksum = Annotated[str, Meta(pattern=r"^[0-9a-f]{16}\Z")]
Size = Annotated[int, Meta(ge=0, lt=1 << 62)]
Text = Annotated[str, Meta(max_length=TEXT_LENGTH_MAX)]
Seconds = Annotated[float, Meta(ge=0)]
Instant = Annotated[datetime, Meta(tz=True)]

State = Literal["ok", "suspect", "failed"]
Compression = Literal["gzip", "zstd", "none"]
CheckResult = Literal["ok", "failed", "inconclusive", "skipped"]


class DatabaseFacts(Struct, frozen=True, kw_only=True):
    """The database at the captured commit; `checksum` is LTX's, 16 hex digits."""

    name: Text
    page_size: Annotated[int, Meta(ge=512, le=65536)]
    page_count: Size
    size_bytes: Size
    journal_mode: Literal["wal", "rollback"]
    sqlite_version: Text
    sha256: Sha256
    checksum: Checksum

    def __post_init__(self) -> None:
        if self.page_size & (self.page_size - 1):
            raise ValueError(f"a page size of {self.page_size} is no power of two")
        if self.size_bytes != self.page_size * self.page_count:
            raise ValueError(
                f"{self.page_count} pages of {self.page_size} bytes are not {self.size_bytes}"
            )


class Origin(Struct, frozen=True, kw_only=True):
    """Where the database lay: the host's name, and the absolute path there."""

    host: Text
    path: Text


class StoredFacts(Struct, frozen=True, kw_only=True):
    """The object as stored."""

    size_bytes: Size
    sha256: Sha256
    compression: Compression


class CheckFacts(Struct, frozen=True, kw_only=True):
    """What SQLite's quick_check said of the very bytes."""

    result: CheckResult
    detail: Text = ""


class Durations(Struct, frozen=True, kw_only=True):
    """`held` is how long the read mark, or in rollback modes the lock, was held."""

    held_seconds: Seconds
    total_seconds: Seconds


class Manifest(Struct, frozen=True, kw_only=True):
    """All that is known of a snapshot when it is made."""

    format_version: Annotated[int, Meta(ge=1, le=FORMAT_VERSION)]
    tool: Text
    id: Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
    name: Text
    object: Text
    captured_at: Instant
    state: State
    label: Text | None
    # Manifests of the first versions do not say.
    origin: Origin | None = None
    database: DatabaseFacts
    stored: StoredFacts
    check: CheckFacts
    row_counts: dict[Text, Size]
    durations: Durations

    def __post_init__(self) -> None:
        # Beyond these, an instant has no name in every time zone.
        if not 1970 <= self.captured_at.year < 9999:
            raise ValueError(f"it says that it was captured in the year {self.captured_at.year}")


# Made once, here: msgspec learns a type at its first use, and several threads that
# begin with the same type at one time can end the process (a segmentation fault, seen in 0.22).
_DECODER = msgspec.json.Decoder(Manifest)


def refuse_odd_text(text: str, what: str) -> None:
    """
    Raise if *text*, which somebody gave, is nothing to keep beside a snapshot.

    It would be found out when all else is done.

    Raises:
        UserError: It is too long, or no plain text.
    """
    if len(text) > TEXT_LENGTH_MAX or not text.isprintable():
        raise UserError(
            f"the {what} is too long, or no plain text",
            hint=f"Give at most {TEXT_LENGTH_MAX} printable characters.",
        )


def encode(manifest: Manifest) -> bytes:
    """Return the manifest as it is stored: with a checksum of itself."""
    return encode_document(msgspec.to_builtins(manifest))


def decode(data: bytes) -> Manifest:
    """
    Return the manifest in *data*.

    Raises:
        FormatError: It is none, is damaged, or is one of a later version of this package.
    """
    try:
        manifest = _DECODER.decode(data)
        decode_document(data)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise FormatError(f"not a manifest: {error}") from error
    return manifest
