"""
A store in memory: for tests, and to see what the contract asks for at its shortest.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace as changed

from litekeep import faults
from litekeep.clock import Clock, now
from litekeep.errors import BlobChanged, BlobNotFound, NameTaken
from litekeep.store.base import (
    PIECE_SIZE_MAX,
    Blob,
    Body,
    Store,
    check_metadata,
    check_name,
    is_own_blob,
)


class MemoryStore(Store):
    """Blobs that live as long as this object."""

    def __init__(self, *, clock: Clock = now) -> None:
        self.url = "memory:"
        self._clock = clock
        self._lock = threading.Lock()
        self._blobs: dict[str, tuple[Blob, bytes]] = {}
        self._versions = itertools.count(1)

    def put(
        self,
        name: str,
        body: Body,
        *,
        create: bool = False,
        metadata: Mapping[str, str] | None = None,
        size_max: int | None = None,
    ) -> Blob:
        check_name(name)
        check_metadata(metadata)
        assert isinstance(body, bytes) or not create, "a create takes bytes"
        data = body if isinstance(body, bytes) else b"".join(body)
        faults.reach(f"put {name}")
        with self._lock:
            if not (create and name in self._blobs):
                return self._store(name, data, metadata)
        if (own := is_own_blob(self, name, data, metadata)) is not None:
            return own
        raise NameTaken(f"{name!r} is stored already, with other content")

    def replace(
        self,
        name: str,
        body: bytes,
        *,
        version: str,
        metadata: Mapping[str, str] | None = None,
    ) -> Blob:
        check_name(name)
        check_metadata(metadata)
        faults.reach(f"put {name}")
        with self._lock:
            if name not in self._blobs or self._blobs[name][0].version != version:
                raise BlobChanged(f"{name!r} was changed by somebody else")
            return self._store(name, body, metadata)

    def get(
        self, name: str, *, offset: int = 0, size: int | None = None, version: str | None = None
    ) -> Iterator[bytes]:
        blob, stored = self._find(name)
        if version is not None and version != blob.version:
            raise BlobChanged(f"{name!r} was changed by somebody else")
        data = memoryview(stored)
        end = len(data) if size is None else min(len(data), offset + size)
        for start in range(offset, end, PIECE_SIZE_MAX):
            yield bytes(data[start : min(end, start + PIECE_SIZE_MAX)])

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[Blob]:
        with self._lock:
            blobs = [blob for blob, _ in self._blobs.values()]
        # Code points sort as their UTF-8 bytes do.
        for blob in sorted(blobs, key=lambda blob: blob.name):
            if blob.name.startswith(prefix) and blob.name > start_after:
                yield changed(blob, metadata={})

    def head(self, name: str) -> Blob:
        return self._find(name)[0]

    def delete(self, name: str) -> None:
        check_name(name)
        faults.reach(f"delete {name}")
        with self._lock:
            self._blobs.pop(name, None)

    def copy(self, source: str, target: str) -> None:
        check_name(target)
        blob, data = self._find(source)
        faults.reach(f"copy {target}")
        with self._lock:
            self._store(target, data, blob.metadata)

    def _store(self, name: str, data: bytes, metadata: Mapping[str, str] | None) -> Blob:
        """Store under the lock, which the caller holds."""
        version = str(next(self._versions))
        blob = Blob(name, len(data), self._clock(), version, dict(metadata or {}))
        self._blobs[name] = (blob, data)
        return blob

    def _find(self, name: str) -> tuple[Blob, bytes]:
        check_name(name)
        with self._lock:
            if name not in self._blobs:
                raise BlobNotFound(f"no object {name!r} in {self.url}")
            return self._blobs[name]
