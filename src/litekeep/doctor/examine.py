"""
All the checks, in order: of the installation, of each database, of its stores, of the machine.

    a configuration that cannot be read     says so, and what does without it goes on
    a database or store that is broken      says so, and the others go on
    a check that is left out                is not made, where no other one needs what it does

Nothing is changed, but for the test object of each store (`stores.py`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from litekeep import workers
from litekeep.clock import Clock, now
from litekeep.config.places import kind_of, state_folder
from litekeep.config.settings import Settings, StoreSettings
from litekeep.doctor import bucket, installation, stores
from litekeep.doctor import database as files
from litekeep.doctor.backups import newest_proof, newest_snapshot
from litekeep.doctor.containers import build_folders, engine_findings
from litekeep.doctor.findings import Finding, fail, guarded, unmade
from litekeep.doctor.images import image_secrets
from litekeep.doctor.permissions import permissions
from litekeep.doctor.schedule import schedule
from litekeep.doctor.space import space_for_backup, space_for_restore
from litekeep.errors import LitekeepError, StoreUnavailable, UserError
from litekeep.opening import given, open_all
from litekeep.repository.layout import Repository
from litekeep.sources import Database, Source, find_databases, load_settings, zone_of
from litekeep.status import DatabaseStatus, Freshness, status_of
from litekeep.store.options import StoreOptions
from litekeep.store.unopened import url_without_secrets

#: A doctor who waits for two minutes is of no use to a monitor, which gives up before.
RETRY_SECONDS_MAX = 10.0

_STORES_AT_ONCE = 8
_FILE_CHECKS = ("file-system", "journal-mode", "wal-size", "sqlite-version", "permissions")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """
    Where the examination is made: the environment, the current folder, the clock.

    `skipped` are the names of checks that nobody wants here.
    """

    environ: Mapping[str, str]
    folder: Path
    skipped: frozenset[str] = frozenset()
    clock: Clock = now

    def made(
        self, names: Sequence[str], about: str, check: Callable[[], Iterable[Finding]]
    ) -> tuple[Finding, ...]:
        """Return what *check* finds, see `guarded`; nothing where all of *names* are skipped."""
        return () if set(names) <= self.skipped else guarded(names, about, check)

    def wanted(self, findings: Iterable[Finding]) -> tuple[Finding, ...]:
        """Return the findings of the checks that are not skipped."""
        return tuple(finding for finding in findings if finding.name not in self.skipped)


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found; `has_database` says whether there was any database to look at."""

    findings: tuple[Finding, ...]
    has_database: bool


@dataclass(frozen=True, slots=True)
class _Patient:
    """A database with its stores, and what of its file could be seen."""

    database: Database
    repositories: tuple[Repository, ...]
    seen: files.Seen | None
    trouble: tuple[Finding, ...]


def examine(names: Sequence[str], config: Path | None, around: Surroundings) -> Examination:
    """
    Make all the checks; nothing raises.

    Args:
        names: Databases; none means all that the configuration lists.

        config: Of `--config`.

        around: See there.
    """
    settings = _settings(config, around)
    if isinstance(settings, Finding):
        return Examination((settings, *around.wanted(_machine(around, ()))), has_database=True)
    databases, strangers = _databases(settings, names, around)
    findings: list[Finding] = []
    findings += around.made(
        ["configuration"], "", lambda: installation.configuration(settings, databases)
    )
    findings += around.made(["secrets"], "", lambda: installation.secrets(settings))
    findings += around.made(
        ["library"], "", lambda: installation.library(settings, databases, around.environ)
    )
    looked: set[str] = set()
    for database in databases:
        findings += _one(settings, database, around, looked)
    findings += _machine(around, databases)
    # That a name means nothing is no check, so it cannot be skipped.
    found = (*strangers, *around.wanted(findings))
    return Examination(found, has_database=bool(databases or strangers))


def _settings(config: Path | None, around: Surroundings) -> Settings | Finding:
    try:
        return load_settings(config, environ=around.environ)
    except LitekeepError as error:
        return fail("configuration", "", error)


def _databases(
    settings: Settings, names: Sequence[str], around: Surroundings
) -> tuple[tuple[Database, ...], list[Finding]]:
    """Return the databases that are meant, and what is wrong with the other names."""
    found: list[Database] = []
    strangers: list[Finding] = []
    wanted: Sequence[str | None] = names or [None]
    for name in wanted:
        try:
            found += find_databases(settings, name, (), around.environ)
        except UserError as error:
            # Where nothing is named there may be none at all: `configuration` tells that.
            if name is not None or type(error) is not UserError:
                strangers.append(fail("database", name or "", error))
        except LitekeepError as error:
            strangers.append(fail("database", name or "", error))
    return tuple(found), strangers


def _one(
    settings: Settings, database: Database, around: Surroundings, looked: set[str]
) -> Iterator[Finding]:
    """Check a database and its stores; *looked* are the stores whose bucket was checked."""
    patient = _patient(settings, database, around)
    about, seen = database.name, patient.seen
    real = seen.path if seen else None
    yield from around.made(
        ["docker"], about, lambda: engine_findings(database, real, around.environ)
    )
    yield from patient.trouble
    if seen is not None:
        checks: dict[str, Callable[[], Iterator[Finding]]] = {
            "database": lambda: files.is_that_file(database, seen),
            "file-system": lambda: files.file_system(database, seen),
            "journal-mode": lambda: files.journal_mode(database, seen),
            "wal-size": lambda: files.wal_size(database, seen),
            "sqlite-version": lambda: files.sqlite_version(database, seen),
            "permissions": lambda: permissions(about, seen),
        }
        for name, check in checks.items():
            yield from around.made([name], about, check)
    yield from _stores(settings, patient, around, looked)
    yield from _backups(settings, patient, around)


def _patient(settings: Settings, database: Database, around: Surroundings) -> _Patient:
    places = [dataclasses.replace(each, store=_impatient(each.store)) for each in database.places]
    trouble: list[Finding] = []
    repositories: tuple[Repository, ...] = ()
    try:
        repositories = open_all(
            places, database.name, zone_of(settings), around.environ, is_written=True
        )
    except LitekeepError as error:
        trouble.append(fail("store", database.name, error))
        trouble += unmade(stores.NAMES[1:], database.name, "store")
    seen: list[files.Seen] = []

    def look() -> Iterator[Finding]:
        seen.append(files.look_at(database, around.environ))
        return iter(())

    trouble += guarded(["database", *_FILE_CHECKS], database.name, look)
    return _Patient(database, repositories, seen[0] if seen else None, tuple(trouble))


def _impatient(store: StoreSettings) -> StoreSettings:
    patience = given(store.retry, StoreOptions().retry_seconds)
    return dataclasses.replace(store, retry=min(patience, RETRY_SECONDS_MAX))


def _stores(
    settings: Settings, patient: _Patient, around: Surroundings, looked: set[str]
) -> Iterator[Finding]:
    by_name = {each.store.name: each.store for each in patient.database.places}
    default = settings.retention.keep

    def look(repository: Repository) -> tuple[Finding, ...]:
        about, store = _about(patient, repository), by_name[repository.place]
        is_pruned = (store.keep or default) is not None
        return around.made(
            stores.NAMES,
            about,
            lambda: stores.store_findings(
                repository, about, is_pruned=is_pruned, clock=around.clock
            ),
        )

    looks = workers.ordered(look, patient.repositories, threads=_STORES_AT_ONCE)
    for repository, found in zip(patient.repositories, looks, strict=True):
        yield from found
        store = by_name[repository.place]
        if kind_of(store.url) == "s3" and store.url not in looked:
            looked.add(store.url)
            yield from _bucket(store, repository, found, around)


def _bucket(
    store: StoreSettings,
    repository: Repository,
    found: Sequence[Finding],
    around: Surroundings,
) -> Iterator[Finding]:
    """Check the bucket, once for all databases that share it; *found* is of the store."""
    # obstore costs 30 ms to import: only who uses it pays.
    from litekeep.store.objects import ObjectsStore
    from litekeep.store.retry import RetryStore

    inner = repository.store.inner if isinstance(repository.store, RetryStore) else None
    about = url_without_secrets(store.url)
    names = [name for name in bucket.NAMES if name not in around.skipped]
    is_away = any(each.code == StoreUnavailable.exit_code for each in found)
    if is_away or not isinstance(inner, ObjectsStore):
        yield from unmade(names, about, "store")
        return
    asked = inner.bucket
    yield from around.made(
        names,
        about,
        lambda: bucket.bucket_findings(
            store, asked.name, asked.access(), names=names, about=about, clock=around.clock
        ),
    )


def _about(patient: _Patient, repository: Repository) -> str:
    return f"{patient.database.name} in {repository.store.url}"


def _backups(settings: Settings, patient: _Patient, around: Surroundings) -> Iterator[Finding]:
    about, seen = patient.database.name, patient.seen
    if not patient.repositories:
        names = ("space-backup", "snapshot", "proof")
        yield from unmade(names, about, "store")
        return
    statuses: list[DatabaseStatus] = []

    def snapshot() -> Iterator[Finding]:
        limits = Freshness(settings.status.snapshot_within, None)
        source = Source(about, patient.database.path, patient.repositories)
        statuses.append(status_of(source, limits, clock=around.clock))
        return newest_snapshot(statuses[0], around.clock())

    found = guarded(["snapshot"], about, snapshot)
    last = statuses[0].last_snapshot if statuses else None
    if seen is not None:
        state = state_folder(settings, around.environ)
        last_size = last.copies[0].stored_size if last else None
        yield from around.made(
            ["space-backup"],
            about,
            lambda: space_for_backup(about, seen, patient.repositories, state, last_size),
        )
        yield from around.made(["space-restore"], about, lambda: space_for_restore(about, seen))
    else:
        yield from unmade(("space-backup", "space-restore"), about, "database")
    yield from found
    if statuses:
        within = settings.status.proof_within
        yield from around.made(
            ["proof"], about, lambda: newest_proof(statuses[0], within, around.clock())
        )


def _machine(around: Surroundings, databases: Sequence[Database]) -> Iterator[Finding]:
    yield from around.made(["schedule"], "", schedule)
    folders = [around.folder]

    def find() -> Iterator[Finding]:
        for database in databases:
            folders.extend(build_folders(database, around.environ))
        return iter(())

    yield from around.made(["image-secrets"], "", find)
    for folder in dict.fromkeys(folders):
        yield from around.made(["image-secrets"], "", partial(image_secrets, folder))
