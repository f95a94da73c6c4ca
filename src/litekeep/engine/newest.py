"""
What is newest in a store: the copy called `latest`, and what a wrong clock has put before it.
"""

from __future__ import annotations

import contextlib
from datetime import datetime
from itertools import chain, islice, takewhile
from urllib.parse import quote

from litekeep.codec.base import Codec
from litekeep.engine.job import remove_or_empty
from litekeep.errors import BlobNotFound, StoreError
from litekeep.repository.layout import Repository, parse_object
from litekeep.repository.manifest import CAPTURED_KEY, DATABASE_KEY
from litekeep.repository.names import latest_objects
from litekeep.store.base import Store
from litekeep.when import is_ahead

AHEAD_HINT = (
    "The clock was wrong when it was made, or is wrong here; to restore it, give its name to --at."
)

_LOOKED_AT_MAX = 1000


def owner_of(repository: Repository) -> str:
    """Return the database's name as metadata holds it."""
    return quote(repository.database)


def move_latest(
    repository: Repository, data_object: str, codec: Codec, *, captured_at: datetime, now: datetime
) -> bool | None:
    """
    Copy a snapshot to `latest`, unless that is another database's, or newer.

    It is newer where a run that captured later was faster; not where a clock was ahead.
    A `latest` of ours in another format would stay as it is for ever: it is removed.

    Returns:
        Whether it moved; None where it was not to be.
    """
    store, latest = repository.store, repository.latest(codec)
    if latest is None:
        return None
    ours = owner_of(repository)
    if _metadata(store, latest).get(DATABASE_KEY, ours) != ours:
        return False
    others = {name: _metadata(store, name) for name in latest_objects(repository)}
    for metadata in others.values():
        if metadata.get(DATABASE_KEY) == ours:
            time = _instant(metadata.get(CAPTURED_KEY, ""))
            if time is not None and captured_at < time and not is_ahead(time, now):
                return None
    store.copy(data_object, latest)
    for name, metadata in others.items():
        if name != latest and metadata.get(DATABASE_KEY) == ours:
            remove_or_empty(store, name)
    return True


def find_ahead(repository: Repository, data_object: str, now: datetime) -> str | None:
    """Return the name of a snapshot that lies in the future, if one sorts behind this."""
    folder = data_object.rpartition("/")[0]
    prefix = f"{folder}/{repository.database}_" if folder else f"{repository.database}_"
    blobs = repository.store.list(prefix, start_after=data_object)
    if folder:  # and what lies in later months: "0" is the character after "/"
        later = repository.store.list(start_after=f"{folder}0")
        blobs = chain(blobs, takewhile(lambda blob: blob.name[0].isdigit(), later))
    with contextlib.suppress(StoreError):
        for blob in islice(blobs, _LOOKED_AT_MAX):
            found = parse_object(blob.name, repository.zone)
            if found is None or found.database != repository.database:
                continue
            if is_ahead(found.time, now):
                return found.name
    return None


def _metadata(store: Store, name: str) -> dict[str, str]:
    """Return the blob's metadata; none where there is no blob."""
    try:
        return dict(store.head(name).metadata)
    except BlobNotFound:
        return {}


def _instant(text: str) -> datetime | None:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    return instant if instant.tzinfo is not None else None
