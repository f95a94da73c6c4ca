"""
`litekeep backup`: one snapshot of each database now, to every configured store.
"""

from __future__ import annotations

from typing import Any

import click

from litekeep.cli import output
from litekeep.cli.events import Shown, listener
from litekeep.cli.options import Options, common_options, complete_files, dry_run_option
from litekeep.cli.telling import Run, told
from litekeep.config.settings import FORMATS, Settings, SnapshotSettings
from litekeep.engine import events
from litekeep.engine.backup import BackupJob, BackupResult, backup
from litekeep.engine.prune import Policy, plan_prune, prune
from litekeep.errors import LitekeepError
from litekeep.jobs import backup_jobs, prune_policies, prunes_after_backup
from litekeep.sources import load_settings
from litekeep.units import show_duration, show_size


@click.command(short_help="Make one snapshot now, in every configured store.")
@click.argument("database", required=False, shell_complete=complete_files)
@click.option(
    "--to",
    multiple=True,
    metavar="STORE",
    shell_complete=complete_files,
    help="URL, folder or configured name of a store, in place of those configured; repeatable.",
)
@click.option("--format", "format_name", type=click.Choice(FORMATS), help="gzip if not set.")
@click.option("--level", type=int, help="How hard to compress: gzip 0 to 3, zstd 1 to 19.")
@click.option("--no-check", is_flag=True, help="Do without SQLite's check of the copied bytes.")
@click.option("--label", metavar="TEXT", help="A word of yours that list shows.")
@click.option(
    "--allow-unsafe-file-system",
    is_flag=True,
    help="Read it although it lies where SQLite's locks may not work.",
)
@dry_run_option
@common_options
def command(
    database: str | None,
    to: tuple[str, ...],
    format_name: str | None,
    level: int | None,
    no_check: bool,
    label: str | None,
    allow_unsafe_file_system: bool,
    is_dry_run: bool,
    options: Options,
) -> int:
    """
    Make one snapshot now, in every configured store.

    DATABASE is a path, a name of the configuration, docker:VOLUME/FILE or
    docker:CONTAINER:/PATH; without it, all databases of the
    configuration are backed up. With no configuration the snapshot goes to the folder
    DATABASE-backups beside the database.
    """
    settings = load_settings(options.config)
    how = SnapshotSettings(format=format_name, level=level, check=False if no_check else None)
    # It is said at an engine's first event that a run has begun: before, another may be at work.
    with told("backup", settings, is_on=not is_dry_run, is_started=False) as run:
        jobs = backup_jobs(
            settings,
            database,
            to=to,
            how=how,
            label=label,
            allow_unsafe_file_system=allow_unsafe_file_system,
        )
        if is_dry_run:
            return _show_plan(jobs, options)
        return _run_all(jobs, settings, options, run)


def _run_all(jobs: tuple[BackupJob, ...], settings: Settings, options: Options, run: Run) -> int:
    """Back up each database and show it; return the exit code."""
    results: list[dict[str, Any]] = []
    failures: list[LitekeepError] = []
    prunes = prunes_after_backup(settings)

    def policies_of(job: BackupJob) -> tuple[Policy, ...]:
        policies = prune_policies(settings, job.repositories) if prunes else ()
        return tuple(policy for policy in policies if not policy.keep.is_empty)

    for job in jobs:
        try:
            if len(jobs) > 1 and not options.is_json and not options.is_quiet:
                output.line(f"{job.name}: {job.database}")
            about = job.name if len(jobs) > 1 else ""
            results.append(_run(job, options, failures, policies_of(job), run, about=about))
        except LitekeepError as error:
            run.ended(job.name, error)
            # One database that fails does not keep the others from their backup.
            if len(jobs) == 1:
                raise
            failures.append(error)
            if not options.is_json:
                output.show_error(error, is_json=False, about=job.name)
            results.append({"database": str(job.database), "error": output.error_fields(error)})
    if options.is_json:
        output.json_object(results[0] if len(jobs) == 1 else {"backups": results})
    return output.exit_code(failures)


def _run(
    job: BackupJob,
    options: Options,
    failures: list[LitekeepError],
    policies: tuple[Policy, ...],
    run: Run,
    *,
    about: str,
) -> dict[str, Any]:
    """Make one backup and show it, and prune where it succeeded; return its JSON."""
    with listener(options, prefix="sqlite-backup", about=about) as shown:
        result = backup(job, run.hears(shown.hear))
        if result.failure is None:
            _prune(policies, shown)
            shown.end(_summary(result), "Backup completed successfully")
    run.ended(job.name, result.failure)
    if result.failure is not None:
        failures.append(result.failure)
        if not options.is_json:
            output.show_error(result.failure, is_json=False, about=about)
    return as_json(result)


def _prune(policies: tuple[Policy, ...], shown: Shown) -> None:
    """Prune; what fails is said and tried again after the next backup: this one stands."""
    for policy in policies:
        try:
            result = prune(plan_prune(policy), shown.hear)
            error: LitekeepError | None = result.error
        except LitekeepError as failed:
            error = failed
        if error is not None:
            shown.hear(events.Warned(f"nothing was pruned: {error.message}", error.hint))


def as_json(result: BackupResult) -> dict[str, Any]:
    """Return the result in its contract's shape."""
    return {
        "database": result.database,
        "time": output.iso(result.time),
        "name": result.name,
        "integrity": result.integrity,
        "size_bytes": result.size,
        "stored_size_bytes": result.stored_size,
        "sha256": result.sha256,
        "database_checksum": f"{result.database_checksum:016x}",
        "seconds": round(result.seconds, 3),
        "held_seconds": round(result.held_seconds, 3),
        "format": result.format,
        "stores": [
            {
                "url": outcome.url,
                "object": outcome.object,
                "ok": outcome.error is None,
                "error": output.error_fields(outcome.error) if outcome.error else None,
            }
            for outcome in result.stores
        ],
    }


def _summary(result: BackupResult) -> str:
    share = f", {result.stored_size / result.size:.0%}" if result.size else ""
    return (
        f"{result.name}: {show_size(result.size)} kept in {show_size(result.stored_size)}"
        f" ({result.format}{share}) in {show_duration(result.seconds)},"
        f" integrity {result.integrity}"
    )


def _show_plan(jobs: tuple[BackupJob, ...], options: Options) -> int:
    """Show what would be done; return the code of the first store that cannot be opened."""
    unopened = [store for job in jobs for store in job.unopened]
    code = unopened[0].error.exit_code if unopened else 0
    if options.is_json:
        plan = [
            {
                "database": str(job.database),
                "name": job.name,
                "format": job.format,
                "stores": [repository.store.url for repository in job.repositories],
                "unopened": [
                    {"store": store.url, "error": output.error_fields(store.error)}
                    for store in job.unopened
                ],
            }
            for job in jobs
        ]
        output.json_object({"plan": plan})
        return code
    for job in jobs:
        output.result(f"would back up {job.database} as {job.name}, {job.format}, to")
        for repository in job.repositories:
            output.result(f"  {repository.store.url}")
        for store in job.unopened:
            about = f"{job.name}: {store.url}" if len(jobs) > 1 else store.url
            output.show_error(store.error, is_json=False, about=about)
    return code
