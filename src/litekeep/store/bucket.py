"""
A bucket, or a folder of one: the objects below a prefix, one request at a time.

This is the only module that imports obstore, and it turns obstore's errors into ours.
obstore's calls block outside Python: they do not notice Ctrl-C until they are done,
and they hang in a process that was forked after the first of them.  So call them from
worker threads, and spawn, never fork.

A part of an upload is tried again by obstore; a whole request by `retry.py`.  Nothing
is tried by both: see `connection.Use`.

What the server's answers mean stands in `translate.py`, what it is told at first in
`connection.py`.  Where nothing names the region of a bucket of AWS, the first request is
preceded by a question for it: `region.py`.  What a store makes of all this, `objects.py` knows.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace as changed
from typing import Any, cast

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import AzureStore, GCSStore, S3Store

from litekeep import faults
from litekeep.aws.credentials import Access, Refused
from litekeep.errors import (
    BlobChanged,
    BlobNotFound,
    ConfigError,
    LitekeepError,
    NameTaken,
    StoreError,
)
from litekeep.store.attributes import attributes_of, key_of, metadata_of, version_of
from litekeep.store.base import PIECE_SIZE_MAX, Blob, check_name
from litekeep.store.connection import Connection, Use, connect, unasked_settings_hidden
from litekeep.store.feed import MIB, UPLOAD_MEMORY, Feed, exactly, sliced
from litekeep.store.options import StoreOptions
from litekeep.store.region import find_region
from litekeep.store.translate import Asked, is_silent_of_region, status_of, translate

QUICK_SIZE_MAX = MIB // 4
LISTED_AT_ONCE = 1000

#: Refusals that have a reason, which an answer to HEAD has no room for.
_SILENT = (301, 400, 403)

_OPENERS: dict[str, Any] = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}

Metadata = Mapping[str, str] | None


class Bucket:
    """
    The objects below *prefix*, by their names behind it.

    Args:
        prefix: Without slashes at its ends; may be empty.
    """

    def __init__(self, scheme: str, bucket: str, prefix: str, options: StoreOptions) -> None:
        self.url = f"{scheme}://{bucket}" + (f"/{prefix}" if prefix else "")
        self.scheme = scheme
        self.name = bucket
        self.prefix = f"{prefix}/" if prefix else ""
        self._options = options
        self._has_token = options.sas_token is not None
        self._settling = threading.Lock()
        self._open(connect(scheme, bucket, options))
        self._is_known = False  # whether the server ever did what it was asked

    def _open(self, connection: Connection) -> None:
        self.connection = connection
        self._asked = Asked(
            self.scheme,
            self.url,
            self.name,
            connection.base_url,
            connection.region,
            credentials_hint=connection.credentials_hint,
        )
        try:
            with unasked_settings_hidden():
                self._clients: dict[Use, Any] = {
                    use: _OPENERS[self.scheme](**connection.client(use, self._options))
                    for use in Use
                }
        except (BaseError, OSError, ValueError) as error:
            # The text may quote a key that is not one.
            raise ConfigError(
                f"{self.url} cannot be opened with these options ({type(error).__name__})",
                hint="Check encryption, checksum, keys and the credentials file.",
            ) from None

    def _client(self, use: Use) -> Any:
        self._settle()
        return self._clients[use]

    def access(self) -> Access | None:
        """Return who asks boto3, and in which region; None where it is not S3."""
        self._settle()
        return self.connection.access

    def _settle(self) -> None:
        """Go to the bucket's region, where nobody named one; it is asked for once."""
        with self._settling:
            if not self.connection.is_region_known and (region := self._region()):
                self._open(self.connection.in_region(region))

    def _region(self) -> str | None:
        return find_region(
            self.name,
            metadata=self.connection.config.get("metadata_endpoint"),
            authorities=self.connection.client_options.get("root_certificate"),
            seconds=self._options.timeout_seconds,
        )

    def key(self, name: str) -> str:
        """Return the key of the object *name*."""
        check_name(name)
        return key_of(self.prefix, name, self.url)

    def put(
        self, name: str, body: bytes, metadata: Metadata, *, mode: Any, storage_class: str | None
    ) -> str:
        """Put an object by one request; return its version."""
        faults.reach(f"put {name}")
        client = self._client(Use.QUICK if len(body) <= QUICK_SIZE_MAX else Use.BULK)
        attributes = attributes_of(self.scheme, metadata, storage_class, len(body))
        with self._asking("put", name):
            answer = obstore.put(
                client,
                self.key(name),
                body,
                mode=mode,
                attributes=attributes,
                use_multipart=False,
            )
        return version_of(self.scheme, answer)

    def upload(
        self,
        name: str,
        first: bytes,
        feed: Feed,
        metadata: Metadata,
        *,
        part_size: int,
        storage_class: str | None,
    ) -> str:
        """Put *first* and what *feed* still has as one object, in parts; return its version."""
        faults.reach(f"put {name}")
        try:
            with self._asking("put", name):
                answer = obstore.put(
                    self._client(Use.PARTS),
                    self.key(name),
                    feed.from_start(first),
                    attributes=attributes_of(self.scheme, metadata, storage_class, part_size),
                    use_multipart=True,
                    chunk_size=part_size,
                    max_concurrency=max(1, UPLOAD_MEMORY // part_size),
                )
        finally:
            if feed.error is not None:
                raise feed.error
        return version_of(self.scheme, answer)

    def get(
        self, name: str, options: Mapping[str, Any], *, version: str | None, is_small: bool
    ) -> Iterator[bytes]:
        """
        Ask for an object; return the pieces of the answer.

        Args:
            version: Raise `BlobChanged` if the answer names another.

            is_small: Bound the whole answer in time, not only its silence.
        """
        faults.reach(f"get {name}")
        client = self._client(Use.QUICK if is_small else Use.READING)
        with self._asking("get", name):
            answer: Any = obstore.get(client, self.key(name), options=cast("Any", options))
            if version is not None and version_of(self.scheme, answer.meta) not in ("", version):
                raise BlobChanged(f"{self.url}/{name} was changed by somebody else")
            start, end = answer.range
            stream = answer.stream(min_chunk_size=PIECE_SIZE_MAX)
        return exactly(self._streamed(name, stream), end - start, f"{self.url}/{name}")

    def _streamed(self, name: str, stream: Iterator[Any]) -> Iterator[bytes]:
        while True:
            with self._asking("get", name):
                data = next(stream, None)
            if data is None:
                return
            yield from sliced(data)

    def head(self, name: str) -> Blob:
        """Return what is known of an object."""
        faults.reach(f"head {name}")
        with self._asking("head", name):
            answer = obstore.get(self._client(Use.QUICK), self.key(name), options={"head": True})
            meta, attributes = answer.meta, answer.attributes
        metadata = metadata_of(self.scheme, attributes)
        version = version_of(self.scheme, meta)
        return Blob(name, meta["size"], meta["last_modified"], version, metadata)

    def delete(self, name: str) -> None:
        """Remove an object."""
        faults.reach(f"delete {name}")
        with self._asking("delete", name):
            obstore.delete(self._client(Use.QUICK), self.key(name))

    def copy(self, source: str, target: str) -> None:
        """Copy an object on the server."""
        faults.reach(f"copy {target}")
        with self._asking("copy", target):
            obstore.copy(self._client(Use.BULK), self.key(source), self.key(target))

    def pages(self, folder: str, start: str) -> Iterator[Sequence[Blob]]:
        """Yield the objects below *folder* whose keys are behind *start*, named by their keys."""
        with self._asking("list", ""):
            client = self._client(Use.QUICK)
            chunks = obstore.list(
                client, folder or None, offset=start or None, chunk_size=LISTED_AT_ONCE
            )
        while True:
            with self._asking("list", ""):
                chunk = next(chunks, None)
            if chunk is None:
                return
            yield [self._blob(meta) for meta in chunk]

    def folder(self, folder: str) -> tuple[Sequence[Blob], Sequence[str]]:
        """Return the objects in *folder* itself, and the folders in it, by their keys."""
        with self._asking("list", ""):
            found = obstore.list_with_delimiter(self._client(Use.QUICK), folder or None)
        return [self._blob(meta) for meta in found["objects"]], list(found["common_prefixes"])

    @contextlib.contextmanager
    def asking_boto3(self, action: str, name: str = "") -> Iterator[None]:
        """Put what S3 refuses to boto3 into the same words as what it refuses here."""
        try:
            yield
        except Refused as error:
            raise translate(changed(self._asked, action=action, name=name), error.text) from error

    def _blob(self, meta: Any) -> Blob:
        version = version_of(self.scheme, meta)
        return Blob(meta["path"], meta["size"], meta["last_modified"], version)

    @contextlib.contextmanager
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
        except (BaseError, OSError, ValueError, NotImplementedError) as error:
            provider = self.connection.provider
            if provider is not None and provider.error is not None:
                raise provider.error from error
            ours = self._error(action, name, str(error))
            if isinstance(error, FileNotFoundError) and type(ours) is StoreError:
                ours = BlobNotFound(f"no object {name!r} in {self.url}")  # Azure's batches
            # The address of a request to Azure holds the token.
            raise ours from (None if self._has_token else error)

    def _error(self, action: str, name: str, text: str) -> StoreError:
        status = status_of(text)
        if action == "head" and (status in _SILENT or (status and not self._is_known)):
            text = self._explained(name) or text
        asked = changed(self._asked, action=action, name=name)
        if self.connection.is_amazon and is_silent_of_region(text):
            with contextlib.suppress(StoreError):
                found = self._region()
                asked = changed(asked, region_found="" if found in (None, asked.region) else found)
        return translate(asked, text)

    def _explained(self, name: str) -> str | None:
        try:
            obstore.get_range(self._client(Use.QUICK), self.key(name), start=0, end=1)
        except (BaseError, OSError) as error:
            return str(error)
        return None
