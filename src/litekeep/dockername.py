"""
How a database in Docker is written.

    docker:VOLUME/FILE               a file in a named volume
    docker:CONTAINER:/path/in/it     a file as a container sees it

Where on this machine that is, the engine knows: `host/docker.py`.
"""

from __future__ import annotations

import os
import posixpath
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from litekeep.errors import UserError

SCHEME = "docker:"

#: What Docker and Podman allow, and no more.
_HOLDER = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]*)([/:])(.*)", re.DOTALL)
_LENGTH_MAX = 4096


@dataclass(frozen=True, slots=True)
class DockerName:
    """A database in a volume, or as the container *holder* sees it if *path* is absolute."""

    holder: str
    path: str

    @property
    def is_in_container(self) -> bool:
        """Whether a container is named, and no volume."""
        return self.path.startswith("/")

    @property
    def stem(self) -> str:
        """The file's name without its suffix."""
        return PurePosixPath(self.path).stem

    def __str__(self) -> str:
        return f"{SCHEME}{self.holder}{':' if self.is_in_container else '/'}{self.path}"


#: A database as the user names it: a file of this machine, or one in Docker.
Address = Path | DockerName


def is_docker(text: str) -> bool:
    """
    Say whether *text* means a database in Docker, well written or not.

    >>> is_docker("docker:volume/app.db"), is_docker("docker/app.db")
    (True, False)
    """
    return text.startswith(SCHEME)


def address_of(text: str | os.PathLike[str]) -> Address:
    """
    Return the address that *text* is.

    Raises:
        UserError: It begins as one in Docker and is none.
    """
    written = os.fspath(text)
    return parse_docker(written) if is_docker(written) else Path(text)


def parse_docker(text: str) -> DockerName:
    """
    Return what *text* names.

    >>> parse_docker("docker:manual_instance/manual_generator.db")
    DockerName(holder='manual_instance', path='manual_generator.db')
    >>> str(parse_docker("docker:app:/srv/./data/app.db"))
    'docker:app:/srv/data/app.db'

    Raises:
        UserError: Nothing can be called so.
    """
    found = _HOLDER.fullmatch(text.removeprefix(SCHEME))
    path = found[3] if found else ""
    is_in_container = found is not None and found[2] == ":"
    if (
        found is None
        or path.startswith("/") != is_in_container
        or path.endswith("/")
        or not path.isprintable()
        or len(path) > _LENGTH_MAX
        or not set(path.split("/")) - {"", "."}
        or ".." in path.split("/")
    ):
        raise UserError(
            f"{text!r} names no database in Docker",
            hint="Write docker:VOLUME/FILE for a file in a volume, or "
            "docker:CONTAINER:/path/in/it for a file as a container sees it.",
        )
    return DockerName(found[1], posixpath.normpath(path))
