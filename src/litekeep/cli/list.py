"""
`litekeep list`: the restore points there are, newest first.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, tzinfo
from typing import Any

import click

from litekeep.cli import output
from litekeep.cli.options import (
    Options,
    common_options,
    database_option,
    source_argument,
)
from litekeep.cli.points import lack_fields, point_fields, show_time
from litekeep.clock import now
from litekeep.engine.ahead import AHEAD_HINT
from litekeep.engine.points import Points, RestorePoint, read_points
from litekeep.engine.timeline import (
    Moment,
    old_points,
    stream_gaps,
    stream_moments,
    stream_points,
)
from litekeep.errors import LitekeepError
from litekeep.sources import Source, find_sources, load_settings, zone_of
from litekeep.units import show_duration, show_size
from litekeep.when import is_ahead

_HEADS = ("TIME", "AGE", "KIND", "SIZE", "STORED", "STATE", "PROOF", "NAME", "LABEL")


@click.command(short_help="List restore points, newest first.")
@source_argument
@click.option(
    "--deleted", "shows_deleted", is_flag=True, help="Those that were pruned and can come back."
)
@database_option
@common_options
def command(source: str | None, shows_deleted: bool, database: str | None, options: Options) -> int:
    """
    List restore points, newest first.

    SOURCE is a database (a path, or a name of the configuration), or a store (a folder or
    a URL). Without it, all databases of the configuration are listed.
    """
    settings = load_settings(options.config)
    sources = find_sources(settings, source, name=database)
    objects: list[dict[str, Any]] = []
    failures: list[LitekeepError] = []
    for item in sources:
        about = item.name if len(sources) > 1 else ""
        try:
            points = read_points(item.repositories)
        except LitekeepError as error:
            # One database that cannot be listed does not hide the others.
            if not about:
                raise
            failures.append(error)
            objects.append({"database": item.name, "error": output.error_fields(error)})
            if not options.is_json:
                output.show_error(error, is_json=False, about=about)
            continue
        _warn(points, about)
        objects.append(_as_json(item, points))
        if not options.is_json and not options.is_quiet:
            if about:
                output.result(f"{about}:")
            if shows_deleted:
                _show_deleted(points, zone_of(settings))
            else:
                _show(item, points, zone_of(settings), is_verbose=options.is_verbose)
    if options.is_json:
        output.json_object(objects[0] if len(objects) == 1 else {"databases": objects})
    return output.exit_code(failures)


def _as_json(source: Source, points: Points) -> dict[str, Any]:
    return {
        "database": source.name,
        "restore_points": [point_fields(point) for point in _all_of(points)],
        "deleted": [
            {
                "name": deleted.name,
                "store": deleted.repository.store.url,
                "time": output.iso(deleted.tombstone.time),
                "can_come_back": deleted.has_data,
            }
            for deleted in points.deleted
        ],
        "gaps": [
            {"after": f"{gap.after:016x}", "before": f"{gap.before:016x}"}
            for gap in stream_gaps(points)
        ],
        "window": _window(points),
        "damaged": [
            {
                "store": leftover.repository.store.url,
                "object": leftover.object,
                "code": leftover.error.exit_code,
                "message": leftover.error.message,
            }
            for leftover in points.leftovers
        ],
        "unread": [
            {"store": repository.store.url, "error": output.error_fields(error)}
            for repository, error in points.unread
        ],
        "lacking": [lack_fields(lack) for lack in points.lacks],
    }


def _all_of(points: Points) -> list[RestorePoint]:
    """Return snapshots and txids together, newest first."""
    found = [*points.points, *stream_points(points), *old_points(points)]
    return sorted(found, key=lambda point: (point.time, point.name), reverse=True)


def _window(points: Points) -> dict[str, Any] | None:
    found: list[RestorePoint | Moment] = [*stream_moments(points), *old_points(points)]
    times = [one.time for one in found]
    if not times:
        return None
    return {"from": output.iso(min(times)), "to": output.iso(max(times))}


def _show_deleted(points: Points, zone: tzinfo) -> None:
    for deleted in points.deleted:
        gone = "" if deleted.has_data else "  its data is gone"
        time = show_time(deleted.tombstone.time, zone)
        output.result(f"{deleted.name}  pruned {time}  {deleted.repository.store.url}{gone}")
    if not points.deleted:
        output.result("nothing was pruned that could be brought back")


def _warn(points: Points, about: str) -> None:
    """Say what is not in the list, on standard error, and of which database of several."""
    start = f"warning: {about}: " if about else "warning: "
    for repository, error in points.unread:
        output.line(f"{start}{repository.store.url} is not listed: {error.message}", is_error=True)
        if error.hint:
            output.line(f"hint: {error.hint}", is_error=True)
    for lack in points.lacks:
        if lack.has_newest:
            continue  # retention may have taken the others there; verify tells of them
        output.line(f"{start}{lack.message}", is_error=True)
        if lack.hint:
            output.line(f"hint: {lack.hint}", is_error=True)
    for point in points.points:
        if is_ahead(point.time, now()):
            output.line(f"{start}{point.name} lies in the future", is_error=True)
            output.line(f"hint: {AHEAD_HINT}", is_error=True)
    for leftover in points.leftovers:
        output.line(
            f"{start}{leftover.repository.store.url}: {leftover.error.message}", is_error=True
        )


def _show(source: Source, points: Points, zone: tzinfo, *, is_verbose: bool) -> None:
    _show_stream(points, zone)
    if (points.streams or points.generations) and not points.points:
        return
    if not points.points:
        places = ", ".join(repository.store.url for repository in source.repositories)
        output.result(f"no restore points yet in {places}; litekeep backup makes one")
        return
    rows = [_row(point, zone) for point in points.points]
    widths = [max(len(row[column]) for row in (_HEADS, *rows)) for column in range(len(_HEADS))]
    output.result(_aligned(_HEADS, widths))
    for point, row in zip(points.points, rows, strict=True):
        output.result(_aligned(row, widths))
        if is_verbose:
            for copy in point.copies:
                output.result(f"    {copy.repository.store.url.rstrip('/')}/{copy.object}")


def _show_stream(points: Points, zone: tzinfo) -> None:
    """Say what the stream covers; its txids are too many for a person."""
    txids = stream_moments(points)
    _show_range("stream", "txid", txids, zone)
    _show_range("Litestream 0.3", "moment", old_points(points), zone)
    proved = [moment for moment in txids if moment.proof is not None]
    if proved:
        output.result(f"stream: proof of {proved[0].name}: {_show_proof(proved[0])}")
    for gap in stream_gaps(points):
        output.result(f"stream: nothing leads from {gap.after:016x} to {gap.before:016x}")


def _show_range(what: str, unit: str, found: Sequence[RestorePoint | Moment], zone: tzinfo) -> None:
    if not found:
        return
    first, last = found[-1], found[0]
    output.result(
        f"{what}: {len(found)} {unit}{'s' * (len(found) != 1)}, {first.name} to {last.name}, "
        f"{show_time(first.time, zone)} to {show_time(last.time, zone)} ({_age(last.time)} ago)"
    )


def _row(point: RestorePoint, zone: tzinfo) -> tuple[str, ...]:
    return (
        show_time(point.time, zone),
        _age(point.time),
        point.kind,
        "?" if point.size is None else show_size(point.size),
        show_size(point.copies[0].stored_size),
        f"{point.state}, held" if point.is_held else point.state,
        _show_proof(point),
        point.name,
        output.printable(point.label or ""),
    )


def _show_proof(point: RestorePoint | Moment) -> str:
    if point.proof is None:
        return "none"
    return f"{point.proof.result} {_age(point.proof.time)} ago"


def _age(time: datetime) -> str:
    return show_duration(max(0.0, (now() - time).total_seconds()))


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
