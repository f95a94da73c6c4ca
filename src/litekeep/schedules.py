"""
From settings to what a schedule runs and may touch.

A schedule knows nothing of the shell that installed it: no current folder, no variables.
So everything is written out, and what cannot be is named in `Needs.missing`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import litekeep
from litekeep.config.places import is_url, kind_of, places_of_listed, state_folder
from litekeep.config.secrets import secrets_of
from litekeep.config.settings import DISTANT, Settings
from litekeep.dockername import DockerName
from litekeep.errors import UserError
from litekeep.host.schedule import OFF, VARIABLES_FILE, Schedule, Task, refuse_unwritable
from litekeep.host.volumes import path_of
from litekeep.notices import VARIABLES, is_anybody_told
from litekeep.paths import exists, is_file

_OF_THE_CLOUD = ("AWS_", "AZURE_", "GOOGLE_")
_OF_THE_WAY = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy")


@dataclass(frozen=True, slots=True)
class Needs:
    """A schedule, and what it will not find: names of variables, paths of databases."""

    schedule: Schedule
    variables: tuple[str, ...]
    databases: tuple[Path, ...]


def needs_of(
    settings: Settings,
    tasks: Sequence[Task],
    *,
    environ: Mapping[str, str],
    variables_file: Path = VARIABLES_FILE,
) -> Needs:
    """
    Return what a schedule runs for these settings.

    Args:
        settings: In force.

        tasks: What is run, and when.

        environ: Of the shell that installs it.

        variables_file: Where the schedule finds variables.

    Raises:
        UserError: No file is in force, or it lists no database.
    """
    if settings.file is None or not settings.databases:
        where = f"{settings.file} lists no database" if settings.file else "there is none"
        raise UserError(
            f"a schedule needs a configuration file, and {where}",
            hint="Write one: litekeep init --output /etc/litekeep.toml",
        )
    state = Path(os.path.abspath(state_folder(settings, environ)))
    databases = tuple(path_of(item.path, environ) for item in settings.databases)
    variables = tuple(_variables(settings, environ))
    schedule = Schedule(
        program=program_here(),
        config=Path(os.path.abspath(settings.file)),
        tasks=tuple(tasks),
        database_folders=_database_folders(databases),
        store_folders=tuple(_store_folders(settings, environ)),
        state=state,
        readable=(*_program_parts(), *_files_named(settings)),
        environment=tuple(_environment(settings, state, environ)),
    )
    refuse_unwritable(schedule)
    known = _names_in(variables_file)
    return Needs(
        schedule,
        tuple(name for name in variables if name not in known),
        tuple(path for path in databases if not exists(path)),
    )


def when_status(
    settings: Settings, *, environ: Mapping[str, str], variables_file: Path = VARIABLES_FILE
) -> str:
    """
    Return when `status` runs by itself: each hour where it tells anybody, else never.

    Args:
        settings: In force.

        environ: Of the shell that installs the schedule.

        variables_file: Where the schedule finds variables.
    """
    variables = {*environ, *_names_in(variables_file)}
    return "hourly" if is_anybody_told(settings, variables, "status") else OFF


def program_here() -> tuple[str, ...]:
    """Return how this very installation is started, by absolute path."""
    program = Path(sys.executable).parent / "litekeep"
    if is_file(program):
        return (str(program),)
    return (sys.executable, "-P", "-m", "litekeep")


def _environment(
    settings: Settings, state: Path, environ: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    if environ.get("LITEKEEP_STATE"):
        yield "LITEKEEP_STATE", str(state)
    is_in_docker = any(isinstance(item.path, DockerName) for item in settings.databases)
    if is_in_docker and (host := environ.get("DOCKER_HOST")):
        yield "DOCKER_HOST", host


def _database_folders(databases: Sequence[Path]) -> tuple[Path, ...]:
    # SQLite keeps its -wal and -shm beside the file that a link leads to.
    folders = []
    for path in databases:
        folders += [path.parent, Path(os.path.realpath(path)).parent]
    return tuple(dict.fromkeys(folders))


def _store_folders(settings: Settings, environ: Mapping[str, str]) -> Iterator[Path]:
    for store in settings.stores:
        if kind_of(store.url) == "local":
            yield _path_of(store.url)
    for item in settings.databases:
        for place in places_of_listed(settings, item, environ):
            # Without a store of the configuration: the folder beside the database.
            if place.store not in settings.stores and kind_of(place.url) == "local":
                yield _path_of(place.url)


def _path_of(url: str) -> Path:
    path = unquote(urlsplit(url).path) if is_url(url) else url
    return Path(os.path.abspath(path))


def _program_parts() -> tuple[Path, ...]:
    """Return what the program consists of, as far as it is not the system's own."""
    executable = Path(sys.executable)
    parts = (
        Path(sys.prefix),
        Path(sys.base_prefix),
        Path(os.path.realpath(executable)).parents[1],
        # Elsewhere only where it is installed in place, from a checkout.
        Path(litekeep.__file__).parents[1],
    )
    return tuple(dict.fromkeys(part for part in parts if part != Path("/usr")))


def _files_named(settings: Settings) -> Iterator[Path]:
    for store in settings.stores:
        for path in (store.credentials_file, store.ca_file):
            if path is not None:
                yield path
    for _, _, source in secrets_of(settings):
        if source.kind == "file":
            yield Path(source.value)


def _variables(settings: Settings, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the names of variables that a run by hand would read and a schedule would not."""
    named = {source.value for _, _, source in secrets_of(settings) if source.kind == "env"}
    named |= VARIABLES & set(environ)
    yield from sorted(named)
    if any(kind_of(store.url) in DISTANT for store in settings.stores):
        for name in sorted(environ):
            if (name.startswith(_OF_THE_CLOUD) or name in _OF_THE_WAY) and name not in named:
                yield name


def _names_in(file: Path) -> frozenset[str]:
    try:
        lines = file.read_text(errors="replace").splitlines()
    except OSError:
        return frozenset()
    return frozenset(
        line.partition("=")[0].removeprefix("export ").strip()
        for line in lines
        if "=" in line and not line.lstrip().startswith("#")
    )
