"""
Writing a file of text whole or not at all, and never over something precious.

A flag that allows a file to be replaced means the file that the user thinks of.  A slip of
the hand must not cost a database, what SQLite keeps beside it, or an object of a store.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path
from typing import BinaryIO

from litekeep import faults
from litekeep.codec.formats import CODECS
from litekeep.engine.undo import SIDECARS
from litekeep.errors import NotFound, StoreError, TargetExists, UserError
from litekeep.paths import exists, full_path, is_file, is_folder
from litekeep.repository.layout import LATEST, parse_object
from litekeep.repository.manifest import ID_KEY
from litekeep.sqlite.header import MAGIC
from litekeep.sqlite.live import refuse_odd
from litekeep.store.directory import DirectoryStore
from litekeep.store.files import fsync_folder, translated
from litekeep.store.temporary import temporary_file

_LATEST_COMPRESSED = {f"{LATEST}{codec.suffix}" for codec in CODECS if codec.suffix}


def refuse_target(target: Path, *, sources: tuple[Path, ...] = ()) -> None:
    """
    Raise if text must not be written to *target*, whatever flag is given.

    Args:
        target: Where to.

        sources: Files that the text is made of.

    Raises:
        NotFound: There is no folder for it.

        UserError: It is a database or belongs to one, or an object of a store, or one of
            *sources*, or no file at all.
    """
    if not is_folder(target.parent):
        raise NotFound(f"no folder at {target.parent}", hint="Make it first, or check the path.")
    if not exists(target):
        return
    if not is_file(target):
        raise UserError(f"{target} is no file", hint="Give the path of a file.")
    refuse_stored(target)
    is_source = any(exists(source) and target.samefile(source) for source in sources)
    if is_source or _is_of_database(target):
        raise UserError(
            f"{target} is a database or belongs to one, and is not overwritten",
            hint="Give another path with --output.",
        )


def database_target(target: Path) -> Path:
    """
    Return the path of the file itself that a database is to be restored to, links followed.

    Raises:
        NotADatabase: It can never be one.
    """
    real = os.path.realpath(full_path(target))
    refuse_odd(real, target)
    return Path(real)


def refuse_stored(target: Path) -> None:
    """
    Raise if *target* is an object of a store: its store would be damaged.

    Raises:
        UserError: It is.
    """
    if is_file(target) and _is_stored(target):
        raise UserError(
            f"{target} is an object of a store, and is not overwritten",
            hint="Give another path with --output.",
        )


def _is_stored(target: Path) -> bool:
    parsed = parse_object(target.name, UTC)
    if parsed is not None and (parsed.companion or parsed.codec.suffix):
        return True
    if target.name in _LATEST_COMPRESSED:
        return True
    with contextlib.suppress(StoreError):  # a name that no store of ours would take
        return ID_KEY in DirectoryStore(target.parent).head(target.name).metadata
    return False


@contextlib.contextmanager
def whole_file(target: Path, *, replaces: bool) -> Iterator[BinaryIO]:
    """
    Open a temporary file that becomes *target* at the end; by an error it leaves no trace.

    The file is readable by its owner alone.

    Raises:
        TargetExists: *target* is there, and *replaces* is not given.

        StoreError: It cannot be written.
    """
    real = Path(os.path.realpath(target))
    with translated(real), temporary_file(real.parent) as (path, file):
        yield file
        faults.reach(f"fsync {real.name}")
        os.fsync(file.fileno())
        if not replaces and exists(real):
            raise TargetExists(f"{target} exists", hint="Choose another path with --output.")
        faults.reach(f"rename {real.name}")
        path.replace(real)
        fsync_folder(real.parent)


def _is_of_database(target: Path) -> bool:
    """
    Whether *target* is a database, or a log or journal beside one.

    It is opened for an instant, which drops the locks of this process on it: nothing of
    ours may have it open.
    """
    with translated(target), target.open("rb", buffering=0) as file:
        if file.read(len(MAGIC)) == MAGIC:
            return True
    return any(
        target.name.endswith(suffix) and is_file(Path(str(target).removesuffix(suffix)))
        for suffix in SIDECARS
    )
