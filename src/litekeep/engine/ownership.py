"""
Whose a restored file is: the owner, mode and extended attributes of the one before it.

Where there was none, and root restores, it is the folder's owner: an application that runs
as somebody else could not write to a file of root's.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import BinaryIO

from litekeep import faults
from litekeep.engine import events

NEW_FILE_MODE = 0o644


def adopt_ownership(file: BinaryIO, path: Path, target: Path, report: events.Report) -> None:
    """Give the new file the old one's owner, mode and extended attributes."""
    try:
        old = target.stat()
    except FileNotFoundError:
        if os.geteuid() == 0:
            folder = target.parent.stat()
            os.fchown(file.fileno(), folder.st_uid, folder.st_gid)
        os.fchmod(file.fileno(), NEW_FILE_MODE & ~_umask())
        return
    faults.reach("chown restored")
    lost = _chown(file.fileno(), old)
    if lost:
        report(
            events.Warned(
                f"{target} will belong to {' and '.join(lost)}",
                "Run this as root, or chown the file before the application starts.",
            )
        )
    os.fchmod(file.fileno(), old.st_mode & 0o7777)
    if hasattr(os, "listxattr"):  # Linux: SELinux labels, ACLs
        for name in os.listxattr(target):
            with contextlib.suppress(OSError):
                os.setxattr(path, name, os.getxattr(target, name))


def _chown(descriptor: int, old: os.stat_result) -> list[str]:
    """Give owner and group, or the group alone; say what could not be given."""
    for user in (old.st_uid, -1):
        with contextlib.suppress(PermissionError):
            os.fchown(descriptor, user, old.st_gid)
            break
    new = os.fstat(descriptor)
    lost = []
    if new.st_uid != old.st_uid:
        lost.append(f"user {new.st_uid} instead of {old.st_uid}")
    if new.st_gid != old.st_gid:
        lost.append(f"group {new.st_gid} instead of {old.st_gid}")
    return lost


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
