"""
`latest`: whether it is the newest snapshot that is good, and putting it right.

    in the format of the newest that is good     it must be that one
    in another format                            there is none; or it is a script's snapshot,
                                                 newer than any of ours

A backup moves `latest` in its last step (`deliver.py`), behind the manifest.  What changes
the choice afterwards is a drill that fails, or a suspect snapshot that is accepted.  Where
several databases share a place, `latest` is that one's which came first, and of the others'
only whether it can be read is known.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from urllib.parse import quote

from litekeep.clock import Clock, now
from litekeep.codec.base import Codec
from litekeep.codec.formats import CODECS
from litekeep.engine.fetch import Fetch
from litekeep.engine.job import remove_or_empty
from litekeep.engine.points import read_quickly
from litekeep.errors import BlobNotFound, ChecksumMismatch, CorruptionError, LitekeepError
from litekeep.repository.catalog import Contents, Snapshot
from litekeep.repository.layout import Repository, parse_object
from litekeep.repository.manifest import CAPTURED_KEY, DATABASE_KEY, ID_KEY
from litekeep.repository.names import database_names, latest_objects
from litekeep.store.base import FAILURES, Blob, Store
from litekeep.when import is_ahead

_HINT = "The next backup that passes its check puts it right."
_SECONDS_MAX = 1e9


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
    fit = _good(read_quickly(repository))
    if not fit:
        return None
    newest = fit[-1]
    latest = _latest_of(newest)
    if latest is None:
        return None
    try:
        if repository.store.head(latest).metadata.get(ID_KEY) == newest.id:
            return None
    except BlobNotFound:
        pass
    store, owner = repository.store, owner_of(repository)
    store.copy(newest.object, latest)
    for name in latest_objects(repository):  # of another format: older, or bad
        if name != latest and store.head(name).metadata.get(DATABASE_KEY) == owner:
            remove_or_empty(store, name)
    return newest.name


def moving_until(contents: Contents) -> datetime | None:
    """
    Return until when the last backup may still be at moving `latest`.

    Its manifest says how long it took up to there, and a copy takes no longer than that.
    """
    good = _good(contents)
    if not good or good[-1].manifest is None:
        return None
    seconds = min(2 * good[-1].manifest.durations.total_seconds, _SECONDS_MAX)
    return good[-1].time + timedelta(seconds=seconds)


def latest_faults(
    repository: Repository, contents: Contents, time: datetime | None = None
) -> Iterator[tuple[str, LitekeepError]]:
    """
    Yield each `latest` that is not as it should be, and why; one reading of each.

    Args:
        repository: Of one database.

        contents: What it holds.

        time: While a backup may be at moving it, what it was before is right too.  None
            for no such indulgence.
    """
    if repository.latest(CODECS[0]) is None:
        return
    good = _good(contents)
    until = moving_until(contents)
    is_moving = time is not None and until is not None and time < until
    expected = good[-2:] if is_moving else good[-1:]
    is_shared = len(database_names(repository)) > 1
    for codec in CODECS:
        name = repository.latest(codec)
        assert name is not None
        is_newest = bool(good) and _latest_of(good[-1]) == name
        try:
            blob = repository.store.head(name)
            if blob.size > 0 or is_newest:  # else it was emptied, where none may delete
                _check(repository, blob, contents, expected, is_shared=is_shared)
        except BlobNotFound:
            if is_newest and not is_moving and not is_shared:
                missing = f"{name} is missing; it should be {good[-1].name}"
                yield name, CorruptionError(missing, hint=_HINT)
        except (CorruptionError, *FAILURES) as error:
            yield name, error


def _good(contents: Contents, clock: Clock = now) -> list[Snapshot]:
    """Return what `latest` may be a copy of, but for what a wrong clock put into the future."""
    good = [snapshot for snapshot in contents.snapshots if snapshot.state == "ok"]
    time = clock()
    return [snapshot for snapshot in good if not is_ahead(snapshot.time, time)] or good


def _latest_of(snapshot: Snapshot) -> str | None:
    parsed = parse_object(snapshot.object, snapshot.repository.zone)
    assert parsed is not None, "the catalogue found it by its name"
    return snapshot.repository.latest(parsed.codec)


def _check(
    repository: Repository,
    blob: Blob,
    contents: Contents,
    expected: list[Snapshot],
    *,
    is_shared: bool,
) -> None:
    fetch = Fetch(repository.store, blob.name, None)
    for _ in fetch:
        pass
    sha256 = fetch.result.stored_sha256
    ours = [s for s in contents.snapshots if s.manifest and s.manifest.stored.sha256 == sha256]
    if any(snapshot in expected for snapshot in ours):
        return
    is_own = blob.metadata.get(DATABASE_KEY) == quote(repository.database)
    if (is_shared and not is_own) or not contents.snapshots:
        return
    if not ours and _is_of_a_script(sha256, blob, contents, expected):
        return
    if not ours:
        raise ChecksumMismatch(f"{blob.name} is none of the snapshots", hint=_HINT)
    found = ours[-1]
    if found.state != "ok":
        raise ChecksumMismatch(f"{blob.name} is {found.name}, which is {found.state}", hint=_HINT)
    wanted = _latest_of(expected[-1])
    newer = wanted if wanted != blob.name else expected[-1].name
    raise ChecksumMismatch(f"{blob.name} is {found.name}, and {newer} is newer", hint=_HINT)


def _is_of_a_script(sha256: str, blob: Blob, contents: Contents, expected: list[Snapshot]) -> bool:
    """Say whether it is a snapshot without a manifest, and newer than any of ours."""
    for snapshot in reversed(contents.snapshots):
        is_newer = not expected or snapshot.time > expected[-1].time
        if snapshot.manifest is None and is_newer and snapshot.stored_size == blob.size:
            found = hashlib.sha256()
            for piece in snapshot.repository.store.get(snapshot.object):
                found.update(piece)
            if found.hexdigest() == sha256:
                return True
    return False


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
