"""
Snapshots that lie in the future, because a clock was wrong when they were made, or is now.

They sort before all that come after them, until their time has come.
"""

from __future__ import annotations

import contextlib
from datetime import datetime
from itertools import chain, islice, takewhile

from litekeep.errors import StoreError
from litekeep.repository.layout import Repository, parse_object
from litekeep.when import is_ahead

AHEAD_HINT = (
    "The clock was wrong when it was made, or is wrong here; to restore it, give its name to --at."
)

_LOOKED_AT_MAX = 1000


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
