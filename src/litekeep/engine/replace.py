"""
One file in the place of another, in steps that a kill may part.

Both ways have the same last steps; what comes before depends on whether SQLite could
bring the old file to rest.

    The old file is at rest and locked       It cannot be read (`replace_unreadable`)
    (`replace_settled`)

    a  lock the new file                     link it to <target>.restoring.db, lock it
    b  write the intent                      link the old file and its sidecars to
    c  link the old file to its undo         undo names; then write the intent
       name; unlink its sidecars, which      unlink those sidecars
       are empty or unneeded by now
    d  set the old header to rollback, where it names WAL: `sqlite/mode.py`
    e  rename the new file over the target   *the* moment
    f  look who has the old file open, or    nobody: done, and the caller lets go of the
       has made a sidecar meanwhile          locks.  Somebody: the old file gets its name,
                                             its header and its sidecars back; we refuse
    g  set the header of the undo copy       `conclude`
       back; remove it if nobody wants it;
       unlink the intent

A kill before e leaves the old file, and a kill after e the new one.  What is left to do is
known from the intent (`complete.py`).  In between

- the old file at rest may be left in a rollback mode: whole and usable, by SQLite's
  slower way, until the next run sets it back
- so may the new database, if we were taking it back at f
- the old file that could not be read may be left without its sidecars, which have their
  undo names by then: the next run goes on from there

After e nothing is removed by name, so what an application makes the moment it sees the new
file is safe.

Why d and f: an application that opened the old file before e waits for our locks.  It gets
them in the end, or when we are killed, and in WAL mode would write its commits to
`<target>-wal`: by name, so into the log of the *new* file, which they would damage.  With
the header in rollback mode SQLite refuses it, unless a log lies under that name already:
it is used whatever the header says.  So after a kill between e and f one case is left, that
another application has begun a log of the new file before this one takes its turn.

The header of a file that is encrypted as a whole, or that this user may not write to,
cannot be set: there only our locks and f are in the way, and a kill between e and f is not
guarded against.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from litekeep import faults
from litekeep.engine import intent as intents
from litekeep.engine.in_use import in_use, is_open_unseen, seen
from litekeep.engine.intent import Intent, Mark, prepared_of
from litekeep.engine.undo import (
    drop_second_names,
    is_kept,
    link,
    put_away,
    put_sidecars_back,
    remove_undo,
    sidecars,
    undo_of,
)
from litekeep.errors import DatabaseBusy, StoreError
from litekeep.sqlite.mode import ROLLBACK, set_versions, spoil, wal_versions
from litekeep.sqlite.settle import barred
from litekeep.store.files import fsync_folder


@dataclass(frozen=True, slots=True)
class Replacement:
    """
    What is put where.

    `ready` is the new file's name, `new` that file open; `old` is the file at `target`,
    open to write where this user may; `undo` is the name that it gets.
    """

    target: Path
    ready: Path
    new: BinaryIO
    old: BinaryIO
    undo: Path
    keeps_undo: bool

    def intent(self) -> Intent:
        """Return what `complete` has to know."""
        return Intent(_mark(self.old), _mark(self.new), self.undo.name, self.keeps_undo)


def open_for_locks(path: Path) -> BinaryIO:
    """Open to write, or where this user may not, to read."""
    try:
        return path.open("r+b", buffering=0)
    except PermissionError:
        return path.open("rb", buffering=0)


def replace_settled(job: Replacement) -> Intent:
    """
    Do steps a to f over a database that is locked and at rest.

    Raises:
        DatabaseBusy: Somebody opened the old file meanwhile; it is in its place.
    """
    intent = job.intent()
    with barred(job.new):
        try:
            intents.write(intent, job.target)
            _keep(job, (job.target,))
            for sidecar in sidecars(job.target):
                put_away(sidecar, undo_of(sidecar, job.target, job.undo))
            fsync_folder(job.target.parent)
            _exchange(job, intent)
        except BaseException:
            go_back(job, intent)
            raise
    return intent


def replace_unreadable(job: Replacement) -> Intent:
    """
    Do steps a to f over a file that SQLite cannot bring to rest.

    Raises:
        DatabaseBusy: Somebody uses the old file, or another restore is at it.
    """
    intent = job.intent()
    prepared = prepared_of(job.target)
    _prepare(job.ready, prepared)
    try:
        with barred(job.new):
            _keep(job, (job.target, *sidecars(job.target)))
            intents.write(intent, job.target)
            put_in_place(_renamed(job, prepared), intent)
    except BaseException:
        go_back(job, intent)
        raise
    return intent


def put_in_place(job: Replacement, intent: Intent) -> None:
    """
    Do steps c to f of a file that SQLite cannot bring to rest; may be done again.

    Raises:
        DatabaseBusy: Somebody uses the old file.
    """
    is_kept_all = job.undo.exists()  # not where there are no links
    for sidecar in sidecars(job.target):
        undo = undo_of(sidecar, job.target, job.undo)
        if is_kept_all and not is_kept(sidecar, undo):
            raise _appeared(job.target, sidecar)
        put_away(sidecar, undo)
    fsync_folder(job.target.parent)
    _exchange(job, intent)


def conclude(target: Path, intent: Intent, *, assume_stopped: bool) -> None:
    """
    Do step g, once the locks are let go.

    Raises:
        DatabaseBusy: The old file is in use by somebody who cannot be seen from here; the
            new one is in place.
    """
    undo = target.with_name(intent.undo)
    if intent.old.is_at(undo):
        if not assume_stopped and is_open_unseen(undo):
            raise DatabaseBusy(
                f"{target} is restored, but a process that cannot be seen from here has the old "
                f"file open, {undo.name}",
                hint="End what used the database before: it works on the old file still.",
            )
        give_versions_back(undo, intent.old)
        if not intent.keeps_undo and intent.new.is_at(target):
            remove_undo(undo)
    intents.forget(target)


def give_versions_back(path: Path, mark: Mark) -> None:
    """Let the header at *path*, the marked file's, name the journal mode that it named before."""
    if mark.versions is None:
        return
    with path.open("r+b", buffering=0) as file, barred(file):
        set_versions(file, bytes.fromhex(mark.versions))
        os.fsync(file.fileno())


def abandon(target: Path, intent: Intent) -> None:
    """Leave the old file as it was, its header apart, and forget what was begun."""
    put_sidecars_back(target, target.with_name(intent.undo))
    prepared = prepared_of(target)
    if prepared.exists():
        faults.reach("unlink ready")
        prepared.unlink()
    drop_second_names(target)
    intents.forget(target)


def _mark(file: BinaryIO) -> Mark:
    status = os.fstat(file.fileno())
    versions = wal_versions(file) if file.writable() else None
    return Mark(status.st_dev, status.st_ino, versions.hex() if versions else None)


def _renamed(job: Replacement, ready: Path) -> Replacement:
    return Replacement(job.target, ready, job.new, job.old, job.undo, job.keeps_undo)


def go_back(job: Replacement, intent: Intent) -> None:
    """Go back, if the old file is in its place; what fails now is left to the next run."""
    with suppress(OSError):
        if not intent.old.is_at(job.target):
            return
        if intent.old.versions is not None:
            set_versions(job.old, bytes.fromhex(intent.old.versions))
        abandon(job.target, intent)


def _keep(job: Replacement, paths: tuple[Path, ...]) -> None:
    """Give *paths* their undo names, which also serve to take the old file back."""
    try:
        for path in paths:
            link(path, undo_of(path, job.target, job.undo))
    except StoreError:
        if job.keeps_undo:
            raise
    fsync_folder(job.target.parent)


def _prepare(ready: Path, prepared: Path) -> None:
    """Give the new file the name that `complete` looks for; its own is removed by its owner."""
    faults.reach("link ready")
    try:
        os.link(ready, prepared)
    except FileExistsError as error:
        raise DatabaseBusy("another restore is running", hint="Wait for it.") from error
    except OSError:  # no links on this file system
        if prepared.exists():
            raise
        ready.rename(prepared)


def _exchange(job: Replacement, intent: Intent) -> None:
    """Steps d to f."""
    if intent.old.versions is not None:
        set_versions(job.old, ROLLBACK)
    faults.reach("rename target")
    job.ready.replace(job.target)
    fsync_folder(job.target.parent)
    if not intent.old.is_at(job.undo):
        return  # no links, and the user wants no undo copy: nothing can be taken back
    found, appeared = seen(job.undo), sidecars(job.target)
    if found or appeared:
        _take_back(job)
        if found:
            raise in_use(job.target, found, "was opened meanwhile")
        raise _appeared(job.target, appeared[0])


def _take_back(job: Replacement) -> None:
    """Give the old file its name again; who opened the new one meanwhile gets an error."""
    set_versions(job.new, ROLLBACK)  # as step d: now this one loses the name
    faults.reach("rename undo")
    job.undo.replace(job.target)
    fsync_folder(job.target.parent)
    spoil(job.new)


def _appeared(target: Path, sidecar: Path) -> DatabaseBusy:
    return DatabaseBusy(
        f"{sidecar.name} appeared meanwhile: somebody uses {target}",
        hint="Stop it, then restore again; nothing was changed.",
    )
