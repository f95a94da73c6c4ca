"""
What the names in a store say, without a look at what lies under them.

Which databases, and which `latest`: one list request.  What is a snapshot and what is not,
`catalog.py` knows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from litekeep.codec.formats import CODECS
from litekeep.repository.layout import LATEST, Repository, parse_object

#: A file of a stream: `stream/chain.py`, or of Litestream 0.3: `stream/generations.py`.
_STREAM = re.compile(
    r"(?:(?:(?P<folder>.+)/)?(?P<database>[^/]+)/)?"
    r"(?:(?:ltx/\d|[0-9a-f]{4})/[0-9a-f]{16}-[0-9a-f]{16}\.ltx"
    r"|generations/[0-9a-f]{16}/(?:snapshots|wal)/[0-9a-f_]+\.(?:snapshot|wal)\.lz4)"
)


@dataclass(frozen=True, slots=True)
class Databases:
    """
    What lies in a store: the names of databases by the folder that holds them; "" is itself.

    `is_litestream` says that the store is the root of a stream, as only Litestream has it.
    """

    folders: Mapping[str, Sequence[str]]
    is_litestream: bool


def latest_objects(repository: Repository) -> Sequence[str]:
    """Return which `latest` there are, one a format; one of no bytes was emptied, and is none."""
    names = {repository.latest(codec) for codec in CODECS}
    blobs = repository.store.list(LATEST)
    return [blob.name for blob in blobs if blob.name in names and blob.size > 0]


def database_names(repository: Repository) -> Sequence[str]:
    """Return the names of the databases that have objects in the repository's store."""
    return find_databases(repository).folders.get("", ())


def find_databases(repository: Repository) -> Databases:
    """Return which databases have objects in the repository's store."""
    found: dict[str, set[str]] = {}
    is_litestream = False
    for blob in repository.store.list():
        parts = blob.name.split("/")
        for count in (3, 1):  # with the folders of year and month, or without
            parsed = parse_object("/".join(parts[-count:]), repository.zone)
            if parsed is not None and len(parts) >= count:
                found.setdefault("/".join(parts[:-count]), set()).add(parsed.database)
                break
        if (stream := _STREAM.fullmatch(blob.name)) is None:
            continue
        if stream["database"] is None:
            is_litestream = True
        else:
            found.setdefault(stream["folder"] or "", set()).add(stream["database"])
    return Databases(
        {folder: sorted(names) for folder, names in sorted(found.items())}, is_litestream
    )
