"""
`litekeep import`: Litestream's configuration, turned into ours.
"""

from __future__ import annotations

import os
from pathlib import Path

import click

from litekeep.cli import output
from litekeep.cli.options import (
    Options,
    common_options,
    configuration_option,
    dry_run_option,
)
from litekeep.config.file import read_text
from litekeep.config.litestream import Imported, import_litestream
from litekeep.engine.target import refuse_target, whole_file
from litekeep.errors import ConfigError, MissingExtra, NotFound, TargetExists
from litekeep.opening import refuse_url
from litekeep.paths import exists, full_path, is_file

_SIZE_MAX = 1 << 20


@click.command(short_help="Turn Litestream's configuration into ours.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), metavar="LITESTREAM_YML")
@configuration_option
@dry_run_option
@common_options
def command(file: Path, target: Path, is_dry_run: bool, options: Options) -> None:
    """
    Turn Litestream's configuration into ours.

    LITESTREAM_YML is of Litestream 0.3 or 0.5. What has no counterpart is named on standard
    error, each key with what is in its place. Secrets are not copied: they stay in the
    environment.
    """
    if not is_dry_run:
        refuse_target(full_path(target))
        if exists(target):
            raise TargetExists(f"{target} exists", hint="Choose another path with --output.")
    imported = _imported(file)
    # What we write must be what we would read.
    for store in read_text(imported.text, target, os.environ).stores:
        refuse_url(store.url)
    for note in imported.notes:
        output.line(
            f"warning: {output.printable(note.key)}: {output.printable(note.text)}", is_error=True
        )
    if is_dry_run:
        output.text(imported.text)
        return
    with whole_file(full_path(target), replaces=False) as written:
        written.write(imported.text.encode())
    count = imported.database_count
    if options.is_json:
        output.json_object(
            {
                "output": str(full_path(target)),
                "databases": count,
                "notes": [{"key": note.key, "text": note.text} for note in imported.notes],
            }
        )
    elif not options.is_quiet:
        output.line(f"Wrote {target}: {count} database{'s' if count > 1 else ''}.")
        output.line("Next: litekeep doctor")


def _imported(file: Path) -> Imported:
    if not is_file(file):
        raise NotFound(f"no file at {file}", hint="Check the path.")
    try:
        with file.open("rb") as stream:
            data = stream.read(_SIZE_MAX + 1)
    except OSError as error:
        raise ConfigError(
            f"cannot read {file}: {error.strerror}", hint="Check its mode."
        ) from error
    if len(data) > _SIZE_MAX:
        raise ConfigError(f"{file} is larger than any configuration", hint="Check the path.")
    try:
        import yaml
    except ImportError as error:
        raise MissingExtra(
            "reading YAML needs PyYAML", hint='Install it: pip install "litekeep[litestream]".'
        ) from error
    try:
        return import_litestream(yaml.safe_load(data), os.environ)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise ConfigError(f"{file}{where}: it is no YAML", hint="Check the path.") from error
    except ConfigError as error:
        raise ConfigError(f"{file}: {error.message}", hint=error.hint) from error
