"""
Reading a snapshot back, with every proof that it allows.

    store --stored bytes--> sha256 --> decompress --pieces--> sha256, checksum --> caller

All is compared with the manifest once the last piece is read: size and SHA-256 of
the stored bytes and of the database, and the database checksum.  So the caller must
not use what it got before the iteration has ended.  A snapshot without a manifest,
or a file of anybody's, is decompressed with its format's own checksums and is
otherwise unproven.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

from litekeep import workers
from litekeep.codec.formats import codec_named, codec_of_file
from litekeep.errors import ChecksumMismatch, FormatError, NotADatabase
from litekeep.ltx.checksum import DatabaseChecksum
from litekeep.repository.manifest import Manifest
from litekeep.sqlite.header import HEADER_SIZE, read_header
from litekeep.store.base import Store

_AHEAD_PIECES = 8


@dataclass(slots=True)
class Fetched:
    """
    What came out; filled while `Fetch` is iterated.

    `checksum` is the database checksum; sizes in bytes.
    """

    stored_size: int = 0
    stored_sha256: str = ""
    size: int = 0
    sha256: str = ""
    checksum: int = 0
    page_size: int = 0
    request_count: int = field(default=0)


class Fetch:
    """
    One reading of one snapshot; iterate once, then look at `result`.

    Raises while it is iterated:
        StoreError: The store failed.

        CorruptionError: The bytes are not what the manifest, or their own format,
            says; `stored` names the object.
    """

    def __init__(self, store: Store, stored: str, manifest: Manifest | None) -> None:
        self.result = Fetched()
        self._store = store
        self._stored = stored
        self._manifest = manifest

    def __iter__(self) -> Iterator[bytes]:
        result = self.result
        sha256 = hashlib.sha256()
        checksum: DatabaseChecksum | None = None
        rest = b""
        with workers.ahead(self._decoded(), _AHEAD_PIECES) as pieces:
            for piece in pieces:
                sha256.update(piece)
                result.size += len(piece)
                self._bound(result.size)
                rest += piece
                if checksum is None:
                    if len(rest) < HEADER_SIZE:
                        continue  # yielded below, or at the end
                    result.page_size = self._page_size(rest)
                    checksum = DatabaseChecksum(result.page_size)
                whole = len(rest) - len(rest) % result.page_size
                if whole:
                    first = (result.size - len(rest)) // result.page_size + 1
                    checksum.add(first, rest[:whole])
                    yield rest[:whole]
                    rest = rest[whole:]
        result.sha256 = sha256.hexdigest()
        if rest:
            raise FormatError(
                f"{self._stored} holds {result.size} bytes, which is no whole number of pages",
                hint="It is not a whole SQLite database.",
            )
        result.checksum = checksum.value if checksum else 1 << 63
        if self._manifest is not None:
            self._compare(self._manifest)

    def _decoded(self) -> Iterator[bytes]:
        result = self.result
        sha256 = hashlib.sha256()

        def stored() -> Iterator[bytes]:
            result.request_count += 1
            for piece in self._store.get(self._stored):
                sha256.update(piece)
                result.stored_size += len(piece)
                yield piece
            result.stored_sha256 = sha256.hexdigest()

        pieces = stored()
        if self._manifest is not None:
            codec = codec_named(self._manifest.stored.compression)
        else:
            first = next(pieces, b"")
            codec = codec_of_file(first)
            pieces = itertools.chain([first], pieces)
        try:
            yield from codec.decode(pieces)
        except FormatError as error:
            raise FormatError(f"{self._stored}: {error.message}", hint=error.hint) from error

    def _page_size(self, first_bytes: bytes) -> int:
        try:
            return read_header(first_bytes).page_size
        except NotADatabase as error:
            raise FormatError(f"{self._stored}: {error.message}", hint=error.hint) from error

    def _bound(self, size: int) -> None:
        if self._manifest is not None and size > self._manifest.database.size_bytes:
            raise ChecksumMismatch(
                f"{self._stored} holds more than the {self._manifest.database.size_bytes} "
                "bytes of its manifest"
            )

    def _compare(self, manifest: Manifest) -> None:
        result, database, stored = self.result, manifest.database, manifest.stored
        differing = [
            what
            for what, found, wanted in (
                ("size of the stored bytes", result.stored_size, stored.size_bytes),
                ("SHA-256 of the stored bytes", result.stored_sha256, stored.sha256),
                ("size of the database", result.size, database.size_bytes),
                ("page size", result.page_size or database.page_size, database.page_size),
                ("SHA-256 of the database", result.sha256, database.sha256),
                ("database checksum", f"{result.checksum:016x}", database.checksum),
            )
            if found != wanted
        ]
        if differing:
            raise ChecksumMismatch(
                f"{self._stored}: {', '.join(differing)} differ from its manifest"
            )
