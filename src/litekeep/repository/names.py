"""
What the names in a store say, without a look at what lies under them.

Which databases, and which `latest`: one list request.  What is a snapshot and what is not,
`catalog.py` knows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from litekeep.codec.formats import CODECS
from litekeep.repository.layout import LATEST, Repository, parse_object

#: A file of a stream: `stream/chain.py`.
_STREAM = re.compile(
    r"(?:(?P<folder>.+)/)?(?P<database>[^/]+)/(?:ltx/\d|[0-9a-f]{4})/[0-9a-f]{16}-[0-9a-f]{16}\.ltx"
)


def latest_objects(repository: Repository) -> Sequence[str]:
    """Return which `latest` there are, one a format; one of no bytes was emptied, and is none."""
    names = {repository.latest(codec) for codec in CODECS}
    blobs = repository.store.list(LATEST)
    return [blob.name for blob in blobs if blob.name in names and blob.size > 0]


def database_names(repository: Repository) -> Sequence[str]:
    """Return the names of the databases that have objects in the repository's store."""
    return database_folders(repository).get("", ())


def database_folders(repository: Repository) -> Mapping[str, Sequence[str]]:
    """Return the names of databases by the folder of the store that holds them; "" is itself."""
    found: dict[str, set[str]] = {}
    for blob in repository.store.list():
        parts = blob.name.split("/")
        for count in (3, 1):  # with the folders of year and month, or without
            parsed = parse_object("/".join(parts[-count:]), repository.zone)
            if parsed is not None and len(parts) >= count:
                found.setdefault("/".join(parts[:-count]), set()).add(parsed.database)
                break
        if (stream := _STREAM.fullmatch(blob.name)) is not None:
            found.setdefault(stream["folder"] or "", set()).add(stream["database"])
    return {folder: sorted(names) for folder, names in sorted(found.items())}
