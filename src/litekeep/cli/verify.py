"""
`litekeep verify`: stored bytes compared with their manifests and checksums.
"""

from __future__ import annotations

import os
from typing import Any

import click

from litekeep.cli import output
from litekeep.cli.events import Shown, listener
from litekeep.cli.options import (
    Options,
    common_options,
    database_option,
    source_argument,
)
from litekeep.cli.points import lack_fields
from litekeep.cli.telling import Run, told
from litekeep.config.places import state_folder
from litekeep.config.settings import Settings
from litekeep.engine.job import one_at_a_time
from litekeep.engine.verify import VerifyResult, verify
from litekeep.errors import AlreadyRunning, LitekeepError
from litekeep.sources import Source, find_sources, load_settings
from litekeep.units import parse_share, show_size


@click.command(short_help="Compare stored bytes with their manifests and checksums.")
@source_argument
@click.option(
    "--sample",
    metavar="SHARE",
    default="100%",
    help="Read this share, e.g. 10%, of the snapshots and files: those not read for longest.",
)
@database_option
@common_options
def command(source: str | None, sample: str, database: str | None, options: Options) -> int:
    """
    Compare stored bytes with their manifests and checksums.

    SOURCE is a database (a path, or a name of the configuration), or a store (a folder or
    a URL). Without it, all databases of the configuration are verified.
    """
    settings = load_settings(options.config)
    share = parse_share(sample)
    with told("verify", settings, is_started=False) as run:
        sources = find_sources(settings, source, name=database)
        return _run_all(sources, settings, share, options, run)


def _run_all(
    sources: tuple[Source, ...], settings: Settings, share: float, options: Options, run: Run
) -> int:
    """Verify each database's backups and show it; return the exit code."""
    state = state_folder(settings, os.environ)
    objects: list[dict[str, Any]] = []
    failures: list[LitekeepError] = []
    for item in sources:
        about = item.name if len(sources) > 1 else ""
        try:
            with (
                one_at_a_time(state, "verify", item.name, item.database),
                listener(options, prefix="sqlite-verify", about=about) as shown,
            ):
                run.start()
                if about:
                    shown.say(f"{about}:")
                result = verify(item.repositories, state=state, share=share, report=shown.hear)
                _show(result, shown)
        except AlreadyRunning as error:
            if not about:
                raise
            run.ended(item.name, error)
            failures.append(error)
            objects.append({"database": item.name, "error": output.error_fields(error)})
            if not options.is_json:
                output.show_error(error, is_json=False, about=about)
            continue
        run.ended(item.name, result.failure)
        objects.append(as_json(result, item.name))
        if result.failure is not None:
            failures.append(result.failure)
            if not options.is_json:
                output.show_error(result.failure, is_json=False, about=about)
    if options.is_json:
        output.json_object(objects[0] if len(objects) == 1 else {"databases": objects})
    return output.exit_code(failures)


def as_json(result: VerifyResult, database: str) -> dict[str, Any]:
    """Return a result in its contract's shape."""
    return {
        "database": database,
        "checked": result.checked,
        "bytes": result.bytes,
        "ok": result.failure is None,
        "unproven": [one.name for one in result.unproven],
        "damaged": [
            {
                "store": damage.store,
                "object": damage.object,
                "code": damage.error.exit_code,
                "message": damage.error.message,
            }
            for damage in result.damaged
        ],
        "lacking": [lack_fields(lack) for lack in result.lacks],
        "stream_files": result.stream_file_count,
    }


def _show(result: VerifyResult, shown: Shown) -> None:
    for one in result.unproven:
        shown.say(f"Unproven: {one.name}: {one.reason}")
    for damage in result.damaged:
        if damage.object:
            place = f"{damage.store.rstrip('/')}/{damage.object}"
            shown.say(f"Damaged: {place}: {damage.error.message}")
        else:
            shown.say(f"Not verified: {damage.store}: {damage.error.message}")
    for lack in result.lacks:
        shown.say(f"Lacking: {lack.message}")
    if not result.checked and not result.damaged:
        return  # the error says that there was nothing to read
    checked = f"Read {_counted(result)}, {show_size(result.bytes)} as stored"
    if result.failure is not None:
        shown.say(f"{checked}: NOT all as it should be")
    else:
        shown.end(f"{checked}: all as it should be", f"{checked}: ok")


def _counted(result: VerifyResult) -> str:
    """
    Return what was read.

    >>> _counted(VerifyResult(3, 0, (), (), stream_file_count=2))
    '1 snapshot and 2 files of the stream'
    """
    files = result.stream_file_count
    snapshots = result.checked - files
    parts = [f"{snapshots} snapshot{'s' * (snapshots != 1)}"] if snapshots or not files else []
    parts += [f"{files} file{'s' * (files != 1)} of the stream"] if files else []
    return " and ".join(parts)
