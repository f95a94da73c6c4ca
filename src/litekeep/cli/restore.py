"""
`litekeep restore`: a database back to a restore point.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from litekeep.cli import output
from litekeep.cli.events import Shown, listener
from litekeep.cli.options import (
    Options,
    at_option,
    common_options,
    database_option,
    dry_run_option,
    source_argument,
)
from litekeep.cli.points import lack_fields, point_fields, show_time
from litekeep.config.settings import Settings
from litekeep.engine.origin import show_origin
from litekeep.engine.plan import Copy, RestorePlan
from litekeep.engine.restore import RestoreResult, restore
from litekeep.engine.undo import SIDECARS, can_be_restored
from litekeep.library import plan_of
from litekeep.sources import load_settings, zone_of
from litekeep.units import show_duration, show_size


@click.command(short_help="Bring a database back to a restore point.")
@source_argument
@at_option
@click.option(
    "--output",
    "-o",
    "target",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="PATH",
    help="Where to restore to; the database's own place if not given.",
)
@click.option("--replace", is_flag=True, help="Put it in the place of the file that is there.")
@click.option("--no-undo", is_flag=True, help="Keep no undo copy of the file that is replaced.")
@click.option(
    "--assume-stopped",
    is_flag=True,
    help="Vouch that nobody has the file open, where that cannot be seen from here.",
)
@click.option(
    "--stop",
    multiple=True,
    metavar="SERVICE",
    help="Stop this Compose service, container or systemd unit while the file is replaced, and "
    "start it again whatever happens; repeatable.",
)
@database_option
@dry_run_option
@common_options
def command(
    source: str | None,
    at: str | None,
    target: Path | None,
    replace: bool,
    no_undo: bool,
    assume_stopped: bool,
    stop: tuple[str, ...],
    database: str | None,
    is_dry_run: bool,
    options: Options,
) -> int:
    """
    Bring a database back to a restore point.

    SOURCE is a database (a path, a name of the configuration, docker:VOLUME/FILE or
    docker:CONTAINER:/PATH), a store (a folder or a URL), or a single snapshot file.
    Everything is compared with its checksums before the target changes. A file that is open
    is not replaced: stop the application first, or let --stop do it.
    """
    settings = load_settings(options.config)
    plan = plan_of(
        settings,
        source,
        target,
        at="latest" if at is None else at,
        replace=replace,
        undo=not no_undo,
        assume_stopped=assume_stopped,
        stop=stop,
        database=database,
    )
    with listener(options, prefix="sqlite-restore") as shown:
        for line in plan_lines(plan, settings):
            shown.say(line)
        if is_dry_run:
            for warned in plan.warnings:
                shown.hear(warned)
            if options.is_json:
                output.json_object({"plan": plan_fields(plan)})
            return 0
        result = restore(plan, shown.hear)
        _show(result, shown)
    if options.is_json:
        output.json_object(as_json(result))
    if result.failure is None:
        return 0
    if not options.is_json:
        output.show_error(result.failure, is_json=False)
    return result.failure.exit_code


def plan_lines(plan: RestorePlan, settings: Settings) -> list[str]:
    """Return what a restore will do, for a person."""
    lines = []
    if plan.point is None:
        lines.append(f"Restore {plan.source}")
    else:
        time = show_time(plan.point.time, zone_of(settings))
        size = f", {show_size(plan.size)}" if plan.size is not None else ""
        lines.append(f"Restore {plan.point.name} ({time}{size})")
        lines += [f"  taken of {show_origin(plan.taken_of)}"] if plan.taken_of else []
        lines += [f"  from {_show_copy(copy, plan)}" for copy in plan.copies[:1]]
        lines += [f"  or, if that fails, {_show_copy(copy, plan)}" for copy in plan.copies[1:]]
    if plan.distance is not None:
        lines.append(f"  {_show_distance(plan.distance.total_seconds())}")
    lines.append(f"  to {plan.target}")
    if plan.target.exists():
        kept = "kept as an undo copy" if plan.keep_undo else "NOT kept"
        lines.append(f"  in the place of the file there, which is {kept}")
    for service in plan.services:
        was = "is stopped meanwhile" if service.is_running else "does not run, and stays so"
        lines.append(f"  {service} {was}")
    return lines


def _show_copy(copy: Copy, plan: RestorePlan) -> str:
    """Return where a copy lies, and what it is a copy of where that is another point."""
    kind = ", its stream" if copy.branch is not None else ""
    other = f": {copy.point.name}" if copy.point is not None and copy.point != plan.point else ""
    return f"{copy.store.url}{kind}{other}"


def _show_distance(seconds: float) -> str:
    """
    Return how far a point lies from the time that was asked for.

    >>> _show_distance(75), _show_distance(-0.0004)
    ('1 min 15 s before the time asked for', 'at the time asked for')
    >>> _show_distance(-0.407)
    '0.4 s after the time asked for (names show seconds)'
    """
    if abs(seconds) < 0.001:  # JSON shows milliseconds
        return "at the time asked for"
    if seconds > 0:
        return f"{show_duration(seconds)} before the time asked for"
    return f"{show_duration(max(0.1, -seconds))} after the time asked for (names show seconds)"


def plan_fields(plan: RestorePlan) -> dict[str, Any]:
    """Return a plan as JSON."""
    return {
        "source": plan.source,
        "restore_point": point_fields(plan.point) if plan.point else None,
        "seconds_before": plan.distance.total_seconds() if plan.distance is not None else None,
        "output": str(plan.target),
        "replaces": plan.target.exists(),
        "keeps_undo": plan.keep_undo,
        **_not_taken(plan),
        "stops": [service.name for service in plan.services if service.is_running],
    }


def as_json(result: RestoreResult) -> dict[str, Any]:
    """Return a result in its contract's shape."""
    plan = result.plan
    distance = plan.distance
    return {
        "source": result.copy.store.url if plan.point else plan.source,
        "restored": point_fields(result.point) if result.point else None,
        "seconds_before": distance.total_seconds() if distance is not None else None,
        "output": str(plan.target),
        "undo": str(result.undo) if result.undo else None,
        "bytes_fetched": result.bytes_fetched,
        "requests": result.request_count,
        "seconds": round(result.seconds, 3),
        "proved": result.is_proved,
        "unproven": result.unproven,
        "error": output.error_fields(result.failure) if result.failure else None,
        "stopped": [service.name for service in plan.services if service.is_running],
        "in_place": asdict(result.in_place) if result.in_place else None,
        "size_bytes": result.size,
        "sha256": result.sha256,
        "database_checksum": f"{result.database_checksum:016x}",
        **_not_taken(plan),
    }


def _not_taken(plan: RestorePlan) -> dict[str, Any]:
    return {
        "passed_over": [
            {"name": one.name, "time": output.iso(one.time), "reason": one.reason}
            for one in plan.passed_over
        ],
        "unread": [
            {"store": url, "error": output.error_fields(error)} for url, error in plan.unread
        ],
        "lacking": [lack_fields(lack) for lack in plan.lacks],
    }


def _show(result: RestoreResult, shown: Shown) -> None:
    target = result.plan.target
    if result.is_proved:
        what = "manifest" if result.copy.branch is None else "stream"
        shown.say(f"Proved: every checksum of the {what}, and SQLite's own check")
    else:
        shown.say(f"Not proved: {result.unproven}")
    if result.undo is not None:
        shown.say(f"Undo copy: {result.undo}")
        for line in _how_to_undo(result.undo, target):
            shown.say(line)
    summary = f"Restored {target}: {show_size(result.size)} in {show_duration(result.seconds)}"
    shown.end(summary, f"Restored {target}")


def _how_to_undo(undo: Path, target: Path) -> list[str]:
    copy, goal = shlex.quote(str(undo)), shlex.quote(str(target))
    if can_be_restored(undo):
        return [f"To undo: litekeep restore {copy} --output {goal} --replace"]
    kept = [end for end in SIDECARS if os.path.lexists(f"{undo}{end}")]
    if not os.path.lexists(undo):
        return [f"There was no database, only what lay beside it, which is kept: {', '.join(kept)}"]
    removed = " ".join(shlex.quote(f"{target}{end}") for end in SIDECARS)
    moved = "".join(
        f" && mv {shlex.quote(f'{undo}{end}')} {shlex.quote(f'{target}{end}')}" for end in kept
    )
    return [
        "The old file could not be read, and is kept as it was"
        + (f", with what lies beside it: {', '.join(kept)}" if kept else ""),
        f"To undo, while no application runs: rm -f {removed} && mv {copy} {goal}{moved}",
    ]
