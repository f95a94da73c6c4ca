"""
Which file system a file lies on, and whether SQLite's locks work there.

A WAL database shares memory between its users through the `-shm` file.  That needs
one kernel: over a network, or between a virtual machine and its host, each side has
a copy of its own, and the database is damaged.

See https://www.sqlite.org/wal.html and proc_pid_mountinfo(5).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

MOUNTINFO = Path("/proc/self/mountinfo")

#: File systems whose other side is another kernel.
FOREIGN_KERNEL = frozenset(
    {
        "9p", "afs", "ceph", "cifs", "fuse.glusterfs", "fuse.osxfs", "fuse.grpcfuse",
        "fuse.rclone", "fuse.s3fs", "fuse.sshfs", "fakeowner", "gfs2", "glusterfs", "lustre",
        "nfs", "nfs4", "ocfs2", "prl_fs", "smb3", "smbfs", "vboxsf", "virtiofs",
    }
)  # fmt: skip

_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """The mount that a file lies on."""

    point: str
    type: str

    @property
    def is_foreign_kernel(self) -> bool:
        """Whether another kernel is on the other side."""
        return self.type in FOREIGN_KERNEL


def mount_of(path: str, *, mountinfo: Path = MOUNTINFO) -> Mount | None:
    """
    Return the mount that the real path *path* lies on, or None where it cannot be known.

    The mount point may be the file itself: Docker can bind a single file.
    """
    try:
        lines = mountinfo.read_text().splitlines()
    except OSError:
        return None
    best: Mount | None = None
    for line in lines:
        left, _, right = line.partition(" - ")
        fields, types = left.split(), right.split()
        if len(fields) < 5 or not types:
            continue
        point = _ESCAPE.sub(lambda match: chr(int(match[1], 8)), fields[4])
        # A later line covers an earlier one at the same point.
        if is_below(path, point) and (best is None or len(point) >= len(best.point)):
            best = Mount(point, types[0])
    return best


def is_below(path: str, point: str) -> bool:
    """
    Say whether *path* is *point* or lies below it.

    >>> is_below("/srv/app.db", "/srv"), is_below("/srv2/app.db", "/srv"), is_below("/a", "/")
    (True, False, True)
    """
    return path == point or path.startswith(point.rstrip("/") + "/") or point == os.sep
