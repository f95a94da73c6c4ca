"""
`litekeep hold`: a restore point that retention leaves alone.
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
from litekeep.engine.hold import hold
from litekeep.sources import find_source, load_settings, zone_of
from litekeep.when import parse_when


@click.command(short_help="Keep a restore point for ever.")
@click.argument("point")
@source_argument
@click.option("--reason", metavar="TEXT", default="", help="Why; prune shows it.")
@dry_run_option
@database_option
@common_options
def command(
    point: str,
    source: str | None,
    reason: str,
    is_dry_run: bool,
    database: str | None,
    options: Options,
) -> None:
    """
    Keep a restore point for ever: retention leaves it alone.

    POINT is a snapshot's name, a time, or latest. SOURCE is a database (a path, or a name
    of the configuration), or a store; it may be left out where the configuration lists one
    database.
    """
    settings = load_settings(options.config)
    when = parse_when(point, now(), zone_of(settings))
    found = find_source(settings, source, name=database)
    held = hold(found.repositories, when, reason=reason, is_dry_run=is_dry_run)
    if options.is_json:
        fields = {**point_fields(held), "held": held.is_held or not is_dry_run}
        output.json_object({"restore_point": fields, "dry_run": is_dry_run})
    elif is_dry_run and not options.is_quiet:
        output.would(f"hold {held.name}", held.stores)
    elif not options.is_quiet:
        output.result(f"Held {held.name}.")
