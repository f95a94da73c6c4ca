"""
`litekeep init`: a commented configuration, from flags or by asking.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from litekeep.cli import output
from litekeep.cli.options import (
    Options,
    common_options,
    complete_files,
    configuration_option,
    dry_run_option,
)
from litekeep.config.file import read_text
from litekeep.config.places import is_url
from litekeep.config.template import template
from litekeep.config.values import fresh_name, is_name, zone_named
from litekeep.engine.target import refuse_target, whole_file
from litekeep.errors import AccessDenied, NotADatabase, NotFound, TargetExists, UserError
from litekeep.host.databases import Found, find_databases, is_database
from litekeep.opening import refuse_url
from litekeep.paths import exists, full_path, is_file, is_folder
from litekeep.units import show_size


@click.command(short_help="Write a commented configuration.")
@click.argument("folder", default=".", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--database",
    "databases",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="A database to keep, instead of those found in FOLDER; repeatable.",
)
@click.option(
    "--to",
    "stores",
    multiple=True,
    metavar="URL",
    shell_complete=complete_files,
    help="Where backups go; repeatable.",
)
@click.option("--timezone", metavar="ZONE", help="Zone of times in names; UTC if not set.")
@configuration_option
@click.option("--force", is_flag=True, help="Overwrite the file if it is there.")
@click.option("--yes", "-y", is_flag=True, help="Ask nothing: take every database that is found.")
@dry_run_option
@common_options
def command(
    folder: Path,
    databases: tuple[Path, ...],
    stores: tuple[str, ...],
    timezone: str | None,
    target: Path,
    force: bool,
    yes: bool,
    is_dry_run: bool,
    options: Options,
) -> None:
    """
    Write a commented configuration.

    SQLite databases are looked for in FOLDER and below. On a terminal you are asked which
    of them to keep and where; elsewhere, all that are found are taken.
    """
    if not is_dry_run:
        refuse_target(full_path(target))
        if exists(target) and not force:
            raise TargetExists(f"{target} exists", hint="Give --force to overwrite it.")
    asks = not yes and not options.is_json and output.is_terminal(sys.stdin, sys.stdout)
    paths = [_checked(path) for path in databases] or _look(folder, asks=asks)
    if asks and not databases:
        stores = stores or _ask_stores()
    for url in stores:
        refuse_url(url)
        _refuse_bytes(url)
    zone = timezone or "UTC"
    if not zone_named(zone):
        raise UserError(f"there is no time zone {zone!r}", hint='Write it like "Europe/Berlin".')
    text = template(_named(paths), _named_stores(stores), zone)
    # What we write must be what we would read.
    read_text(text, target, os.environ)
    if is_dry_run:
        output.text(text)
        return
    # Readable by its owner alone: it may come to hold secrets.
    with whole_file(full_path(target), replaces=force) as file:
        file.write(text.encode())
    if options.is_json:
        output.json_object(
            {"output": str(full_path(target)), "databases": [str(path) for path in paths]}
        )
    elif not options.is_quiet:
        output.line(f"Wrote {target}: {len(paths)} database{'s' if len(paths) > 1 else ''}.")
        output.line("Next: litekeep backup")


def _checked(path: Path) -> Path:
    """Return *path* if a database is there that the file can name."""
    if not is_file(path):
        raise NotFound(f"no database at {path}", hint="Check the path.")
    _refuse_bytes(str(full_path(path)))
    try:
        if is_database(path):
            return path
    except OSError as error:
        raise AccessDenied(
            f"cannot read {path}: {error.strerror}",
            hint=f"Give user id {os.geteuid()} the right to read it.",
        ) from error
    raise NotADatabase(f"{path} is no SQLite database", hint="Check the path.")


def _refuse_bytes(text: str) -> None:
    if not _is_text(text):
        raise UserError(
            f"{text} is not UTF-8 text, as all of a configuration is",
            hint="Give it another name, or reach it by a link.",
        )


def _is_text(text: str) -> bool:
    """Say whether all of *text* is characters; bytes that are none stand there as surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _look(folder: Path, *, asks: bool) -> list[Path]:
    folder = full_path(folder)
    if not is_folder(folder):
        raise NotFound(f"no folder at {folder}", hint="Check the path.")
    search = find_databases(folder)
    if not search.is_whole:
        output.line("warning: not everything was looked at; name a deeper folder", is_error=True)
    found = [item for item in search.found if _is_text(str(item.path))]
    for item in search.found:
        if item not in found:
            output.line(f"warning: left out {item.path}: its name is not UTF-8 text", is_error=True)
    if not found:
        raise NotFound(
            f"no SQLite database in {folder}",
            hint="Name another folder, or the database itself with --database.",
        )
    return _ask_databases(found) if asks else [item.path for item in found]


def _ask_databases(found: Sequence[Found]) -> list[Path]:
    for number, item in enumerate(found, 1):
        output.line(f"  {number}  {item.path}  ({show_size(item.size)})")
    while True:
        answer = click.prompt("Which of them shall be kept? (numbers, or all)", default="all")
        words = answer.replace(",", " ").split()
        if words == ["all"]:
            return [item.path for item in found]
        if words and all(word.isdecimal() and 0 < int(word) <= len(found) for word in words):
            return [found[number - 1].path for number in sorted({int(word) for word in words})]
        output.line(f"Please write numbers from 1 to {len(found)}, or all.")


def _ask_stores() -> tuple[str, ...]:
    answer = click.prompt(
        "Where shall backups go? (folder or URL like s3://bucket/prefix; "
        "empty: beside each database)",
        default="",
        show_default=False,
    )
    return tuple(answer.split())


def _named(paths: Sequence[Path]) -> list[tuple[str, Path]]:
    """Give each database a name of its own, from its file."""
    named: list[tuple[str, Path]] = []
    for path in paths:
        stem = path.stem if is_name(path.stem) else "database"
        named.append((fresh_name(stem, [name for name, _ in named]), full_path(path)))
    return named


def _named_stores(urls: Sequence[str]) -> list[tuple[str, str]]:
    named: list[tuple[str, str]] = []
    for url in urls:
        kind = url.partition(":")[0].lower() if is_url(url) else "local"
        place = url if is_url(url) else str(full_path(url))
        named.append((fresh_name(kind, [name for name, _ in named]), place))
    return named
