"""
`litekeep unhold`: a held restore point is retention's again.
"""

from __future__ import annotations

import click

from litekeep.cli import output
from litekeep.cli.options import (
    Options,
    common_options,
    database_option,
    dry_run_option,
    source_argument,
)
from litekeep.cli.points import point_fields
from litekeep.clock import now
from litekeep.engine.hold import unhold
from litekeep.sources import find_source, load_settings, zone_of
from litekeep.when import parse_when


@click.command(short_help="Let a held restore point go.")
@click.argument("point")
@source_argument
@dry_run_option
@database_option
@common_options
def command(
    point: str, source: str | None, is_dry_run: bool, database: str | None, options: Options
) -> None:
    """
    Let a held restore point go, so that retention decides on it again.

    POINT and SOURCE are those of litekeep hold.
    """
    settings = load_settings(options.config)
    when = parse_when(point, now(), zone_of(settings))
    found = find_source(settings, source, name=database)
    freed = unhold(found.repositories, when, is_dry_run=is_dry_run)
    if options.is_json:
        fields = {**point_fields(freed), "held": freed.is_held and is_dry_run}
        output.json_object({"restore_point": fields, "dry_run": is_dry_run})
    elif is_dry_run and not options.is_quiet:
        output.would(f"let {freed.name} go", freed.stores)
    elif not options.is_quiet:
        output.result(f"Let {freed.name} go.")
