"""
The intent: what a swap is about to do, written down so that a kill can be mended.

    <target>.restoring        a file of JSON, there while a swap is under way
    <target>.restoring.db     the new file, where several names must change (`replace.py`)

It says which file is replaced by which, under which undo name the old one is kept, whether
the user wants to keep it, and what the headers say of the journal mode (`sqlite/mode.py`),
which may differ from that for the time of the swap.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from litekeep import faults
from litekeep.errors import DatabaseUnusable, UserError
from litekeep.store.files import fsync_folder
from litekeep.store.temporary import temporary_file

INTENT_SUFFIX = ".restoring"
PREPARED_SUFFIX = ".restoring.db"
_SIZE_MAX = 64 * 1024


@dataclass(frozen=True, slots=True)
class Mark:
    """
    By what a file is known again under any name.

    `versions` are the two bytes of its header in hex digits where it is in WAL mode, and may
    be set to rollback; else None.
    """

    device: int
    inode: int
    versions: str | None

    def is_at(self, path: Path) -> bool:
        """Say whether the file lies at *path*."""
        try:
            status = path.stat()
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == (self.device, self.inode)


@dataclass(frozen=True, slots=True)
class Intent:
    """What is replaced, and by what; `undo` is a name of the same folder."""

    old: Mark
    new: Mark
    undo: str
    keeps_undo: bool


def refuse_pending(target: Path) -> None:
    """
    Raise if a swap over *target* was cut short and the target is not whole meanwhile.

    Where only the intent is left, the target is the whole old or the whole new database.

    Raises:
        DatabaseUnusable: It was.
    """
    if intent_of(target).exists() and prepared_of(target).exists():
        raise DatabaseUnusable(
            f"a restore of {target} was cut short",
            hint="Run litekeep restore again: it completes the first one before its own.",
        )


def intent_of(target: Path) -> Path:
    """Return the name of the intent."""
    return target.with_name(target.name + INTENT_SUFFIX)


def prepared_of(target: Path) -> Path:
    """Return the name of the new file, where several names must change."""
    return target.with_name(target.name + PREPARED_SUFFIX)


def write(intent: Intent, target: Path) -> None:
    """Write the intent, whole and durable."""
    with temporary_file(target.parent) as (temporary, file):
        faults.reach("write intent")
        file.write(json.dumps(asdict(intent)).encode())
        faults.reach("fsync intent")
        os.fsync(file.fileno())
        faults.reach("rename intent")
        temporary.replace(intent_of(target))
    fsync_folder(target.parent)


def forget(target: Path) -> None:
    """Remove the intent: all is done, or as it was."""
    faults.reach("unlink intent")
    intent_of(target).unlink(missing_ok=True)
    fsync_folder(target.parent)


def read(target: Path) -> Intent | None:
    """
    Return the intent, None where there is none.

    Raises:
        UserError: It is not one of ours.
    """
    path = intent_of(target)
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(_SIZE_MAX))
        undo = str(found["undo"])
        if not undo.startswith(target.name) or "/" in undo:
            raise ValueError("it names no undo copy of this target")
        return Intent(_mark(found["old"]), _mark(found["new"]), undo, bool(found["keeps_undo"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not readable", hint="Remove it, then restore again.") from error


def _mark(found: dict[str, Any]) -> Mark:
    versions = found["versions"]
    if versions is not None and len(bytes.fromhex(versions)) != 2:
        raise ValueError("it holds no two bytes of a header")
    return Mark(int(found["device"]), int(found["inode"]), versions)
