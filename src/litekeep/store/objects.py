"""
A store in a bucket: S3 and what speaks it, Google Cloud Storage, Azure Blob Storage.

    small body, create, replace   one PUT: whole or not at all by itself
    large body, body in pieces    a multipart upload: parts of `part_size_for` bytes,
                                  so many at once as fit into `UPLOAD_MEMORY`
    copy                          on the server; on S3 above 5 GiB in parts by boto3,
                                  without it read and put again
    list                          by obstore; where a key is none to it, by boto3, or
                                  folder by folder

A multipart upload is completed only after the body ended without an error; else it
is aborted.  What could not be aborted (we were killed, the right is missing) is
invisible, costs storage, and goes with `clean`.

Requests are made by `bucket.py`; what a list means stands in `listing.py`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC
from typing import Any

from litekeep import faults
from litekeep.aws import keys, uploads
from litekeep.aws.credentials import has_boto3
from litekeep.clock import Clock, now
from litekeep.errors import (
    AccessDenied,
    BlobChanged,
    BlobNotFound,
    NameTaken,
)
from litekeep.store.attributes import is_weak
from litekeep.store.base import (
    PIECE_SIZE_MAX,
    Blob,
    Body,
    Store,
    check_metadata,
    check_name,
    is_name,
    is_own_blob,
)
from litekeep.store.bucket import Bucket, Metadata
from litekeep.store.feed import (
    Feed,
    Reread,
    between,
    part_size_for,
)
from litekeep.store.listing import Pages, ascending, collected, walk, wanted
from litekeep.store.multipart import clean_uploads, copy_settings
from litekeep.store.options import StoreOptions
from litekeep.store.translate import (
    OddKey,
    RangeBehindEnd,
    RangeIgnored,
    UploadGone,
)


class ObjectsStore(Store):
    """Blobs as objects below a prefix of a bucket."""

    def __init__(
        self, scheme: str, bucket: str, prefix: str, options: StoreOptions, *, clock: Clock = now
    ) -> None:
        self._bucket = Bucket(scheme, bucket, prefix, options)
        self.url = self._bucket.url
        self._scheme = scheme
        self._options = options
        self._clock = clock
        self._has_odd_keys = False  # whether obstore cannot list all that is there

    @property
    def bucket(self) -> Bucket:
        """The bucket itself, for questions about it and not about what it holds."""
        return self._bucket

    @property
    def address(self) -> str:
        return f"{self.url} at {self._bucket.connection.base_url}"

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
        if create:
            assert isinstance(body, bytes), "a create takes bytes"
            return self._create(name, body, metadata)
        return self._upload(name, body, metadata, size_max, self._options.storage_class)

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
        quoted = version if is_weak(version) else f'"{version}"'
        named = {"version": version} if self._scheme == "gs" else {"e_tag": quoted}
        try:
            storage_class = self._options.storage_class
            return self._put_whole(name, body, metadata, mode=named, storage_class=storage_class)
        except BlobNotFound as error:
            raise BlobChanged(f"{self.url}/{name} was removed by somebody else") from error

    def get(
        self, name: str, *, offset: int = 0, size: int | None = None, version: str | None = None
    ) -> Iterator[bytes]:
        check_name(name)
        if size == 0:
            self.head(name)
            return
        condition: dict[str, Any] = {}
        if version is not None and self._scheme == "gs":
            condition["version"] = version
        elif version is not None and not is_weak(version):
            condition["if_match"] = f'"{version}"'
        end = None if size is None else offset + size
        ranged: Any = {"offset": offset} if end is None else (offset, end)
        is_whole = offset == 0 and end is None
        is_small = size is not None and size <= PIECE_SIZE_MAX
        try:
            options = condition if is_whole else {**condition, "range": ranged}
            pieces = self._bucket.get(name, options, version=version, is_small=is_small)
        except RangeBehindEnd:
            return
        except BlobNotFound as error:
            if version is None or self._scheme != "gs":
                raise
            # Google says so of a generation that was replaced.
            raise BlobChanged(f"{self.url}/{name} was changed by somebody else") from error
        except RangeIgnored:
            # The server knows no ranges.  Slow, but right: read all, drop the rest.
            whole = self._bucket.get(name, condition, version=version, is_small=False)
            pieces = between(whole, offset, end)
        yield from pieces

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[Blob]:
        folder = f"{self._bucket.prefix}{prefix.rpartition('/')[0]}".strip("/")
        if self._lists_in_order:
            offset = max(start_after, prefix[:-1])
            start = f"{self._bucket.prefix}{offset}" if is_name(offset) else ""
            found = ascending(self._pages(prefix, folder, start), self.url)
        else:
            # Where folders are walked, "a" as the start means "behind all of a/" too.
            found = collected(self._pages(prefix, folder, ""), self.url)
        return wanted(found, self._bucket.prefix, prefix, start_after, self._is_folder)

    def head(self, name: str) -> Blob:
        check_name(name)
        return self._bucket.head(name)

    def delete(self, name: str) -> None:
        check_name(name)
        with contextlib.suppress(BlobNotFound):
            self._bucket.delete(name)

    def copy(self, source: str, target: str) -> None:
        check_name(target)
        blob = self.head(source)
        if self._scheme == "s3" and blob.size > self._options.copy_size_max:
            self._copy_large(blob, target)
            return
        self._bucket.copy(source, target)

    def clean(self, unfinished: Iterable[str] = ()) -> Sequence[str]:
        if self._options.is_anonymous or (access := self._bucket.access()) is None:
            return []  # Google and Azure drop after a week what was not completed
        at = self._clock().astimezone(UTC)
        return clean_uploads(access, self._bucket, frozenset(unfinished), at=at)

    @property
    def _lists_in_order(self) -> bool:
        # SeaweedFS and other servers with a tree of folders list folder by folder,
        # where "a/x" comes before "a-b/x".  S3 itself and the clouds do not; of
        # others it cannot be known, so their listings are sorted here.
        return (
            self._scheme != "s3"
            or self._options.endpoint is None
            and (".amazonaws.com" in self._bucket.connection.base_url)
        )

    def _pages(self, prefix: str, folder: str, start: str) -> Pages:
        """Yield the keys below *folder* behind *start*, some at a time."""
        faults.reach(f"list {prefix}")
        if not self._has_odd_keys:
            try:
                for page in self._bucket.pages(folder, start):
                    yield page
                    if self._lists_in_order:
                        start = max(start, *(blob.name for blob in page))
                return
            except OddKey:
                self._has_odd_keys = True
        access = self._bucket.access()
        if access is None or not has_boto3():
            yield from walk(self._bucket.folder, folder, self._bucket.prefix, prefix, start)
            return
        with self._bucket.asking_boto3("list"):
            for found in keys.pages(access, self._bucket.name, folder, start):
                yield [Blob(key.name, key.size, key.modified, key.etag) for key in found]

    def _is_folder(self, name: str) -> bool:
        try:
            self.head(name)
        except BlobNotFound:
            return True
        except AccessDenied:
            pass
        return False

    def _create(self, name: str, body: bytes, metadata: Metadata) -> Blob:
        try:
            storage_class = self._options.storage_class
            return self._put_whole(name, body, metadata, mode="create", storage_class=storage_class)
        except NameTaken:
            if (own := is_own_blob(self, name, body, metadata)) is not None:
                return own
            raise

    def _put_whole(
        self,
        name: str,
        body: bytes,
        metadata: Metadata,
        *,
        mode: Any,
        storage_class: str | None,
    ) -> Blob:
        version = self._bucket.put(name, body, metadata, mode=mode, storage_class=storage_class)
        return self._stored(name, len(body), version, metadata)

    def _upload(
        self,
        name: str,
        body: Body,
        metadata: Metadata,
        size_max: int | None,
        storage_class: str | None,
    ) -> Blob:
        feed = Feed(body, name)
        part_size = part_size_for(len(body) if isinstance(body, bytes) else size_max)
        first = feed.read(part_size)
        is_whole = feed.is_at_end
        if is_whole:
            return self._put_whole(
                name, first, metadata, mode="overwrite", storage_class=storage_class
            )
        try:
            version = self._bucket.upload(
                name, first, feed, metadata, part_size=part_size, storage_class=storage_class
            )
        except UploadGone:
            if not feed.is_at_end:
                raise
            return self._completed(name, feed.size, metadata)
        return self._stored(name, feed.size, version, metadata)

    def _completed(self, name: str, size: int, metadata: Metadata) -> Blob:
        """
        Return the blob of an upload that is gone: it was completed, and the answer lost.

        Metadata must tell that it is this one, as it does for all that a backup puts.

        Raises:
            UploadGone: It is not there.
        """
        with contextlib.suppress(BlobNotFound):
            blob = self.head(name)
            if metadata and blob.size == size and dict(blob.metadata) == dict(metadata):
                return blob
        raise UploadGone(f"the upload of {name} to {self.url} was aborted by somebody else")

    def _copy_large(self, blob: Blob, target: str) -> None:
        access = self._bucket.access()
        if access is None or not has_boto3():
            self._upload(target, Reread(self, blob), blob.metadata, blob.size, None)
            return
        source, key = self._bucket.key(blob.name), self._bucket.key(target)
        settings = copy_settings(self._options)
        with self._bucket.asking_boto3("copy", target):
            uploads.copy_in_parts(access, self._bucket.name, source, key, settings=settings)

    def _stored(self, name: str, size: int, version: str, metadata: Metadata) -> Blob:
        return Blob(name, size, self._clock(), version, dict(metadata or {}))
