"""
Reading a snapshot back, with every proof that it allows.

    store --stored bytes--> sha256 --> decompress --pieces--> sha256, checksum --> caller

All is compared with the manifest once the last piece is read: size and SHA-256 of
the stored bytes and of the database, and the database checksum.  So the caller must
not use what it got before the iteration has ended.  A snapshot without a manifest,
or a file of anybody's, is decompressed with its format's own checksums and is
otherwise unproven.  What lies behind the pages that its header counts is no part of the
database, to SQLite neither: it is read for the format's sake, and dropped.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from litekeep import workers
from litekeep.codec.formats import codec_named, codec_of_file
from litekeep.errors import ChecksumMismatch, FormatError, NotADatabase
from litekeep.ltx.checksum import DatabaseChecksum
from litekeep.repository.manifest import Manifest
from litekeep.sqlite.header import HEADER_SIZE, PAGE_COUNT_MAX, read_header
from litekeep.store.base import Store

_AHEAD_PIECES = 8


@dataclass(slots=True)
class Fetched:
    """
    What came out; filled while `Fetch` is iterated.

    `checksum` is the database checksum; sizes in bytes.  `page_count_wanted` is what the
    header says, None where it does not.
    """

    stored_size: int = 0
    stored_sha256: str = ""
    size: int = 0
    sha256: str = ""
    checksum: int = 0
    page_size: int = 0
    page_count_wanted: int | None = None
    request_count: int = 0
    #: Why what came out is not proved, if it is not.
    unproven: str | None = None


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
        if manifest is None:
            self.result.unproven = "there is no manifest to compare it with"

    def __iter__(self) -> Iterator[bytes]:
        result = self.result
        sha256 = hashlib.sha256()
        checksum: DatabaseChecksum | None = None
        rest = b""
        with workers.ahead(self._decoded(), _AHEAD_PIECES) as pieces:
            for piece in self._bounded(pieces):
                sha256.update(piece)
                result.size += len(piece)
                rest += piece
                if checksum is None:
                    if not result.page_size:
                        continue  # cut off within the header: told below
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

    def _bounded(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Yield *pieces*, once the header is known, up to the size that is to be believed."""
        head = b""
        size_max = -1
        for piece in pieces:
            found = head + piece
            if size_max < 0:
                if len(found) < HEADER_SIZE:
                    head = found
                    continue
                head = b""
                size_max = self._read_header(found)
            if self._manifest is not None and self.result.size + len(found) > size_max:
                raise ChecksumMismatch(
                    f"{self._stored} holds more than the {size_max} bytes of its manifest"
                )
            if within := found[: size_max - self.result.size]:
                yield within
        if head:
            yield head

    def _read_header(self, first_bytes: bytes) -> int:
        """Note what the header says; return how many bytes the database has at most."""
        try:
            header = read_header(first_bytes)
        except NotADatabase as error:
            raise FormatError(f"{self._stored}: {error.message}", hint=error.hint) from error
        self.result.page_size = header.page_size
        self.result.page_count_wanted = header.page_count
        if self._manifest is not None:
            return self._manifest.database.size_bytes
        return header.page_size * (header.page_count or PAGE_COUNT_MAX)

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
