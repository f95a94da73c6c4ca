"""
Where a database in Docker lies on this machine, and which containers see it.

    docker:VOLUME/FILE        the volume's folder / FILE
    docker:CONTAINER:/path    what is mounted there, in the container; its folder / the rest

What lies in a volume belongs to the containers that use it.  A link in it may lead
anywhere on this machine, where a container could never write, and root reads and
replaces what it is shown: so a path that leaves the volume is refused.

Refused too, because nothing good could come of it: a file mounted alone (its log lies
elsewhere, and a file put in its place is not seen in the container), what is in memory
or in the container's own layer, and what another machine may have mounted.
"""

from __future__ import annotations

import difflib
import os
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from litekeep.dockername import Address, DockerName
from litekeep.errors import (
    DatabaseUnusable,
    LitekeepError,
    NotFound,
    UnsafeFileSystem,
    UserError,
)
from litekeep.host.docker import Container, Engine, Mount, Volume, connected, listed, other_engines
from litekeep.host.filesystems import is_below
from litekeep.paths import exists, is_file, is_folder

LOCAL_DRIVER = "local"
_NETWORK_TYPES = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "glusterfs", "9p"})
_MEMORY_TYPES = frozenset({"tmpfs", "ramfs"})
_BIND_TYPES = frozenset({"", "none", "bind"})


@dataclass(frozen=True, slots=True)
class User:
    """A container that runs and sees a file, which it knows as `path`."""

    container: Container
    path: str


def path_of(address: Address, environ: Mapping[str, str] | None = None) -> Path:
    """
    Return the path on this machine, of a file that need not be there.

    Raises:
        NotFound: There is no such volume or container.

        UnsafeFileSystem: It lies on another machine, or is mounted alone.

        UserError: It is in no volume, or leads out of it.

        DatabaseUnusable: The engine does not answer, or may not be asked; or its folders
            are not to be seen from here.
    """
    if not isinstance(address, DockerName):
        return address
    with connected(environ) as engine:
        if address.is_in_container:
            root, rest = _in_container(engine, address)
        else:
            root, rest = _root_of(_volume(engine, address)), address.path
        return _inside(engine, address, root, rest)


def database_at(address: Address, environ: Mapping[str, str] | None = None) -> Path:
    """
    Return the path on this machine of a database that must be there.

    A plain path is returned as it is.

    Raises:
        NotFound: There is no such file; and as `path_of`.
    """
    path = path_of(address, environ)
    if isinstance(address, DockerName) and not is_file(path):
        near = difflib.get_close_matches(path.name, _names_in(path.parent), 1, 0.6)
        raise NotFound(
            f"{address}: there is no file {path}",
            hint=f"Did you mean {near[0]}?" if near else "Check the name of the file.",
        )
    return path


def users_of(engine: Engine, path: Path) -> tuple[User, ...]:
    """
    Return the containers that run and have the file at *path* within reach.

    Args:
        engine: Of this machine.

        path: A real path, links followed.
    """
    found = []
    for container in engine.containers():
        inside = _path_in(engine, container, path) if container.is_running else None
        if inside is not None:
            found.append(User(container, inside))
    return tuple(found)


def _path_in(engine: Engine, container: Container, path: Path) -> str | None:
    for mount in container.mounts:
        folder = mount.source
        volume = engine.volume(mount.name) if mount.type == "volume" and mount.name else None
        if volume is not None:
            try:
                folder = _root_of(volume)
            except LitekeepError:
                continue  # of another machine, so not where the file lies
        real = os.path.realpath(folder)
        if folder and is_below(str(path), real):
            return posixpath.normpath(
                posixpath.join(mount.destination, os.path.relpath(path, real))
            )
    return None


def _volume(engine: Engine, address: DockerName) -> Volume:
    volume = engine.volume(address.holder)
    if volume is not None:
        return volume
    volumes = engine.volumes()
    names = [each.name for each in volumes]
    of_compose = [each.name for each in volumes if each.label == address.holder]
    near = of_compose or difflib.get_close_matches(address.holder, names, 1, 0.6)
    if near:
        hint = " or ".join(f"docker:{name}/{address.path}" for name in near[:3])
        hint = f"Did you mean {hint}?"
    elif engine.container(address.holder) is not None:
        hint = (
            f"{address.holder} is a container: write docker:{address.holder}:/path/in/it, or "
            "name the volume."
        )
    else:
        hint = f"There are: {listed(names)}." if names else "It has no volumes."
    raise NotFound(
        f"the engine at {engine.address} has no volume {address.holder!r}",
        hint=hint + _elsewhere(engine),
    )


def _in_container(engine: Engine, address: DockerName) -> tuple[str, str]:
    """Return the folder that is mounted where the path leads, and the rest of the path."""
    mount = _mount_of(_container(engine, address), address)
    rest = posixpath.relpath(address.path, mount.destination)
    if mount.type == "tmpfs":
        raise UserError(
            f"{address} lies in memory (tmpfs) and is lost when the container stops",
            hint="Keep the database in a volume.",
        )
    volume = engine.volume(mount.name) if mount.type == "volume" and mount.name else None
    if volume is not None:
        return _root_of(volume), rest
    if rest == ".":
        raise UnsafeFileSystem(
            f"{address} is a file bound alone into the container: its -wal and -journal lie in "
            "the container, and a file put in its place is not seen there",
            hint="Bind the folder that holds it, or use a volume, in place of the single file.",
        )
    return mount.source, rest


def _container(engine: Engine, address: DockerName) -> Container:
    container = engine.container(address.holder)
    if container is not None:
        return container
    containers = engine.containers()
    of_service = [each for each in containers if each.service == address.holder]
    running = [each for each in of_service if each.is_running] or of_service
    if len(running) == 1:
        return running[0]
    if running:
        raise UserError(
            f"the service {address.holder!r} has several containers",
            hint=f"Name one: {listed([each.name for each in running])}; or the volume.",
        )
    names = [each.name for each in containers]
    near = difflib.get_close_matches(address.holder, names, 1, 0.6)
    if near:
        hint = f"Did you mean {near[0]}?"
    elif engine.volume(address.holder) is not None:
        hint = f"{address.holder} is a volume: write docker:{address.holder}/FILE."
    else:
        hint = f"There are: {listed(names)}." if names else "It has no containers."
    raise NotFound(
        f"the engine at {engine.address} has no container {address.holder!r}",
        hint=hint + _elsewhere(engine),
    )


def _mount_of(container: Container, address: DockerName) -> Mount:
    found = [each for each in container.mounts if is_below(address.path, each.destination)]
    if not found:
        mounted = [each.destination for each in container.mounts]
        raise UserError(
            f"{address} is in no volume: what the container itself holds is lost with it",
            hint="Keep the database in a volume. "
            + (f"Mounted there: {listed(mounted)}." if mounted else "The container has none."),
        )
    return max(found, key=lambda each: len(each.destination))


def _root_of(volume: Volume) -> str:
    """Return the folder of a volume on this machine."""
    if volume.driver != LOCAL_DRIVER:
        raise UnsafeFileSystem(
            f"the volume {volume.name} is kept by the driver {volume.driver!r}, maybe on another "
            "machine",
            hint="Run Litekeep on the machine that holds the files, with their path.",
        )
    kind, options = volume.options.get("type", ""), volume.options.get("o", "").split(",")
    if kind in _NETWORK_TYPES or any(each.startswith("addr=") for each in options):
        raise UnsafeFileSystem(
            f"the volume {volume.name} lies on a network file system ({kind or 'with addr='}), "
            "where SQLite's locks and shared memory do not work between machines",
            hint="Run Litekeep on the machine that holds the disk, with the path of the file.",
        )
    if kind in _MEMORY_TYPES:
        raise UserError(
            f"the volume {volume.name} lies in memory ({kind}) and is lost when its containers "
            "stop",
            hint="Keep the database in another volume.",
        )
    if kind not in _BIND_TYPES:
        raise UnsafeFileSystem(
            f"the volume {volume.name} is a file system of its own ({kind}), which is there only "
            "while a container uses it",
            hint="Mount it on the host, bind a folder of it into the container, and give the "
            "path of the file.",
        )
    # The engine mounts a bound folder while a container uses the volume, and not longer.
    return volume.options.get("device") or volume.folder


def _inside(engine: Engine, address: DockerName, root: str, rest: str) -> Path:
    """Return the real path of a file in the folder *root*, which it may not leave."""
    try:
        is_there = is_folder(Path(root))
        real_root = os.path.realpath(root)
        path = os.path.realpath(os.path.join(real_root, rest))
        exists(Path(path))
    except LitekeepError as error:
        raise DatabaseUnusable(
            f"{address} lies in {root}, which user id {os.geteuid()} may not enter",
            hint="Run this as root: the folders of volumes are closed to others, also to those "
            "who may use the engine.",
        ) from error
    if not is_there:
        raise DatabaseUnusable(
            f"the engine at {engine.address} says that {address} lies in {root}, and there is no "
            "such folder here",
            hint="Run Litekeep on the engine's own machine; in a container, mount the volume and "
            "give the path of the file.",
        )
    if not is_below(path, real_root):
        raise UserError(
            f"{address} leads out of its volume, by a link to {path}",
            hint="Name the volume or the path that the link leads to.",
        )
    return Path(path)


def _elsewhere(engine: Engine) -> str:
    others = other_engines(engine.address)
    if not others:
        return ""
    return f" Each engine knows only its own; others are here, for DOCKER_HOST: {listed(others)}."


def _names_in(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
