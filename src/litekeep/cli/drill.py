"""
`litekeep drill`: a restore into scratch, everything checked, a proof recorded.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from litekeep.cli import output
from litekeep.cli.events import Shown, listener
from litekeep.cli.options import Options, at_option, common_options, database_option
from litekeep.cli.points import point_fields
from litekeep.cli.telling import Run, told
from litekeep.config.places import state_folder
from litekeep.engine.drill import DrillJob, DrillResult, drill, drill_stream
from litekeep.engine.job import one_at_a_time
from litekeep.errors import LitekeepError, UserError
from litekeep.jobs import drill_jobs
from litekeep.sources import load_settings
from litekeep.units import show_duration
from litekeep.when import Latest


@click.command(short_help="Restore into scratch, check everything, record a proof.")
@click.argument("source", required=False)
@at_option
@click.option("--random", "is_random", is_flag=True, help="Any restore point that is fit.")
@click.option(
    "--scratch",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    metavar="FOLDER",
    help="Where to restore; the system's temporary folder if not set.",
)
@database_option
@common_options
def command(
    source: str | None,
    at: str | None,
    is_random: bool,
    scratch: Path | None,
    database: str | None,
    options: Options,
) -> int:
    """
    Restore into scratch, check everything, record a proof.

    SOURCE is a database (a path, or a name of the configuration), or a store (a folder or
    a URL). Without it, all databases of the configuration are drilled.
    """
    if is_random and at is not None:
        raise UserError("--at and --random contradict each other", hint="Give one of them.")
    settings = load_settings(options.config)
    with told("drill", settings, is_started=False) as run:
        jobs = drill_jobs(
            settings,
            source,
            name=database,
            at="latest" if at is None else at,
            is_random=is_random,
            scratch=scratch,
        )
        return _run_all(jobs, state_folder(settings, os.environ), options, run)


def _run_all(
    jobs: tuple[tuple[str, DrillJob], ...], state: Path, options: Options, run: Run
) -> int:
    """Drill each database and show it; return the exit code."""
    objects: list[dict[str, Any]] = []
    failures: list[LitekeepError] = []
    for name, job in jobs:
        try:
            with (
                one_at_a_time(state, "drill", name, job.database),
                listener(options, prefix="sqlite-drill") as shown,
            ):
                run.start()
                if len(jobs) > 1:
                    shown.say(f"{name}:")
                result = drill(job, shown.hear)
                _show(result, shown)
                stream = _drill_stream(job, result, shown)
        except LitekeepError as error:
            run.ended(name, error)
            if len(jobs) == 1:
                raise
            failure: LitekeepError | None = error
            objects.append({"database": name, "error": output.error_fields(error)})
        else:
            failure = result.failure or (stream.failure if stream is not None else None)
            run.ended(name, failure)
            shown_stream = as_json(stream, name) if stream is not None else None
            objects.append({**as_json(result, name), "stream": shown_stream})
        if failure is not None:
            failures.append(failure)
            if not options.is_json:
                output.show_error(failure, is_json=False, about=name if len(jobs) > 1 else "")
    if options.is_json:
        output.json_object(objects[0] if len(jobs) == 1 else {"databases": objects})
    return output.exit_code(failures)


def _drill_stream(job: DrillJob, result: DrillResult, shown: Shown) -> DrillResult | None:
    """Drill the stream too, where no restore point was asked for by its name."""
    is_asked_for = not isinstance(job.when, Latest | None)
    if is_asked_for or result.point.txid is not None:
        return None
    stream = drill_stream(job, shown.hear)
    if stream is not None:
        _show(stream, shown)
    return stream


def as_json(result: DrillResult, database: str) -> dict[str, Any]:
    """Return a result in its contract's shape."""
    return {
        "database": database,
        "restore_point": point_fields(result.point),
        "store": result.store,
        "result": result.result,
        "checks": [
            {"name": found.name, "ok": found.ok, "detail": found.detail} for found in result.checks
        ],
        "seconds": round(result.seconds, 3),
        "recorded": result.is_recorded,
    }


def _show(result: DrillResult, shown: Shown) -> None:
    shown.say(f"Restored {result.point.name} from {result.store}")
    words = {True: "ok", False: "FAILED", None: "not known"}
    for found in result.checks:
        detail = f" ({found.detail})" if found.detail else ""
        shown.say(f"{found.name}: {words[found.ok]}{detail}")
    shown.say(f"Drill: {result.result}, in {show_duration(result.seconds)}")
