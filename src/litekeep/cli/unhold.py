"""
`litekeep unhold`: a held restore point is retention's again.
"""

from __future__ import annotations

import click

from litekeep.cli import output
from litekeep.cli.options import Options, common_options, database_option, source_argument
from litekeep.cli.points import point_fields
from litekeep.clock import now
from litekeep.engine.hold import unhold
from litekeep.sources import find_source, load_settings, zone_of
from litekeep.when import parse_when


@click.command(short_help="Let a held restore point go.")
@click.argument("point")
@source_argument
@database_option
@common_options
def command(point: str, source: str | None, database: str | None, options: Options) -> None:
    """
    Let a held restore point go, so that retention decides on it again.

    POINT and SOURCE are those of litekeep hold.
    """
    settings = load_settings(options.config)
    when = parse_when(point, now(), zone_of(settings))
    found = find_source(settings, source, name=database)
    freed = unhold(found.repositories, when)
    if options.is_json:
        output.json_object({"restore_point": {**point_fields(freed), "held": False}})
    elif not options.is_quiet:
        output.result(f"Let {freed.name} go.")
