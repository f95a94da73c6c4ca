"""
From words and settings to what an engine is to do.

`sources.py` says which databases and whose backups are meant; here the settings add how.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from litekeep.clock import now
from litekeep.codec.formats import codec_named
from litekeep.config.environment import LOCAL, environment_keep
from litekeep.config.keys import keys_of
from litekeep.config.places import state_folder
from litekeep.config.settings import (
    FORMAT_DEFAULT,
    DamageSettings,
    KeepSettings,
    Settings,
    SnapshotSettings,
    merged,
)
from litekeep.config.stream import StreamSettings
from litekeep.config.values import allowed_of, value_of
from litekeep.engine.backup import BackupJob
from litekeep.engine.damage import Limits
from litekeep.engine.drill import DrillJob
from litekeep.engine.points import stream_place
from litekeep.engine.prune import Policy
from litekeep.engine.retain import Keep
from litekeep.errors import ConfigError, UserError
from litekeep.host.volumes import path_of
from litekeep.opening import given, open_all
from litekeep.repository.layout import Repository
from litekeep.sources import find_databases, find_sources, zone_of
from litekeep.sqlite.examine import Assertion
from litekeep.sqlite.live import BUSY_TIMEOUT_SECONDS
from litekeep.sqlite.tail import HELP_SIZE
from litekeep.stream.job import StreamJob
from litekeep.stream.policy import DAY, HOUR, MINUTE, StreamPolicy, Tier
from litekeep.when import parse_when


def backup_jobs(
    settings: Settings,
    database: str | None = None,
    *,
    to: Sequence[str] = (),
    how: SnapshotSettings | None = None,
    label: str | None = None,
    allow_unsafe_file_system: bool = False,
    environ: Mapping[str, str] | None = None,
) -> tuple[BackupJob, ...]:
    """
    Return what is to be backed up.

    Args:
        settings: In force.

        database: A name or a path; None means all that the configuration lists.

        to: Names or URLs of stores, in place of those configured.

        how: What wins over the settings.

        label: To be kept with the snapshots.

        allow_unsafe_file_system: Also where the settings do not.

        environ: The environment; the real one if None.

    Raises:
        UserError: There is nothing to back up, or a name cannot be resolved.
    """
    environ = os.environ if environ is None else environ
    jobs = []
    for item in find_databases(settings, database, to, environ):
        levels = (how, item.listed, settings.snapshot)
        chosen = merged(levels)
        format_name = chosen.format or FORMAT_DEFAULT
        jobs.append(
            BackupJob(
                database=item.path,
                name=item.name,
                repositories=open_all(
                    item.places, item.name, zone_of(settings), environ, is_written=True
                ),
                state=state_folder(settings, environ),
                format=format_name,
                level=_level(format_name, chosen.level),
                check=chosen.check is not False,
                label=label,
                allow_unsafe_file_system=allow_unsafe_file_system
                or (item.listed is not None and item.listed.allow_unsafe_file_system),
                spool_size_max=settings.spool_size_max,
                alarm=_alarm(settings.damage),
                busy_timeout_seconds=given(chosen.busy_timeout, BUSY_TIMEOUT_SECONDS),
            )
        )
    return tuple(jobs)


def stream_jobs(
    settings: Settings,
    databases: Sequence[str] = (),
    *,
    to: Sequence[str] = (),
    sync_interval: float | None = None,
    takes_over: bool = False,
    environ: Mapping[str, str] | None = None,
) -> tuple[StreamJob, ...]:
    """
    Return what is to be streamed.

    Args:
        settings: In force.

        databases: Names or paths; all that the configuration lists if there are none.

        to: Names or URLs of stores, in place of those configured.

        sync_interval: Seconds between two syncs at least, in place of the configured ones.

        takes_over: Whether to go on with a stream of another program's.

        environ: The environment; the real one if None.

    Raises:
        UserError: There is nothing to stream, or a name cannot be resolved.
    """
    environ = os.environ if environ is None else environ
    jobs = []
    for word in databases or (None,):
        for item in find_databases(settings, word, to, environ):
            repositories = open_all(
                item.places, item.name, zone_of(settings), environ, is_written=True
            )
            jobs.append(
                StreamJob(
                    database=path_of(item.path),
                    name=item.name,
                    places=tuple(map(stream_place, repositories)),
                    state=state_folder(settings, environ),
                    sync_seconds=given(sync_interval, settings.stream.sync_interval),
                    spool_size_max=settings.stream.spool_size_max,
                    help_size=HELP_SIZE if settings.stream.checkpoint == "help" else None,
                    policy=stream_policy(settings.stream),
                    takes_over=takes_over,
                )
            )
    return tuple(jobs)


def stream_policy(settings: StreamSettings) -> StreamPolicy:
    """Return what is merged and what stays, as configured."""
    return StreamPolicy(
        base_share=settings.base_share,
        keep=(
            Tier(0, settings.keep_syncs),
            Tier(MINUTE, settings.keep_minutely),
            Tier(HOUR, settings.keep_hourly),
            Tier(DAY, settings.keep_daily),
        ),
    )


def drill_jobs(
    settings: Settings,
    source: str | None = None,
    *,
    name: str | None = None,
    at: str = "latest",
    is_random: bool = False,
    scratch: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> tuple[tuple[str, DrillJob], ...]:
    """
    Return what is to be drilled, each with the database's name.

    Args:
        settings: In force.

        source, name, environ: As `find_sources`.

        at: Which restore point, as `--at`.

        is_random: Any one, in place of *at*.

        scratch: Where to restore.

    Raises:
        UserError: As `find_sources`, and where *at* is no moment.
    """
    when = None if is_random else parse_when(at, now(), zone_of(settings))
    jobs = []
    for found in find_sources(settings, source, name=name, environ=environ):
        assertions = tuple(
            Assertion(one.sql, one.expect)
            for one in settings.drill.assertions
            if one.database in (None, found.name)
        )
        job = DrillJob(
            repositories=found.repositories,
            when=when,
            assertions=assertions,
            has_foreign_keys=settings.drill.foreign_keys,
            fresh_within=settings.drill.fresh_within,
            scratch=scratch,
            database=found.database,
        )
        jobs.append((found.name, job))
    return tuple(jobs)


def prune_policies(
    settings: Settings,
    repositories: Sequence[Repository],
    *,
    keep: Keep | None = None,
    environ: Mapping[str, str] | None = None,
) -> tuple[Policy, ...]:
    """
    Return how long snapshots stay in each of *repositories*.

    Args:
        settings: In force.  A store's own `keep` counts before that of `[retention]`;
            without a file, the environment says it for the local folder.

        repositories: Of one database.

        keep: What wins over all of that.

        environ: The environment; the real one if None.
    """
    environ = os.environ if environ is None else environ
    policies = [_policy(settings, repository, environ) for repository in repositories]
    if keep is None:
        return tuple(policies)
    days = settings.retention.undelete_days
    return tuple(dataclasses.replace(policy, keep=keep, undelete_days=days) for policy in policies)


def keep_of(rules: Sequence[str]) -> Keep:
    """
    Return the policy that rules like ``daily=7`` make.

    >>> keep_of(["last=3", "within=2d"])
    Keep(last=3, within=172800.0, hourly=None, daily=None, weekly=None, monthly=None, yearly=None)

    Raises:
        UserError: One of them is none.
    """
    keys = dict(keys_of(KeepSettings))
    values: dict[str, Any] = {}
    for rule in rules:
        name, mark, text = rule.partition("=")
        if not mark or name not in keys:
            raise UserError(
                f"{rule!r} is no rule of retention",
                hint=f"Write it like daily=7; rules are {', '.join(keys)}.",
            )
        key = keys[name]
        found = int(text) if key.kind == "number" and text.isdecimal() else text
        try:
            values[name] = value_of(key, found, Path)
        except ValueError:
            raise UserError(
                f"{text!r} is not what {name} takes", hint=f"Allowed: {allowed_of(key)}."
            ) from None
    return Keep(**values)


def prunes_after_backup(settings: Settings, environ: Mapping[str, str] | None = None) -> bool:
    """Say whether a backup that succeeded is to prune, as the guide's script does."""
    environ = os.environ if environ is None else environ
    if settings.file is None:
        return environment_keep(environ) is not None
    return settings.retention.after_backup


def _policy(settings: Settings, repository: Repository, environ: Mapping[str, str]) -> Policy:
    retention = settings.retention
    undelete_days = retention.undelete_days
    if settings.file is None:
        keep = environment_keep(environ) if repository.place == LOCAL else None
        undelete_days = 0  # that variable is about the room on this disk
    else:
        own = (store.keep for store in settings.stores if store.name == repository.place)
        keep = next(own, None) or retention.keep
    return Policy(repository, _keep(keep), minimum=retention.minimum, undelete_days=undelete_days)


def _keep(keep: KeepSettings | None) -> Keep:
    return Keep(**dataclasses.asdict(keep)) if keep is not None else Keep()


def _alarm(damage: DamageSettings) -> Limits | None:
    if not damage.alarm:
        return None
    return Limits(damage.rows_lost, damage.size_lost, ignored=damage.ignore)


def _level(format_name: str, level: int | None) -> int | None:
    if level is None:
        return None
    codec = codec_named(format_name)
    if not codec.level_min <= level <= codec.level_max:
        raise ConfigError(
            f"{format_name} has no level {level}",
            hint=f"Choose from {codec.level_min} to {codec.level_max}, or none for the default.",
        )
    return level
