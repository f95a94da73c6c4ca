"""
Whether anybody else has a file open, asked of the kernel and not of /proc.

A write lease is granted only while nobody else has the file open or mapped: no process of
any user, in any container, as long as it runs under this kernel.  It is given back at once,
and who opens the file in that instant waits for it.

Only the file's owner and root (CAP_LEASE) may ask.  Of other machines that share a network
file system it knows nothing.  See fcntl(2), "Leases".
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from pathlib import Path


def is_open_elsewhere(path: Path) -> bool | None:
    """
    Say whether the regular file at *path* is open anywhere.

    This process may neither have it open nor hold locks on it: it opens and closes the file,
    which drops them all (POSIX).

    Returns:
        None where it cannot be known: not the owner, or no leases on this file system.
    """
    if not hasattr(fcntl, "F_SETLEASE"):  # macOS
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        # Who opens the file meanwhile makes the kernel send a signal: by default SIGIO, which
        # ends the process; this one is ignored.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    finally:
        os.close(descriptor)
    return False
