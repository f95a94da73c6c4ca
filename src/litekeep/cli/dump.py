"""
`litekeep dump`: SQL text of a live database or of a restore point.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import click

from litekeep.cli import output
from litekeep.cli.events import listener
from litekeep.cli.options import (
    Options,
    at_option,
    common_options,
    database_option,
    source_argument,
)
from litekeep.config.settings import Settings
from litekeep.engine.dump import dump, dump_to_file, scratch
from litekeep.engine.restore import restore
from litekeep.engine.target import refuse_target
from litekeep.errors import EXIT_PIPE_CLOSED, CorruptionError, TargetExists, UserError
from litekeep.host.volumes import path_of
from litekeep.library import plan_of
from litekeep.paths import exists, full_path
from litekeep.sources import COMPRESSED, find_source, load_settings, single_file


@click.command(short_help="Write a database as SQL text.")
@source_argument
@at_option
@click.option(
    "--output",
    "-o",
    "target",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="PATH",
    help="Write to this file instead of standard output.",
)
@click.option("--replace", is_flag=True, help="Overwrite the file of --output.")
@database_option
@common_options
def command(
    source: str | None,
    at: str | None,
    target: Path | None,
    replace: bool,
    database: str | None,
    options: Options,
) -> int:
    """
    Write a database as SQL text, which any sqlite3 shell reads back.

    SOURCE is a database (a path, or a name of the configuration): the live one, or with
    --at one of its restore points. Or it is a store (a folder or a URL), or a single
    snapshot file. What is damaged is left out and named, and the exit code is 20.
    """
    if options.is_json and target is None:
        raise UserError(
            "--json and the SQL text cannot share standard output",
            hint="Give a file with --output.",
        )
    settings = load_settings(options.config)
    file = single_file(settings, source, has_output=False) if source is not None else None
    if target is not None:
        refuse_target(full_path(target), sources=(file,) if file else ())
        if exists(target) and not replace:
            raise TargetExists(f"{target} exists", hint="Give --replace to overwrite it.")
    with _database(settings, source, file, at, database, options) as path:
        try:
            if target is not None:
                result = dump_to_file(path, full_path(target), replaces=replace)
            else:
                result = dump(path, output.data)
        except BrokenPipeError:
            # The reader has seen enough.  Our end of the pipe is closed by the caller.
            return EXIT_PIPE_CLOSED
    if options.is_json:
        output.json_object(
            {"output": str(target), "bytes": result.size, "damaged": list(result.damaged)}
        )
    if result.damaged:
        raise CorruptionError(
            f"the database is damaged; left out is what cannot be read: "
            f"{'; '.join(result.damaged[:3])}",
            hint="Compare with an earlier restore point: litekeep list shows them.",
        )
    return 0


@contextlib.contextmanager
def _database(
    settings: Settings,
    source: str | None,
    file: Path | None,
    at: str | None,
    name: str | None,
    options: Options,
) -> Iterator[Path]:
    """
    Give the file to dump: the live one, or a restored one that is removed afterwards.

    *file* is set where *source* is a single copy.
    """
    if file is not None and not file.name.endswith(COMPRESSED) and at is None:
        yield file
        return
    if file is None and at is None:
        found = find_source(settings, source, name=name)
        live = path_of(found.database) if found.database is not None else None
        if live is not None and exists(live):
            yield live
            return
    with scratch() as folder:
        target = folder / "restored.db"
        plan = plan_of(
            settings,
            source,
            target,
            at="latest" if at is None else at,
            replace=False,
            undo=False,
            assume_stopped=False,
            database=name,
        )
        with listener(dataclasses.replace(options, is_quiet=True), prefix="") as shown:
            # What can still be read is wanted here, whatever SQLite's check says.
            restore(dataclasses.replace(plan, accepts_failed_check=True), shown.hear)
        yield target
