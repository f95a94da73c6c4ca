"""
Files put into a system's folders, and taken away again: a plan first, then the deed.

    make     a folder that is missing           write     a file that is not there yet
    link     a symbolic link                    replace   one of ours that says other things
    keep     nothing: it is as it should be     remove    one of ours

Only what is ours is replaced or removed: a file says so in its first line, and names the
configuration that it was made from in its second.  A file is written whole beside its
place and renamed into it, so a scheduler that looks meanwhile sees the old or the new.
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from litekeep.errors import AccessDenied, NoSpace, StoreError, TargetExists
from litekeep.paths import exists, is_folder

MARK = b"# Written by litekeep install "
_CONFIGURATION = b"# Configuration: "
_HEAD_SIZE_MAX = 64 << 10

Action = Literal["make", "write", "replace", "link", "keep", "remove"]


@dataclass(frozen=True, slots=True)
class Step:
    """
    One thing to do; `text` is what a file shall hold, `target` where a link shall lead.
    """

    action: Action
    path: Path
    text: str = ""
    target: str = ""

    @property
    def is_change(self) -> bool:
        """Whether anything is done at all."""
        return self.action != "keep"


def folder_step(path: Path) -> Step:
    """Plan a folder."""
    return Step("keep" if is_folder(path) else "make", path)


def file_step(path: Path, text: str) -> Step:
    """
    Plan a file.

    Raises:
        TargetExists: One is there that is not ours, or was made for another configuration.
    """
    try:
        found = _read(path)
    except FileNotFoundError:
        return Step("write", path, text)
    if not found.startswith(MARK):
        raise TargetExists(
            f"{path} is there, and was not written by litekeep install",
            hint="Look what it is, and move it away.",
        )
    old, new = configuration_in(found), configuration_in(text.encode())
    if old != new:
        raise TargetExists(
            f"{path} was installed for the configuration {old}",
            hint="List all databases in one configuration, or remove the schedule first: "
            "litekeep uninstall.",
        )
    return Step("keep" if found == text.encode() else "replace", path, text)


def link_step(path: Path, target: str) -> Step:
    """
    Plan a link.

    Raises:
        TargetExists: Something else has its name.
    """
    if path.is_symlink():
        is_same = os.readlink(path) == target
        return Step("keep" if is_same else "link", path, target=target)
    if exists(path):
        raise TargetExists(f"{path} is there, and is no link", hint="Move it away.")
    return Step("link", path, target=target)


def removal_steps(paths: Iterable[Path]) -> tuple[Step, ...]:
    """Plan the removal of those that are there and ours; of links, that lead to ours."""
    return tuple(Step("remove", path) for path in paths if path.is_symlink() or is_ours(path))


def is_ours(path: Path) -> bool:
    """Say whether the file at *path* was written here."""
    try:
        return _read(path).startswith(MARK)
    except FileNotFoundError:
        return False


def configuration_in(data: bytes) -> str:
    """
    Return the configuration that a file of ours was made from.

    >>> configuration_in(b"# Written by litekeep install cron\\n# Configuration: /a.toml\\n")
    '/a.toml'
    """
    lines = [line for line in data.splitlines()[:2] if line.startswith(_CONFIGURATION)]
    return lines[0].removeprefix(_CONFIGURATION).decode(errors="replace") if lines else "?"


def apply(steps: Sequence[Step]) -> None:
    """
    Do what is planned, in this order.

    Raises:
        AccessDenied, NoSpace, StoreError: The file system refused; what was done before stands.
    """
    for step in steps:
        try:
            _do(step)
        except OSError as error:
            raise _translated(error, step.path) from error


def _do(step: Step) -> None:
    path = step.path
    match step.action:
        case "make":
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        case "write" | "replace":
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, step.text)
        case "link":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            path.symlink_to(step.target)
        case "remove":
            path.unlink(missing_ok=True)
            # As systemctl disable does: a folder of links goes with its last one.
            if path.parent.name.endswith(".wants"):
                with contextlib.suppress(OSError):
                    path.parent.rmdir()


def _write(path: Path, text: str) -> None:
    # cron passes over names with a dot, logrotate over those that end in ~, systemd over both.
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix="~")
    temporary = Path(name)
    try:
        with open(descriptor, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD_SIZE_MAX)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _translated(error, path) from error


def _translated(error: OSError, path: Path) -> StoreError:
    message = f"{path}: {os.strerror(error.errno or 0).lower()}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace(message, hint="Free some space.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return AccessDenied(message, hint="Run it as root: sudo.")
    return StoreError(message, hint="Look what is there, and move it away.")
