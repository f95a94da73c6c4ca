"""
`latest`, put right: a copy of the newest snapshot that is fit, whatever it was before.

A backup moves `latest` by itself, in its own last step (`deliver.py`).  This is for what
changes the choice afterwards: a drill that fails, a suspect snapshot that is accepted.
"""

from __future__ import annotations

from urllib.parse import quote

from litekeep.engine.job import remove_or_empty
from litekeep.engine.points import read_quickly
from litekeep.errors import BlobNotFound
from litekeep.repository.catalog import latest_objects
from litekeep.repository.layout import Repository, parse_object
from litekeep.repository.manifest import DATABASE_KEY, ID_KEY


def renew_latest(repository: Repository) -> str | None:
    """
    Let `latest` be the newest snapshot whose state is ok.

    Returns:
        The name of the snapshot that it is a copy of now, or None where nothing was to
        be done: it was that already, there is none that is ok, or the layout has no
        `latest`.

    Raises:
        StoreError: The store does not answer.
    """
    fit = [one for one in read_quickly(repository).snapshots if one.state == "ok"]
    if not fit:
        return None
    newest = fit[-1]
    parsed = parse_object(newest.object, repository.zone)
    assert parsed is not None, "the catalogue found it by its name"
    latest = repository.latest(parsed.codec)
    if latest is None:
        return None
    try:
        if repository.store.head(latest).metadata.get(ID_KEY) == newest.id:
            return None
    except BlobNotFound:
        pass
    store, owner = repository.store, quote(repository.database)
    store.copy(newest.object, latest)
    for name in latest_objects(repository):  # of another format: older, or bad
        if name != latest and store.head(name).metadata.get(DATABASE_KEY) == owner:
            remove_or_empty(store, name)
    return newest.name
