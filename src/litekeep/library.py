"""
The library under the command line: `litekeep.backup()` and its sisters.

Each function resolves its words as the command of the same name does (`sources.py`)
and raises the errors of `litekeep.errors`.  Nothing is configured unless *config*
names a file: a library looks neither for one nor at the variables of the guide's
script.  `LITEKEEP_STATE` and what the stores read (`AWS_*` and so on) do count.

A process that has the database open itself must not call these on it: two SQLite
libraries in one process drop each other's locks.  That is noticed, and refused.

>>> import litekeep, tempfile, apsw, pathlib
>>> folder = pathlib.Path(tempfile.mkdtemp())
>>> connection = apsw.Connection(str(folder / "app.db"))
>>> _ = connection.execute("CREATE TABLE t(a); INSERT INTO t VALUES (1), (2)")
>>> connection.close()
>>> result = litekeep.backup(folder / "app.db", state_dir=folder / "state")
>>> result.integrity
'ok'
>>> [point.name for point in litekeep.restore_points(folder / "app.db").points] == [result.name]
True
>>> litekeep.restore(folder / "app.db", folder / "copy.db").is_proved
True
>>> litekeep.verify(folder / "app.db", state_dir=folder / "state").damaged
()
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace as changed
from pathlib import Path

from litekeep.clock import now
from litekeep.config.environment import VARIABLES
from litekeep.config.places import state_folder
from litekeep.config.settings import Settings, SnapshotSettings
from litekeep.dockername import address_of
from litekeep.engine import events
from litekeep.engine.backup import BackupResult
from litekeep.engine.backup import backup as run_backup
from litekeep.engine.plan import RestorePlan, plan_restore, plan_restore_file
from litekeep.engine.points import Points, read_points
from litekeep.engine.restore import RestoreResult
from litekeep.engine.restore import restore as run_restore
from litekeep.engine.verify import VerifyResult
from litekeep.engine.verify import verify as run_verify
from litekeep.errors import UserError
from litekeep.host.service import find_services
from litekeep.jobs import backup_jobs
from litekeep.sources import (
    find_source,
    load_settings,
    single_file,
    zone_of,
)
from litekeep.when import parse_when

Database = str | os.PathLike[str]


def backup(
    database: Database,
    *,
    to: Sequence[str] = (),
    format: str | None = None,
    level: int | None = None,
    check: bool | None = None,
    label: str | None = None,
    config: Path | None = None,
    state_dir: Path | None = None,
    report: events.Report = events.ignore,
) -> BackupResult:
    """
    Make one snapshot of *database* in every store.

    Args:
        database: A path, a name that *config* lists, or a database in Docker:
            ``"docker:VOLUME/FILE"``, ``"docker:CONTAINER:/path/in/it"``.

        to: URLs or folders of stores; by default the folder beside the database.

        format: ``"gzip"`` (default), ``"zstd"`` or ``"none"``.

        level: Of the format; each has a fast default.

        check: Run SQLite's quick_check on the copied bytes; True by default.

        label: Kept with the snapshot, for people.

        config: A configuration file.

        state_dir: The folder for local state.

        report: Hears how it goes; see `litekeep.engine.events`.

    Raises:
        LitekeepError: The snapshot could not be made, its check failed, or a store
            did not take it.  Where part of it stands, the error's `result` is the
            `BackupResult` that says which.
    """
    how = SnapshotSettings(format=format, level=level, check=check)
    settings = _settings(config, state_dir)
    (job,) = backup_jobs(
        settings, os.fspath(database), to=to, how=how, label=label, environ=_environ()
    )
    result = run_backup(job, report)
    if result.failure is not None:
        error = result.failure
        error.result = result
        raise error
    return result


def restore_points(
    source: Database, *, database: str | None = None, config: Path | None = None
) -> Points:
    """
    Return what can be restored, what else lies there, and which stores did not answer.

    Args:
        source: A database's path or name, or a store's URL or folder.

        database: Which one, where a store holds several.

        config: A configuration file.

    Raises:
        StoreError: No store answered.
    """
    found = find_source(
        _settings(config, None), os.fspath(source), name=database, environ=_environ()
    )
    return read_points(found.repositories)


def plan(
    source: Database,
    output: Database | None = None,
    *,
    at: str = "latest",
    replace: bool = False,
    undo: bool = True,
    assume_stopped: bool = False,
    stop: Sequence[str] = (),
    database: str | None = None,
    config: Path | None = None,
) -> RestorePlan:
    """
    Decide what `restore` with these arguments would do, and change nothing.

    Raises:
        LitekeepError: As `restore`.
    """
    settings = _settings(config, None)
    return plan_of(
        settings,
        os.fspath(source),
        Path(output) if output is not None else None,
        at=at,
        replace=replace,
        undo=undo,
        assume_stopped=assume_stopped,
        stop=stop,
        database=database,
        environ=_environ(),
    )


def plan_of(
    settings: Settings,
    source: str | None,
    output: Path | None,
    *,
    at: str,
    replace: bool,
    undo: bool,
    assume_stopped: bool,
    database: str | None,
    stop: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
) -> RestorePlan:
    """
    Decide what to restore under *settings*; the command line's way in.

    Raises:
        UserError: There is no target, or a single file and a moment were named, or the
            point is of another file than the one whose place it would take.
    """
    file = None
    if source is not None:
        file = single_file(settings, source, has_output=output is not None, environ=environ)
    if file is not None:
        if at != "latest" or output is None:
            raise UserError(
                f"{file} is a single file",
                hint="Give --output for the database, and no --at.",
            )
        return plan_restore_file(
            file,
            address_of(output),
            replace=replace,
            keep_undo=undo,
            assume_stopped=assume_stopped,
            services=find_services(stop),
        )
    when = parse_when(at, now(), zone_of(settings))
    found = find_source(settings, source, name=database, environ=environ)
    target = address_of(output) if output is not None else found.database
    if target is None:
        raise UserError(
            "a store does not say where the database belongs",
            hint="Give the path with --output.",
        )
    return plan_restore(
        found.repositories,
        target,
        when=when,
        replace=replace,
        keep_undo=undo,
        assume_stopped=assume_stopped,
        database=found.database,
        is_own_place=output is None,
        services=find_services(stop),
    )


def restore(
    source: Database,
    output: Database | None = None,
    *,
    at: str = "latest",
    replace: bool = False,
    undo: bool = True,
    assume_stopped: bool = False,
    stop: Sequence[str] = (),
    database: str | None = None,
    config: Path | None = None,
    report: events.Report = events.ignore,
) -> RestoreResult:
    """
    Go back to a restore point.

    Args:
        source: A database's path or name, a store's URL or folder, or a single
            compressed file.

        output: Where to put it; by default the database itself.

        at: As `--at`: a time, ``"2h ago"``, a snapshot's name, ``"latest"``.

        replace: Put it in the place of a file that is there.

        undo: Keep the old file as an undo copy.

        assume_stopped: Vouch that nobody has the target open, where that is not seen.

        stop: Compose services, containers or units of systemd that are stopped while the
            file is replaced, and started again whatever happens.

        database: Which one, where a store holds several.

        config: A configuration file.

        report: Hears how it goes.

    Raises:
        NotFound: No restore point meets *at*; the nearest are named.

        TargetExists: The target is there, and *replace* is not given.

        DatabaseBusy: Somebody has the target open.

        CorruptionError, StoreError: No copy could be read and proved.  What *at* names,
            and a single file, need not pass SQLite's check: then it is not proved.

        StateError, IntegrityFailed: The file is in its place, and a service could not be
            started again, or SQLite's check fails there; the error's `result` is the
            `RestoreResult`.
    """
    planned = plan(
        source,
        output,
        at=at,
        replace=replace,
        undo=undo,
        assume_stopped=assume_stopped,
        stop=stop,
        database=database,
        config=config,
    )
    result = run_restore(planned, report)
    if result.failure is not None:
        error = result.failure
        error.result = result
        raise error
    return result


def verify(
    source: Database,
    *,
    sample: float = 1.0,
    database: str | None = None,
    config: Path | None = None,
    state_dir: Path | None = None,
    report: events.Report = events.ignore,
) -> VerifyResult:
    """
    Read stored bytes and compare them with their manifests and checksums.

    Args:
        source: A database's path or name, or a store's URL or folder.

        sample: The share of the snapshots to read, those read longest ago first.

        database: Which one, where a store holds several.

        config: A configuration file.

        state_dir: The folder for local state, where the times of readings are kept.

        report: Hears how it goes.

    Returns:
        What was read, and each damaged object or unreachable store; neither raises.
    """
    settings = _settings(config, state_dir)
    found = find_source(settings, os.fspath(source), name=database, environ=_environ())
    return run_verify(
        found.repositories, state=state_folder(settings, os.environ), share=sample, report=report
    )


def _environ() -> dict[str, str]:
    """
    Return the environment that counts for a library.

    The variables of the guide's script do not: an application that has an `S3_BUCKET`
    of its own must not find its database there.
    """
    return {key: value for key, value in os.environ.items() if key not in VARIABLES}


def _settings(config: Path | None, state_dir: Path | None) -> Settings:
    settings = load_settings(config) if config is not None else Settings()
    return settings if state_dir is None else changed(settings, state_dir=state_dir)
