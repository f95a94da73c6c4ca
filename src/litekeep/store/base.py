"""
What a store is: a place for named blobs, and the rules that all of them keep.

A store knows nothing of SQLite, snapshots or manifests.  Its names are relative
paths with ``/`` between segments.

RULES (`tests/contract/` holds every store to each of them, by number)

   1. A blob appears whole or not at all: a put that fails, is cut off or is
      killed leaves the name as it was.
   2. When `put` returns, the blob survives a crash of this host.
   3. `put(create=True)` never replaces: it raises `NameTaken` if the name holds
      a blob.  Of several racing creators exactly one wins.  (A store whose
      server ignores conditions cannot keep this: `honours_conditions` finds out.)
   4. A create that meets its own blob (an answer was lost and the request was
      sent again: same bytes, same metadata) is a success.
   5. `put` without create replaces the whole blob, metadata included.
   6. A body may be read more than once, from its start: that is how a put is
      tried again.  A create takes bytes, not a stream.
   7. `get` yields exactly the bytes asked for, in order, in pieces of any size
      up to `PIECE_SIZE_MAX`; memory does not grow with the blob.  A range that
      ends past the blob is cut at its end; one that starts past it is empty.
      `get` and `list` ask, and raise, when the first piece is asked for.
   8. `list` yields blobs whose name starts with the prefix (plain text, not only
      whole segments) and sorts after *start_after*, in the order of their UTF-8
      bytes.  A put that has returned is listed.  No other names are: no
      temporary files, no folders, no open uploads.
   9. `head`, `get`, `copy` of a name that is not there raise `BlobNotFound`;
      `delete` of one is a success.
  10. `copy` is atomic like a put, replaces, takes the metadata along, and moves
      no bytes through this host where the server can copy by itself.
  11. `replace` succeeds only if the blob's version is the one named, else
      `BlobChanged` (also when the blob is gone).
  12. Metadata is text by lower-case names (`check_metadata`), at most 2 KiB in
      all; `head` returns it, `list` does not.  A blob's `version` changes whenever
      its bytes do.
  13. Names are checked by `check_name` before anything is asked of a server.
  14. Foreign errors never escape: every failure is one of `errors.StoreError`, or a
      `UserError` where what the store was set up with cannot be used (`FAILURES`);
      and only `StoreUnavailable` is worth another try.
  15. `url` and `address` hold no secret, so they may be printed and stored.
  16. A store may be used from several threads at once.

This module does not know which stores exist: `store/open.py` does.
"""

from __future__ import annotations

import abc
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from litekeep.errors import BlobNotFound, NameTaken, StoreError, UserError

PIECE_SIZE_MAX = 1 << 20
NAME_SIZE_MAX = 1000
SEGMENT_SIZE_MAX = 240
METADATA_SIZE_MAX = 2048
PROBE_NAME = ".litekeep-probe"

# What a directory keeps beside its blobs; a store elsewhere refuses them too, so
# that every repository can be copied to a directory.
_BUG_HINT = "Please report it: what has such a name should have been refused before."
_HIDDEN = re.compile(r"\.litekeep-[0-9a-f]{16}\.tmp|\.litekeep\.lock|\..+\.meta")
_METADATA_NAME = re.compile(r"[a-z][a-z0-9-]*")

#: What a store raises (rule 14).
FAILURES = (StoreError, UserError)

#: Bytes, or an iterable that starts afresh each time `iter` is called on it.
Body = bytes | Iterable[bytes]


@dataclass(frozen=True, slots=True)
class Blob:
    """
    What a store says of one blob.

    `version` is opaque and may be compared for equality only; it is empty where
    the store gives none in this kind of answer.
    """

    name: str
    size: int
    modified: datetime
    version: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


class Store(abc.ABC):
    """A place for blobs.  See the rules at the head of this module."""

    #: For people and logs; holds no secret.
    url: str

    #: A folder on the file system that holds the blobs, whose files `take` can
    #: link instead of reading; None where the store is elsewhere.
    staging: Path | None = None

    @property
    def address(self) -> str:
        """What tells the store from any other, also from one of its `url` on another server."""
        return self.url

    @abc.abstractmethod
    def put(
        self,
        name: str,
        body: Body,
        *,
        create: bool = False,
        metadata: Mapping[str, str] | None = None,
        size_max: int | None = None,
    ) -> Blob:
        """
        Store *body* under *name* (rules 1 to 6).

        Args:
            name: See `check_name`.

            body: If it raises while it is read, nothing is stored and the error
                comes out as it is.

            create: Refuse to replace; *body* must be bytes.

            metadata: Rule 12.

            size_max: An upper bound of the body's size in bytes, where it is
                known: it decides the size of the parts of a large upload.
        """

    @abc.abstractmethod
    def replace(
        self,
        name: str,
        body: bytes,
        *,
        version: str,
        metadata: Mapping[str, str] | None = None,
    ) -> Blob:
        """Replace the blob only if it still is the one of *version* (rule 11)."""

    @abc.abstractmethod
    def get(
        self, name: str, *, offset: int = 0, size: int | None = None, version: str | None = None
    ) -> Iterator[bytes]:
        """
        Yield *size* bytes of the blob from *offset*, or all that follow (rule 7).

        Args:
            version: Raise `BlobChanged` if the blob is not of this version.
        """

    @abc.abstractmethod
    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[Blob]:
        """Yield blobs in order of name (rule 8)."""

    @abc.abstractmethod
    def head(self, name: str) -> Blob:
        """Return what is known of one blob, metadata included (rules 9 and 12)."""

    @abc.abstractmethod
    def delete(self, name: str) -> None:
        """Remove the blob, if it is there (rule 9)."""

    @abc.abstractmethod
    def copy(self, source: str, target: str) -> None:
        """Make *target* a copy of *source* (rule 10)."""

    def take(self, path: Path, name: str, *, metadata: Mapping[str, str] | None = None) -> Blob:
        """
        Store the finished file at *path* under *name*, replacing.

        A store with a `staging` folder links a file from there instead of reading
        it; so the file must not change afterwards.  The caller still removes it.
        """
        return self.put(name, FileBody(path), metadata=metadata, size_max=path.stat().st_size)

    def read(self, name: str, *, size_max: int) -> bytes:
        """
        Return a whole small blob.

        Raises:
            StoreError: It is larger than *size_max*.
        """
        data = bytearray()
        for piece in self.get(name, size=size_max + 1):
            data += piece
            if len(data) > size_max:
                raise StoreError(
                    f"{self.url}/{name} is larger than {size_max} bytes",
                    hint="It is none that Litekeep wrote: move it away.",
                )
        return bytes(data)

    def clean(self, unfinished: Iterable[str] = ()) -> Sequence[str]:
        """
        Remove what killed runs left behind: temporary files, open uploads.

        Args:
            unfinished: Names that runs were putting which the caller knows to be
                dead.  Where the server does not tell whose an open upload is, those
                of other names go only when they are older than any live run.

        Returns:
            A line for a person on each thing removed, or on what could not be
            looked at.  What is still in use by a live process stays.
        """
        return []


@dataclass(frozen=True, slots=True)
class FileBody:
    """The bytes of a finished local file, as often as they are asked for."""

    path: Path

    def __iter__(self) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            while piece := file.read(PIECE_SIZE_MAX):
                yield piece


def check_name(name: str) -> None:
    """
    Raise if *name* cannot name a blob in every kind of store.

    A segment is at most `SEGMENT_SIZE_MAX` bytes (file systems allow 255, and a
    directory adds some), and none is what a directory keeps beside its blobs.

    >>> check_name("sqlite-backup/2025/09/app_20250908_120001.db.gz")
    >>> check_name("../etc/passwd")
    Traceback (most recent call last):
    ...
    litekeep.errors.StoreError: '../etc/passwd' is not a name for an object
    """
    if not is_name(name):
        raise StoreError(f"{name!r} is not a name for an object", hint=_BUG_HINT)


def is_name(name: str) -> bool:
    """Tell whether *name* can name a blob: see `check_name`."""
    segments = name.split("/")
    return not (
        any(ord(character) < 32 or ord(character) == 127 for character in name)
        or any(0xD800 <= ord(character) < 0xE000 for character in name)
        or "\ufffe" in name  # neither this nor the next can stand in XML
        or "\uffff" in name
        or "\\" in name
        or len(name.encode()) > NAME_SIZE_MAX
        or any(segment in ("", ".", "..") for segment in segments)
        or any(len(segment.encode()) > SEGMENT_SIZE_MAX for segment in segments)
        or any(_HIDDEN.fullmatch(segment) for segment in segments)
    )


def is_passed_over(folder: str, prefix: str) -> bool:
    """
    Tell whether a list may leave out a folder that cannot be read, for what it is.

    Others put theirs beside ours.  But not one that is asked for; nor one named by
    digits alone, as years and months are: a list without those would be taken for all
    there is.

    Args:
        folder: Its name below the store, with a slash at its end; empty for the root.

        prefix: What the names that are asked for begin with.

    >>> is_passed_over("lost+found/", ""), is_passed_over("2025/09/", "")
    (True, False)
    """
    is_asked_for = folder == "" or prefix.startswith(folder)
    return not is_asked_for and not folder.replace("/", "").isdecimal()


def check_metadata(metadata: Mapping[str, str] | None) -> None:
    """
    Raise if *metadata* cannot be kept by every kind of store (rule 12).

    Names are lower-case letters, digits and hyphens; values printable ASCII
    without blanks at their ends, because they travel as HTTP headers.

    >>> check_metadata({"litestream-timestamp": "2025-09-08T12:00:01Z"})
    >>> check_metadata({"Note": "x"})
    Traceback (most recent call last):
    ...
    litekeep.errors.StoreError: 'Note' cannot name metadata of an object
    """
    size = 0
    for name, value in (metadata or {}).items():
        if not _METADATA_NAME.fullmatch(name):
            raise StoreError(f"{name!r} cannot name metadata of an object", hint=_BUG_HINT)
        if not (value.isascii() and value.isprintable()) or value != value.strip() or not value:
            raise StoreError(f"metadata {name!r} is not plain printable text", hint=_BUG_HINT)
        size += len(name) + len(value)
    if size > METADATA_SIZE_MAX:
        raise StoreError(
            f"metadata of {size} bytes is more than {METADATA_SIZE_MAX}", hint=_BUG_HINT
        )


def is_own_blob(
    store: Store, name: str, body: bytes, metadata: Mapping[str, str] | None
) -> Blob | None:
    """
    Return the blob under *name* if it holds just this, else None (rule 4).

    For the implementations of `put`, once a create was refused.
    """
    try:
        blob = store.head(name)
        if blob.size != len(body) or dict(blob.metadata) != dict(metadata or {}):
            return None
        stored = b"".join(store.get(name, size=len(body) + 1))
    except BlobNotFound:
        return None
    return blob if stored == body else None


def honours_conditions(store: Store) -> bool:
    """
    Find out whether the store keeps rule 3, with one or two tiny requests.

    A create is sent twice with different bytes; the second must be refused.  On a
    store that was probed before, the first one is refused already.  The blob
    `PROBE_NAME` stays.  It is for what relies on rule 3 alone; snapshots do not: they
    look afterwards whose object is there.
    """
    for attempt in (b"first", b"second"):
        try:
            store.put(PROBE_NAME, attempt, create=True)
        except NameTaken:
            return True
    return False
