"""
Whether anybody has a target open, and the refusal if so.

    seen       /proc tells which processes have the target or its sidecars open; also those
               that have a file open that was removed from that name: they still write, and
               remove, logs by name
    unseen     processes of other users, or outside this container: a lease tells whether
               there are any, where this user may ask
    unknown    neither tells, or the file lies where other machines may have it open: then
               the caller must vouch
"""

from __future__ import annotations

from pathlib import Path

from litekeep.engine.undo import SIDECARS
from litekeep.errors import DatabaseBusy
from litekeep.host.filesystems import MOUNTINFO, mount_of
from litekeep.host.leases import is_open_elsewhere
from litekeep.host.processes import Openers, Process, openers
from litekeep.sqlite.live import refuse_if_open_here

_VOUCH = "Stop what uses it, then give --assume-stopped"


def refuse_if_open(
    target: Path, *, assume_stopped: bool = False, mountinfo: Path = MOUNTINFO
) -> None:
    """
    Raise if anybody has the target or its log open, or if that cannot be known.

    This process may hold no locks on the target: see `leases.is_open_elsewhere`.

    Args:
        target: Need not exist.

        assume_stopped: The caller vouches for what cannot be seen.

        mountinfo: Where the system tells about mounts.

    Raises:
        DatabaseBusy: Names the processes.
    """
    if target.exists():
        refuse_if_open_here(str(target), target.stat())
    found = _look(target)
    if assume_stopped or not target.exists():
        return
    mount = mount_of(str(target), mountinfo=mountinfo)
    if mount is not None and mount.is_foreign_kernel:
        raise DatabaseBusy(
            f"{target} lies on {mount.type}: it cannot be seen from here whether another machine "
            "has it open",
            hint=f"{_VOUCH}; or run this on the machine that holds the disk.",
        )
    is_open = is_open_elsewhere(target)
    if is_open:
        raise DatabaseBusy(
            f"{target} is in use by a process that cannot be seen from here",
            hint=f"{_VOUCH} if this is said still; root sees which process it is.",
        )
    if is_open is None and _is_uncertain(found):
        raise DatabaseBusy(
            f"it cannot be seen from here whether a process has {target} open",
            hint=f"{_VOUCH}; or run this as the file's owner or root, outside of the container.",
        )


def refuse_if_seen(target: Path) -> None:
    """
    Raise if a process that can be seen has the target or its log open.

    Raises:
        DatabaseBusy: Names the processes.
    """
    _look(target)


def seen(path: Path) -> tuple[Process, ...]:
    """Return the processes that have the file at *path* or a sidecar of it open."""
    return _openers(path).processes


def is_open_unseen(path: Path, *, mountinfo: Path = MOUNTINFO) -> bool:
    """Say whether it is known that somebody has *path* open; as `refuse_if_open`, no locks."""
    mount = mount_of(str(path), mountinfo=mountinfo)
    if mount is not None and mount.is_foreign_kernel:  # what leases mean there differs
        return False
    return is_open_elsewhere(path) is True


def _look(target: Path) -> Openers:
    found = _openers(target)
    if found.processes:
        raise in_use(target, found.processes)
    return found


def _openers(path: Path) -> Openers:
    return openers(path, *(path.with_name(path.name + suffix) for suffix in SIDECARS))


def in_use(target: Path, processes: tuple[Process, ...], verb: str = "is in use") -> DatabaseBusy:
    """Return the refusal that names *processes*."""
    names = ", ".join(map(str, processes))
    return DatabaseBusy(
        f"{target} {verb} by {names}",
        hint="Stop it, then restore again; nothing was changed.",
    )


def _is_uncertain(found: Openers) -> bool:
    return found.is_confined or not found.is_supported or found.unseen_count > 0
