"""
Marks: what is said of a snapshot after it was made, each a small JSON object beside it.

    app_20250908_120001.db.gz                                  the snapshot's data
    ....db.gz.json                                             its manifest, immutable
    ....db.gz.proof-20250914_030000.json        Proof          a drill's result; one each
    ....db.gz.hold.json                         Hold           somebody keeps it
    ....db.gz.accepted.json                     Acceptance     a suspect one is fine
    ....db.gz.deleted.json                      Tombstone      it was pruned: its manifest
                                                               is in here, its data stays
                                                               until the tombstone is due

A mark says which snapshot it is about by its id, so that one that was put beside
another says nothing.  Like a manifest it comes from a store: `decode` checks types,
lengths and ranges before anything in it is believed.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from litekeep.documents import decode_document, encode_document
from litekeep.errors import FormatError
from litekeep.repository.manifest import Instant, Manifest, Seconds, Sha256, Text

#: A tombstone holds a manifest, which may be 1 MiB by itself.
MARK_SIZE_MAX = 2 << 20
CHECK_COUNT_MAX = 1000

Result = Literal["pass", "fail", "inconclusive"]
Version = Annotated[int, Meta(ge=1, le=1)]


class CheckResult(Struct, frozen=True, kw_only=True):
    """One check of a drill; `ok` None says that it could not be made."""

    name: Text
    ok: bool | None
    detail: Text = ""


class Proof(Struct, frozen=True, kw_only=True):
    """
    The record that a snapshot was restored and compared.

    `id` is the snapshot's (its name where it has no manifest); `sha256` is that of the
    database that came out.
    """

    format_version: Version = 1
    tool: Text
    id: Text
    sha256: Sha256
    time: Instant
    result: Result
    seconds: Seconds
    checks: Annotated[tuple[CheckResult, ...], Meta(max_length=CHECK_COUNT_MAX)]


class Hold(Struct, frozen=True, kw_only=True):
    """Somebody keeps the snapshot for ever, for this reason."""

    format_version: Version = 1
    id: Text
    time: Instant
    reason: Text


class Acceptance(Struct, frozen=True, kw_only=True):
    """Somebody looked at a suspect snapshot and says that it is fine."""

    format_version: Version = 1
    id: Text
    time: Instant


class Tombstone(Struct, frozen=True, kw_only=True):
    """The snapshot was pruned; `manifest` None: it never had one."""

    format_version: Version = 1
    id: Text
    time: Instant
    manifest: Manifest | None


Mark = TypeVar("Mark", Proof, Hold, Acceptance, Tombstone)

# Made once, here, as in `manifest.py`.
_DECODERS: dict[type[Struct], msgspec.json.Decoder[Struct]] = {
    kind: msgspec.json.Decoder(kind) for kind in (Proof, Hold, Acceptance, Tombstone)
}


def encode_mark(mark: Proof | Hold | Acceptance | Tombstone) -> bytes:
    """Return the mark as it is stored: with a checksum of itself, as a manifest."""
    return encode_document(msgspec.to_builtins(mark))


def decode_mark(kind: type[Mark], data: bytes) -> Mark:
    """
    Return the mark in *data*.

    Raises:
        FormatError: It is none of this kind, is damaged, or is one of a later version of this
            package.
    """
    try:
        found = _DECODERS[kind].decode(data)
        decode_document(data)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise FormatError(f"not a {kind.__name__.lower()}: {error}") from error
    assert isinstance(found, kind)
    return found
