"""
One job at a time, and what a killed run had begun.

    <state>/<name>-<hash of the path>.lock     flock of the run at work
    <state>/<name>-<hash of the path>.json     what it has begun, while it has
    <state>/<name>-<hash>.<kind>.lock          flock of a run of another kind: verify, ...

The record is written before anything is put into a store, and removed when all of
it stands or all of it is withdrawn.  A run that finds one withdraws what it names,
so that no half snapshot stays behind.  A snapshot whose manifest stands stays.  What
cannot be withdrawn, because its store is away or this run does not go to it, stays in
the record, for a later run.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from litekeep import faults
from litekeep.dockername import Address
from litekeep.engine import events
from litekeep.engine.staging import NO_ROOM, write_failed
from litekeep.errors import (
    AccessDenied,
    AlreadyRunning,
    BlobNotFound,
    CorruptionError,
    StoreError,
)
from litekeep.repository.layout import Repository, manifest_of
from litekeep.repository.manifest import ID_KEY
from litekeep.store.base import FAILURES, Store
from litekeep.store.files import fsync_folder, make_folders
from litekeep.store.temporary import temporary_file

LEFT_COUNT_MAX = 100


@dataclass(frozen=True, slots=True)
class Begun:
    """A snapshot under way: its id, and where its data goes, by the store's address."""

    id: str
    objects: dict[str, str]


class Job:
    """The right to back up one database, and the record of what was begun."""

    def __init__(self, record: Path) -> None:
        self._record = record
        self._left: tuple[Begun, ...] = ()

    def begin(self, begun: Begun) -> None:
        """
        Record what is about to be put into stores.

        Raises:
            StoreError: The folder for local state cannot be written to, or is full.
        """
        self._write((*self._left, begun))

    def end(self) -> None:
        """Say that nothing half done is left of this run."""
        self.leave(self._left)

    def leave(self, left: Sequence[Begun]) -> None:
        """Say that of all runs but this one only *left* is half done."""
        self._left = tuple(left[-LEFT_COUNT_MAX:])
        if self._left:
            self._write(self._left)
        elif self._record.exists():
            with _translated(self._record):
                faults.reach("unlink record")
                self._record.unlink()

    def interrupted(self) -> tuple[Begun, ...]:
        """Return what killed runs had begun, oldest first."""
        with _translated(self._record):
            try:
                found = json.loads(self._record.read_bytes())
                return tuple(
                    Begun(str(item["id"]), {str(k): str(v) for k, v in item["objects"].items()})
                    for item in found["begun"]
                )
            except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
                return ()

    def _write(self, begun: Sequence[Begun]) -> None:
        folder = self._record.parent
        document = {"begun": [asdict(item) for item in begun]}
        with _translated(self._record), temporary_file(folder) as (path, file):
            faults.reach("write record")
            file.write(json.dumps(document).encode())
            faults.reach("fsync record")
            os.fsync(file.fileno())
            faults.reach("rename record")
            path.replace(self._record)
            # It must outlive a power failure as surely as what it names.
            fsync_folder(folder)


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise write_failed(error, path) from error


def key_of(name: str, database: str) -> str:
    """Return what the files of a database in the folder for local state are called by."""
    digest = hashlib.sha256(database.encode("utf-8", "surrogateescape")).hexdigest()
    return f"{name}-{digest[:12]}"


@contextlib.contextmanager
def exclusive_job(state: Path, name: str, database: str) -> Iterator[Job]:
    """
    Hold the job of one database.

    Args:
        state: The folder for local state; it is made if it is not there.

        name: The database's name, for people who look into the folder.

        database: Its real path, which is what makes two jobs the same.

    Raises:
        AlreadyRunning: Another process holds it.
    """
    key = key_of(name, database)
    descriptor = _locked(state, f"{key}.lock", f"backup of {database}")
    try:
        yield Job(state / f"{key}.json")
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def one_at_a_time(state: Path, kind: str, name: str, database: Address | None) -> Iterator[None]:
    """
    Let no two runs of a kind be at work on one database.

    It spares them each other's work, no more: two at once harm nothing.  So it is let be
    where the database is not of this machine, or the folder for local state cannot be used.

    Args:
        state: The folder for local state; it is made if it is not there.

        kind: The command.

        name: The database's.

        database: The live file.

    Raises:
        AlreadyRunning: Another process is at it.
    """
    if database is None:
        yield
        return
    real = os.path.realpath(database) if isinstance(database, Path) else str(database)
    try:
        descriptor = _locked(state, f"{key_of(name, real)}.{kind}.lock", f"{kind} of {real}")
    except StoreError:
        yield
        return
    try:
        yield
    finally:
        os.close(descriptor)


def _locked(state: Path, file_name: str, what: str) -> int:
    """Return the descriptor of a locked file in *state*."""
    try:
        make_folders(state)
        descriptor = os.open(state / file_name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise write_failed(error, state / "a lock") from error
        raise _unusable(state, str(error.strerror)) from error
    except StoreError as error:
        raise _unusable(state, error.message) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise AlreadyRunning(
            f"another {what} is running",
            hint="Wait for it to end; a schedule may ignore exit code 75.",
        ) from error
    except OSError as error:  # no locks there: some network file systems
        os.close(descriptor)
        raise _unusable(state, str(error.strerror)) from error
    return descriptor


def _unusable(state: Path, reason: str) -> AccessDenied:
    return AccessDenied(
        f"cannot use the state folder {state}: {reason}",
        hint="Set state_dir (or $LITEKEEP_STATE) to a folder that this user may write to.",
    )


def withdraw(repository: Repository, data_object: str, snapshot_id: str) -> bool:
    """
    Take back the data of a snapshot that has no manifest.

    Returns:
        Whether anything was there to take back.

    Raises:
        StoreError: The store does not answer.
    """
    store = repository.store
    try:
        if store.head(data_object).metadata.get(ID_KEY) != snapshot_id:
            return False
    except BlobNotFound:
        return False
    with contextlib.suppress(BlobNotFound):
        store.head(manifest_of(data_object))
        return False
    remove_or_empty(store, data_object)
    return True


def remove_or_empty(store: Store, name: str) -> None:
    """Remove a blob; where deleting is not allowed it is emptied, and stays marked as ours."""
    try:
        store.delete(name)
    except AccessDenied:
        store.put(name, b"", metadata=store.head(name).metadata)  # no bytes are no snapshot


def clean_up(job: Job, repositories: tuple[Repository, ...]) -> list[events.Warned]:
    """
    Remove what killed runs left in the stores.

    Temporary files are looked for in every folder.  A bucket is asked only where a
    run was killed: for its object and for its open uploads.

    Returns:
        What a person is told of each thing that was removed, or could not be.
    """
    begun = job.interrupted()
    told: list[events.Warned] = []
    settled: set[tuple[str, str]] = set()
    for repository in repositories:
        store = repository.store
        objects = [
            (item.id, item.objects[store.address])
            for item in begun
            if store.address in item.objects
        ]
        if store.staging is None and not objects:
            continue
        withdrawn = _withdraw_all(repository, objects, told)
        if withdrawn is None:
            continue  # it did not answer
        if _clean(repository, [data_object for _, data_object in objects], told):
            settled |= {(snapshot_id, store.address) for snapshot_id in withdrawn}
    left = []
    for item in begun:
        objects_left = {u: o for u, o in item.objects.items() if (item.id, u) not in settled}
        if objects_left:
            left.append(Begun(item.id, objects_left))
    job.leave(left)
    return told


def _withdraw_all(
    repository: Repository, objects: Sequence[tuple[str, str]], told: list[events.Warned]
) -> list[str] | None:
    """
    Withdraw *objects*, each for itself.

    Returns:
        The ids of which nothing is left, or None if the store did not answer.
    """
    withdrawn = []
    url = repository.store.url
    for snapshot_id, data_object in objects:
        try:
            if withdraw(repository, data_object, snapshot_id):
                told.append(
                    events.Warned(f"withdrew {data_object} from {url}, left by a killed run")
                )
        except (CorruptionError, *FAILURES) as error:  # the former: a blob's metadata
            message = f"could not withdraw {data_object} from {url}: {error.message}"
            told.append(events.Warned(message, error.hint))
            if error.retryable:
                return None
        else:
            withdrawn.append(snapshot_id)
    return withdrawn


def _clean(repository: Repository, unfinished: Sequence[str], told: list[events.Warned]) -> bool:
    """
    Let the store remove what killed runs left.

    Returns:
        False if it is worth another try.  What the store refuses is told once: it
        will refuse it the next time too.
    """
    store = repository.store
    try:
        told += [events.Warned(line) for line in store.clean(unfinished)]
    except (CorruptionError, *FAILURES) as error:
        message = f"could not clean up in {store.url}: {error.message}"
        told.append(events.Warned(message, error.hint))
        return not error.retryable
    return True
