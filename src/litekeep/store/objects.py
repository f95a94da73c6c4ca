"""
A store in a bucket: S3 and what speaks it, Google Cloud Storage, Azure Blob Storage.

Every request goes through obstore.  Its calls block outside Python: they do not notice
Ctrl-C until they are done, and they hang in a process that was forked after the first
of them.  So call them from worker threads, and spawn, never fork.

    small body, create, replace   one PUT: whole or not at all by itself
    large body, body in pieces    a multipart upload: parts of `part_size_for` bytes,
                                  so many at once as fit into `UPLOAD_MEMORY`
    copy                          on the server; on S3 above 5 GiB in parts by boto3,
                                  without it read and put again

INVARIANTS

  1. A multipart upload is completed only after the body ended without an error;
     else it is aborted.  What could not be aborted (we were killed, the right is
     missing) is invisible, costs storage, and goes with `clean`.
  2. Each part is tried again by obstore; a whole request by `retry.py`.  Nothing is
     tried by both: see `connection.Use`.

What the server is told at first: `connection.py`; what its answers mean: `translate.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace as changed
from datetime import UTC
from typing import Any, cast

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import AzureStore, GCSStore, S3Store

from litekeep import faults
from litekeep.aws import uploads
from litekeep.aws.credentials import has_boto3
from litekeep.clock import Clock, now
from litekeep.errors import (
    BlobChanged,
    BlobNotFound,
    ConfigError,
    LitekeepError,
    NameTaken,
    StoreError,
)
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
from litekeep.store.connection import Use, connect, unasked_settings_hidden
from litekeep.store.feed import (
    MIB,
    PART_SIZE_MIN,
    UPLOAD_MEMORY,
    Feed,
    Reread,
    between,
    part_size_for,
    sliced,
)
from litekeep.store.multipart import clean_uploads, upload_settings
from litekeep.store.options import StoreOptions
from litekeep.store.translate import (
    Asked,
    RangeBehindEnd,
    RangeIgnored,
    status_of,
    translate,
)

QUICK_SIZE_MAX = MIB // 4

#: Cheaper storage classes bill at least this much per blob.
STORAGE_CLASS_SIZE_MIN = 128 * 1024

_OPENERS: dict[str, Any] = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}


class ObjectsStore(Store):
    """Blobs as objects below a prefix of a bucket."""

    def __init__(
        self, scheme: str, bucket: str, prefix: str, options: StoreOptions, *, clock: Clock = now
    ) -> None:
        self.url = f"{scheme}://{bucket}" + (f"/{prefix}" if prefix else "")
        self._scheme = scheme
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._options = options
        self._clock = clock
        self._connection = connect(scheme, bucket, options)
        self._asked = Asked(
            scheme, self.url, bucket, self._connection.base_url, self._connection.region
        )

        try:
            with unasked_settings_hidden():
                self._quick, self._bulk, self._parts = (
                    _OPENERS[scheme](**self._connection.client(use, options)) for use in Use
                )
        except (BaseError, OSError, ValueError) as error:
            # The text may quote a key that is not one.
            raise ConfigError(
                f"{self.url} cannot be opened with these options ({type(error).__name__})",
                hint="Check encryption, checksum, keys and the credentials file.",
            ) from None
        self._is_known = False  # whether the server ever did what it was asked

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
        feed = Feed(body, name)
        part_size = part_size_for(len(body) if isinstance(body, bytes) else size_max)
        first = feed.read(part_size)
        if feed.is_at_end:
            return self._put_whole(name, first, metadata, mode="overwrite")
        faults.reach(f"put {name}")
        try:
            with self._asking("put", name):
                answer = obstore.put(
                    self._parts,
                    self._key(name),
                    feed.from_start(first),
                    attributes=self._attributes(metadata, PART_SIZE_MIN),
                    use_multipart=True,
                    chunk_size=part_size,
                    max_concurrency=max(1, UPLOAD_MEMORY // part_size),
                )
        finally:
            if feed.error is not None:
                raise feed.error
        return self._stored(name, feed.size, answer, metadata)

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
        named = {"version": version} if self._scheme == "gs" else {"e_tag": _quoted(version)}
        try:
            return self._put_whole(name, body, metadata, mode=named)
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
        elif version is not None:
            condition["if_match"] = _quoted(version)
        end = None if size is None else offset + size
        ranged: Any = {"offset": offset} if end is None else (offset, end)
        is_whole = offset == 0 and end is None
        try:
            stream = self._stream(name, condition if is_whole else {**condition, "range": ranged})
        except RangeBehindEnd:
            return
        except BlobNotFound as error:
            if version is None or self._scheme != "gs":
                raise
            # Google says so of a generation that was replaced.
            raise BlobChanged(f"{self.url}/{name} was changed by somebody else") from error
        except RangeIgnored:
            # The server knows no ranges.  Slow, but right: read all, drop the rest.
            yield from between(self._pieces(name, self._stream(name, condition)), offset, end)
            return
        yield from self._pieces(name, stream)

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[Blob]:
        found = self._found(prefix, start_after)
        if not self._lists_in_order:
            found = iter(sorted(found, key=lambda blob: blob.name))
        for blob in found:
            if blob.name.startswith(prefix) and blob.name > start_after:
                yield blob
            elif blob.name > prefix and not blob.name.startswith(prefix):
                return  # past the last one

    def head(self, name: str) -> Blob:
        check_name(name)
        faults.reach(f"head {name}")
        with self._asking("head", name):
            answer = obstore.get(self._quick, self._key(name), options={"head": True})
            meta, attributes = answer.meta, answer.attributes
        metadata = {
            self._metadata_name(key, "_", "-"): value
            for key, value in attributes.items()
            if key.islower() or not key[0].isupper()
        }
        return Blob(name, meta["size"], meta["last_modified"], self._version(meta), metadata)

    def delete(self, name: str) -> None:
        check_name(name)
        faults.reach(f"delete {name}")
        try:
            with self._asking("delete", name):
                obstore.delete(self._quick, self._key(name))
        except BlobNotFound:
            return

    def copy(self, source: str, target: str) -> None:
        check_name(target)
        blob = self.head(source)
        if self._scheme == "s3" and blob.size > self._options.copy_size_max:
            self._copy_large(blob, target)
            return
        faults.reach(f"copy {target}")
        with self._asking("copy", target):
            obstore.copy(self._bulk, self._key(source), self._key(target))

    def clean(self, unfinished: Iterable[str] = ()) -> Sequence[str]:
        access = self._connection.access
        if access is None or self._options.is_anonymous:
            # Google and Azure drop what was not completed after a week; and nobody
            # lets an unknown abort anything.
            return []
        at = self._clock().astimezone(UTC)
        return clean_uploads(access, self._bucket, self._prefix, frozenset(unfinished), at=at)

    @property
    def _lists_in_order(self) -> bool:
        # SeaweedFS and other servers with a tree of folders list folder by folder,
        # where "a/x" comes before "a-b/x".  S3 itself and the clouds do not; of
        # others it cannot be known, so their listings are sorted here.
        return (
            self._scheme != "s3"
            or self._options.endpoint is None
            and (".amazonaws.com" in self._connection.base_url)
        )

    def _found(self, prefix: str, start_after: str) -> Iterator[Blob]:
        """Yield at least the blobs that start with *prefix* behind *start_after*."""
        folder = prefix.rpartition("/")[0]
        # Where folders are walked, "a" as the start means "behind all of a/" too.
        offset = max(start_after, prefix[:-1]) if self._lists_in_order else ""
        faults.reach(f"list {prefix}")
        with self._asking("list", ""):
            chunks = obstore.list(
                self._quick,
                f"{self._prefix}{folder}".strip("/") or None,
                offset=f"{self._prefix}{offset}" if is_name(offset) else None,
                chunk_size=1000,
            )
        while True:
            with self._asking("list", ""):
                chunk = next(chunks, None)
            if chunk is None:
                return
            for meta in chunk:
                name = meta["path"].removeprefix(self._prefix)
                if is_name(name):
                    yield Blob(name, meta["size"], meta["last_modified"], self._version(meta))

    def _stream(self, name: str, options: dict[str, Any]) -> Iterator[Any]:
        faults.reach(f"get {name}")
        with self._asking("get", name):
            answer: Any = obstore.get(self._quick, self._key(name), options=cast("Any", options))
            stream: Iterator[Any] = answer.stream(min_chunk_size=PIECE_SIZE_MAX)
            return stream

    def _pieces(self, name: str, stream: Iterator[Any]) -> Iterator[bytes]:
        while True:
            with self._asking("get", name):
                data = next(stream, None)
            if data is None:
                return
            yield from sliced(data)

    def _create(self, name: str, body: bytes, metadata: Mapping[str, str] | None) -> Blob:
        try:
            return self._put_whole(name, body, metadata, mode="create")
        except NameTaken:
            if (own := is_own_blob(self, name, body, metadata)) is not None:
                return own
            raise

    def _put_whole(
        self, name: str, body: bytes, metadata: Mapping[str, str] | None, *, mode: Any
    ) -> Blob:
        faults.reach(f"put {name}")
        client = self._quick if len(body) <= QUICK_SIZE_MAX else self._bulk
        with self._asking("put", name):
            answer = obstore.put(
                client,
                self._key(name),
                body,
                mode=mode,
                attributes=self._attributes(metadata, len(body)),
                use_multipart=False,
            )
        return self._stored(name, len(body), answer, metadata)

    def _copy_large(self, blob: Blob, target: str) -> None:
        access = self._connection.access
        if access is None or not has_boto3():
            self.put(target, Reread(self, blob), metadata=blob.metadata, size_max=blob.size)
            return
        uploads.copy_in_parts(
            access,
            self._bucket,
            self._key(blob.name),
            self._key(target),
            settings=upload_settings(self._options),
        )

    def _stored(
        self, name: str, size: int, answer: Any, metadata: Mapping[str, str] | None
    ) -> Blob:
        return Blob(name, size, self._clock(), self._version(answer), dict(metadata or {}))

    def _key(self, name: str) -> str:
        check_name(name)
        return self._prefix + name

    def _attributes(self, metadata: Mapping[str, str] | None, size: int) -> dict[Any, str]:
        attributes = {"Content-Type": "application/octet-stream"}
        if self._options.storage_class and size >= STORAGE_CLASS_SIZE_MIN:
            attributes["Storage-Class"] = self._options.storage_class
        for key, value in (metadata or {}).items():
            attributes[self._metadata_name(key, "-", "_")] = value
        return attributes

    def _metadata_name(self, name: str, old: str, new: str) -> str:
        # Azure allows identifiers only.
        return name.replace(old, new) if self._scheme == "az" else name

    def _version(self, meta: Any) -> str:
        version = meta.get("version") if self._scheme == "gs" else meta.get("e_tag")
        # Some servers leave the quotes away in a listing.
        return (version or "").strip('"')

    @contextmanager
    def _asking(self, action: str, name: str) -> Iterator[None]:
        """Turn obstore's errors into ours: the only place that does."""
        try:
            yield
            self._is_known = True
        except LitekeepError:
            raise
        except AlreadyExistsError as error:
            raise NameTaken(f"{self.url}/{name} exists already, with other content") from error
        except PreconditionError as error:
            # S3 says 404 to a condition on a blob that is gone.
            raise BlobChanged(f"{self.url}/{name} was changed by somebody else") from error
        except (BaseError, OSError, ValueError) as error:
            provider = self._connection.provider
            if provider is not None and provider.error is not None:
                raise provider.error from error
            ours = self._error(action, name, str(error))
            if isinstance(error, FileNotFoundError) and type(ours) is StoreError:
                ours = BlobNotFound(f"no object {name!r} in {self.url}")  # Azure's batches
            # The address of a request to Azure holds the token.
            raise ours from (None if self._options.sas_token is not None else error)

    def _error(self, action: str, name: str, text: str) -> StoreError:
        if action == "head" and status_of(text) and not self._is_known:
            text = self._explained(name) or text  # an answer to HEAD has no words
        return translate(changed(self._asked, action=action, name=name), text)

    def _explained(self, name: str) -> str | None:
        try:
            obstore.get_range(self._quick, self._key(name), start=0, end=1)
        except (BaseError, OSError) as error:
            return str(error)
        return None


def _quoted(version: str) -> str:
    return version if version.startswith("W/") else f'"{version}"'
