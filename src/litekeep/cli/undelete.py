"""
`litekeep undelete`: what was pruned, brought back while its data still lies there.
"""

from __future__ import annotations

import contextlib
from datetime import tzinfo

import click

from litekeep.cli import output
from litekeep.cli.options import (
    Options,
    common_options,
    database_option,
    dry_run_option,
    source_argument,
)
from litekeep.clock import now
from litekeep.engine.prune import undelete
from litekeep.errors import UserError
from litekeep.sources import find_source, load_settings, zone_of
from litekeep.when import Named, parse_when


@click.command(short_help="Bring a pruned snapshot back.")
@click.argument("name")
@source_argument
@dry_run_option
@database_option
@common_options
def command(
    name: str, source: str | None, is_dry_run: bool, database: str | None, options: Options
) -> None:
    """
    Bring a pruned snapshot back, in every store where its data still lies.

    NAME is the snapshot's; litekeep list --deleted shows those there are. SOURCE is a
    database (a path, or a name of the configuration), or a store.
    """
    settings = load_settings(options.config)
    when = _name_of(name, zone_of(settings))
    found = find_source(settings, source, name=database)
    back = undelete(found.repositories, when.name, is_dry_run=is_dry_run)
    stores = [repository.store.url for repository in back]
    if options.is_json:
        output.json_object({"name": when.name, "stores": stores, "dry_run": is_dry_run})
    elif is_dry_run and not options.is_quiet:
        output.would(f"bring {when.name} back", stores)
    elif not options.is_quiet:
        output.result(f"{when.name} is a snapshot again in {', '.join(stores)}.")


def _name_of(text: str, zone: tzinfo) -> Named:
    with contextlib.suppress(UserError):  # its hint names all that a time can be
        when = parse_when(text, now(), zone)
        if isinstance(when, Named):
            return when
    raise UserError(
        f"{text!r} is no snapshot's name",
        hint="litekeep list --deleted shows the names of those that can be brought back.",
    )
