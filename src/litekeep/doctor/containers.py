"""
Checks of the container engine, where a database is named by it: `docker`.

The engine answers, its socket may be used, the volume or container is there; and how the
containers are that use the database.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from litekeep.dockername import DockerName
from litekeep.doctor.findings import Finding, ok, warn
from litekeep.errors import LitekeepError
from litekeep.host.docker import Container, connected, listed
from litekeep.host.volumes import users_of
from litekeep.paths import is_folder
from litekeep.sources import Database

#: Words of the engine for a container that does not do its work.
_ILL = ("restarting", "dead", "unhealthy")


def engine_findings(
    database: Database, real: Path | None, environ: Mapping[str, str]
) -> Iterator[Finding]:
    """
    Check the engine of a database in Docker; nothing for any other.

    Args:
        database: As it is named.

        real: Where it lies; None where that could not be found out.

        environ: Names the engine's socket.

    Raises:
        LitekeepError: The engine does not answer, or may not be asked.
    """
    if not isinstance(database.path, DockerName):
        return
    name, about = "docker", database.name
    with connected(environ) as engine:
        here = f"the engine at {engine.address} answers"
        using = [each.container for each in users_of(engine, real)] if real else []
        ill = [each for each in using if each.state in _ILL]
        if database.path.is_in_container:
            named = engine.container(database.path.holder)
            if named is not None and not named.is_running:
                hint = f"See why: docker logs {named.name}."
                yield warn(name, about, f"{here}; {named} does not run ({named.state})", hint)
                return
        if ill:
            hint = f"See why: docker logs {ill[0].name}."
            yield warn(name, about, f"{here}; {_shown(ill)}", hint)
        elif using:
            yield ok(name, about, f"{here}; used by {_shown(using)}")
        else:
            yield ok(name, about, f"{here}; no container that runs uses the database")


def build_folders(database: Database, environ: Mapping[str, str]) -> tuple[Path, ...]:
    """
    Return the folders of the Compose projects whose containers use the database's volume.

    Those that are not on this machine are left out, and all are where no engine answers:
    `docker` tells that.
    """
    if not isinstance(database.path, DockerName):
        return ()
    try:
        with connected(environ) as engine:
            containers = engine.containers()
    except LitekeepError:
        return ()
    holder = database.path.holder
    folders = {
        Path(each.folder)
        for each in containers
        if each.folder
        and (
            holder in (each.name, each.service)
            or any(mount.name == holder for mount in each.mounts)
        )
    }
    return tuple(sorted(folder for folder in folders if is_folder(folder)))


def _shown(containers: list[Container]) -> str:
    return listed([f"{each} ({each.state})" for each in containers])
