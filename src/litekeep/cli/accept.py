"""
`litekeep accept`: a suspect snapshot is fine, so `latest` and retention move on.
"""

from __future__ import annotations

import click

from litekeep.cli import output
from litekeep.cli.events import listener
from litekeep.cli.options import (
    Options,
    common_options,
    database_option,
    dry_run_option,
    source_argument,
)
from litekeep.cli.points import point_fields
from litekeep.engine.accept import accept
from litekeep.sources import find_source, load_settings


@click.command(short_help="Say that a suspect snapshot is fine.")
@source_argument
@dry_run_option
@database_option
@common_options
def command(source: str | None, is_dry_run: bool, database: str | None, options: Options) -> None:
    """
    Say that a suspect snapshot is fine, so that latest and retention move on.

    SOURCE is a database (a path, or a name of the configuration), or a store; it may be
    left out where the configuration lists one database.
    """
    settings = load_settings(options.config)
    found = find_source(settings, source, name=database)
    with listener(options, prefix="sqlite-accept") as shown:
        accepted = accept(found.repositories, shown.hear, is_dry_run=is_dry_run)
        for point in () if is_dry_run else accepted:
            shown.say(f"Accepted {point.name}")
    if options.is_json:
        fields = [point_fields(point) for point in accepted]
        output.json_object({"accepted": fields, "dry_run": is_dry_run})
    elif is_dry_run and not options.is_quiet:
        for point in accepted:
            stores = [c.repository.store.url for c in point.copies if c.state == "suspect"]
            output.would(f"accept {point.name}", stores)
