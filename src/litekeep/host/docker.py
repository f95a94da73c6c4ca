"""
The container engine of this machine: Docker, or Podman, which speaks the same.

It is reached by its socket, for only a socket of this machine says that the folders
which the engine names are folders here:

    $DOCKER_HOST, if set
    /var/run/docker.sock, /run/podman/podman.sock
    $XDG_RUNTIME_DIR/docker.sock, $XDG_RUNTIME_DIR/podman/podman.sock

This is the only module that imports the SDK.  What the engine answers is read with
care: every refusal of its, and an engine that stops answering, is one error of ours.
"""

from __future__ import annotations

import contextlib
import grp
import os
import socket
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from litekeep.errors import DatabaseUnusable, LitekeepError, MissingExtra, NotFound, UserError

SOCKETS = (Path("/var/run/docker.sock"), Path("/run/podman/podman.sock"))
#: The same in a user's own folder, $XDG_RUNTIME_DIR.
SOCKETS_OF_USER = (Path("docker.sock"), Path("podman/podman.sock"))
RUNTIME_FOLDERS = Path("/run/user")

ANSWER_SECONDS_MAX = 60
_STOP_SECONDS_DEFAULT = 10
_LISTED_MAX = 8
#: What a shell and an engine answer where there is no such program.
_NO_PROGRAM = (126, 127)

SERVICE_LABEL = "com.docker.compose.service"
VOLUME_LABEL = "com.docker.compose.volume"
PROJECT_LABEL = "com.docker.compose.project"
FOLDER_LABEL = "com.docker.compose.project.working_dir"
SWARM_LABEL = "com.docker.swarm.service.name"


@dataclass(frozen=True, slots=True)
class Mount:
    """Something mounted into a container; `source` is a path of the engine's machine."""

    type: str
    name: str
    source: str
    destination: str


@dataclass(frozen=True, slots=True)
class Container:
    """
    A container.

    `service` is what Compose calls it, in `project`, whose files lie in `folder`; `swarm` the
    Swarm's service that would start it again; `is_removed_at_end` says that it was started
    with ``--rm``; `state` is the engine's word, or its health check's where that fails.
    """

    id: str
    name: str
    service: str
    project: str
    swarm: str
    is_running: bool
    is_removed_at_end: bool
    stop_seconds: int
    mounts: tuple[Mount, ...]
    state: str
    folder: str

    def __str__(self) -> str:
        service = f" (service {self.service})" if self.service not in ("", self.name) else ""
        return f"{self.name}{service}"


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume, as the engine describes it; `label` is what a Compose file calls it."""

    name: str
    driver: str
    folder: str
    options: Mapping[str, str]
    label: str


class Engine:
    """A connection to an engine: see `connected`."""

    def __init__(self, address: str, client: Any) -> None:
        self.address = address
        self._client = client

    def volume(self, name: str) -> Volume | None:
        """Return the volume of this name."""
        with _translated(self.address):
            return _volume(_or_none(self._client.api.inspect_volume, name))

    def volumes(self) -> tuple[Volume, ...]:
        """Return all volumes."""
        with _translated(self.address):
            found = self._client.api.volumes().get("Volumes") or ()
        return tuple(made for attrs in found if (made := _volume(attrs)))

    def container(self, name: str) -> Container | None:
        """Return the container of this name or id."""
        with _translated(self.address):
            return _container(_or_none(self._client.api.inspect_container, name))

    def containers(self) -> tuple[Container, ...]:
        """Return all containers, also those that do not run."""
        with _translated(self.address):
            found = [item["Id"] for item in self._client.api.containers(all=True)]
        # One that is removed meanwhile is none.
        return tuple(made for each in found if (made := self.container(each)))

    def stop(self, container: Container) -> None:
        """Stop a container, in the time that it may take for that."""
        with _translated(self.address):
            self._client.api.stop(container.id, timeout=container.stop_seconds)

    def start(self, container: Container) -> None:
        """Start a container that was stopped."""
        with _translated(self.address):
            self._client.api.start(container.id)

    def run_in(self, container: Container, command: Sequence[str]) -> tuple[int, str] | None:
        """
        Run *command* in a container; return its exit code and output.

        Returns:
            None where the container does not run, or has no such program.
        """
        import docker

        with _translated(self.address):
            try:
                created = self._client.api.exec_create(container.id, list(command))
                output = self._client.api.exec_start(created["Id"])
            except docker.errors.APIError as error:
                if error.status_code is not None and error.status_code >= 400:
                    return None
                raise
            code = self._client.api.exec_inspect(created["Id"])["ExitCode"]
        if code is None or code in _NO_PROGRAM:
            return None
        return int(code), output.decode(errors="replace")


@contextlib.contextmanager
def connected(environ: Mapping[str, str] | None = None) -> Iterator[Engine]:
    """
    Connect to the engine of this machine.

    Raises:
        MissingExtra: The SDK is not installed.

        DatabaseUnusable: No engine answers, or it may not be asked.
    """
    try:
        import docker
    except ImportError as error:
        raise MissingExtra(
            "databases in Docker need a part of Litekeep that is not installed",
            hint="Install it with the pip of Litekeep's environment: pip install docker.",
        ) from error
    address = f"unix://{_socket(os.environ if environ is None else environ)}"
    with _translated(address):
        client = docker.DockerClient(base_url=address, timeout=ANSWER_SECONDS_MAX)
    with contextlib.closing(client):
        yield Engine(address, client)


def other_engines(address: str, *, folder: Path = RUNTIME_FOLDERS) -> tuple[str, ...]:
    """Return the addresses of engines that users of this machine run for themselves."""
    places = [*SOCKETS]
    with contextlib.suppress(OSError):
        places += [
            Path(folder, user, each) for user in os.listdir(folder) for each in SOCKETS_OF_USER
        ]
    found = (f"unix://{path}" for path in places if _is_socket(path))
    return tuple(sorted({each for each in found if each != address}))


def listed(names: Sequence[str]) -> str:
    """Return names for a person, not too many."""
    shown = ", ".join(sorted(names)[:_LISTED_MAX])
    return f"{shown} and {len(names) - _LISTED_MAX} more" if len(names) > _LISTED_MAX else shown


def _socket(environ: Mapping[str, str]) -> Path:
    """Return the socket of an engine that answers."""
    if host := environ.get("DOCKER_HOST"):
        if not host.startswith("unix://"):
            raise UserError(
                f"the engine at {host} is reached over a network, and its volumes may lie on "
                "another machine",
                hint="Run Litekeep on the engine's own machine, with its socket: "
                "DOCKER_HOST=unix:///var/run/docker.sock.",
            )
        places = [Path(host.removeprefix("unix://"))]
    else:
        places = [*SOCKETS]
        if folder := environ.get("XDG_RUNTIME_DIR"):
            places += [Path(folder, each) for each in SOCKETS_OF_USER]
    refusals: list[DatabaseUnusable] = []
    for path in places:
        try:
            _knock(path)
        except DatabaseUnusable as error:
            if _is_socket(path) or len(places) == 1:
                refusals.append(error)
        else:
            return path
    if refusals:
        raise refusals[0]
    raise DatabaseUnusable(
        f"no container engine is here: none of {', '.join(map(str, places))} is there",
        hint="Start it (systemctl start docker), or name its socket: "
        "DOCKER_HOST=unix:///path/of/docker.sock.",
    )


def _knock(path: Path) -> None:
    """Raise if nobody answers at a socket, with what is wrong there."""
    try:
        with socket.socket(socket.AF_UNIX) as knocking:
            knocking.settimeout(ANSWER_SECONDS_MAX)
            knocking.connect(str(path))
    except PermissionError as error:
        raise DatabaseUnusable(
            f"user id {os.geteuid()} may not use the socket of the container engine, {path}",
            hint=f"Run this as root{_group_of(path)}.",
        ) from error
    except OSError as error:
        reason = os.strerror(error.errno).lower() if error.errno else str(error)
        raise DatabaseUnusable(
            f"the container engine is down: nobody answers at {path} ({reason})",
            hint="Start it (systemctl start docker), or name another socket with DOCKER_HOST.",
        ) from error


def _group_of(path: Path) -> str:
    try:
        status = path.stat()
        group = grp.getgrgid(status.st_gid).gr_name
    except (OSError, KeyError):
        return ""
    if status.st_gid == 0 or not status.st_mode & stat.S_IWGRP:
        return ""
    return f", or as a member of the group {group}"


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.stat().st_mode)
    except PermissionError:
        return True
    except OSError:
        return False


@contextlib.contextmanager
def _translated(address: str) -> Iterator[None]:
    import docker

    try:
        yield
    except LitekeepError:
        raise
    except docker.errors.NotFound as error:
        raise NotFound(f"gone meanwhile: {error.explanation}", hint="Try again.") from error
    except docker.errors.APIError as error:
        raise DatabaseUnusable(
            f"the engine at {address} refused: {error.explanation or error}",
            hint="See what the engine says: docker info, journalctl -u docker.",
        ) from error
    except (OSError, docker.errors.DockerException) as error:
        # The SDK's own errors, and those of the client of HTTP under it, which are OSError.
        raise DatabaseUnusable(
            f"the engine at {address} does not answer as it should: {error}",
            hint="See whether it works: docker info.",
        ) from error


def _or_none(ask: Any, name: str) -> dict[str, Any] | None:
    import docker

    try:
        answer = ask(name)
    except (docker.errors.NotFound, docker.errors.NullResource):
        return None
    return dict(answer)


def _volume(attrs: Mapping[str, Any] | None) -> Volume | None:
    if attrs is None:
        return None
    return Volume(
        name=attrs["Name"],
        driver=attrs.get("Driver") or "",
        folder=attrs.get("Mountpoint") or "",
        options=attrs.get("Options") or {},
        label=(attrs.get("Labels") or {}).get(VOLUME_LABEL, ""),
    )


def _container(attrs: Mapping[str, Any] | None) -> Container | None:
    if attrs is None:
        return None
    config = attrs.get("Config") or {}
    labels = config.get("Labels") or {}
    return Container(
        id=attrs["Id"],
        name=attrs["Name"].lstrip("/"),
        service=labels.get(SERVICE_LABEL, ""),
        project=labels.get(PROJECT_LABEL, ""),
        swarm=labels.get(SWARM_LABEL, ""),
        is_running=bool((attrs.get("State") or {}).get("Running")),
        is_removed_at_end=bool((attrs.get("HostConfig") or {}).get("AutoRemove")),
        stop_seconds=config.get("StopTimeout") or _STOP_SECONDS_DEFAULT,
        mounts=tuple(_mounts(attrs)),
        state=_state(attrs.get("State") or {}),
        folder=labels.get(FOLDER_LABEL, ""),
    )


def _state(attrs: Mapping[str, Any]) -> str:
    # Podman writes Healthcheck, and both leave it out where there is none.
    health = (attrs.get("Health") or attrs.get("Healthcheck") or {}).get("Status")
    # It stays as it was when the container ends.
    is_unhealthy = attrs.get("Running") and health == "unhealthy"
    return "unhealthy" if is_unhealthy else str(attrs.get("Status") or "unknown")


def _mounts(attrs: Mapping[str, Any]) -> Iterator[Mount]:
    for each in attrs.get("Mounts") or ():
        yield Mount(
            each.get("Type") or "",
            each.get("Name") or "",
            each.get("Source") or "",
            each.get("Destination") or "",
        )
    for place in (attrs.get("HostConfig") or {}).get("Tmpfs") or ():  # of --tmpfs
        yield Mount("tmpfs", "", "", place)
