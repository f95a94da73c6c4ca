"""
What the next run does about a swap that a kill cut short.

    <target>.restoring  .restoring.db   the target is    then
    there               there           the old file     the swap is done, steps c to g
    there               -               the old file     it stays: header, sidecars and name
                                                         are as before
    there               -               another file     the swap was done: step g
    -                   there           the old file     it stays; the new file is removed

The steps are those of `replace.py`.  If somebody has changed what lies at the target
meanwhile, the swap is not done.
"""

from __future__ import annotations

from pathlib import Path

from litekeep import faults
from litekeep.engine import intent as intents
from litekeep.engine.in_use import refuse_if_open
from litekeep.engine.intent import Intent, prepared_of
from litekeep.engine.replace import (
    Replacement,
    abandon,
    conclude,
    give_versions_back,
    go_back,
    open_for_locks,
    put_in_place,
)
from litekeep.engine.undo import drop_second_names, is_kept, sidecars, undo_of
from litekeep.errors import DatabaseBusy
from litekeep.sqlite.settle import barred
from litekeep.store.temporary import lock


def complete_swap(target: Path, *, assume_stopped: bool = False) -> bool:
    """
    Tidy up after a swap that was cut short, and complete it where it was begun.

    Returns:
        Whether the new file is in place.

    Raises:
        DatabaseBusy: Somebody has the target open, or another restore is at it.
    """
    refuse_if_open(target, assume_stopped=assume_stopped)
    intent = intents.read(target)
    if prepared_of(target).exists():
        return _complete_prepared(target, intent, assume_stopped=assume_stopped)
    if intent is None:
        drop_second_names(target)
        return False
    if intent.old.is_at(target):
        give_versions_back(target, intent.old)
        abandon(target, intent)
        return False
    is_in_place = intent.new.is_at(target)
    if is_in_place:
        give_versions_back(target, intent.new)
    conclude(target, intent, assume_stopped=assume_stopped)
    return is_in_place


def _complete_prepared(target: Path, intent: Intent | None, *, assume_stopped: bool) -> bool:
    prepared = prepared_of(target)
    with open_for_locks(prepared) as new:
        if lock(new.fileno(), wait=False) is False:
            raise DatabaseBusy(f"another restore of {target} is running", hint="Wait for it.")
        if intent is None or not _is_current(intent, target):
            faults.reach("unlink ready")
            prepared.unlink()
            drop_second_names(target)
            if intent is not None:
                if intent.old.is_at(target):
                    give_versions_back(target, intent.old)
                intents.forget(target)
            return False
        with open_for_locks(target) as old, barred(old), barred(new):
            undo = target.with_name(intent.undo)
            job = Replacement(target, prepared, new, old, undo, intent.keeps_undo)
            try:
                put_in_place(job, intent)
            except BaseException:
                go_back(job, intent)
                raise
    conclude(target, intent, assume_stopped=assume_stopped)
    return True


def _is_current(intent: Intent, target: Path) -> bool:
    """Tell whether what the intent was about is still all that lies at the target."""
    if not intent.old.is_at(target):
        return False
    undo = target.with_name(intent.undo)
    if not undo.exists() and not intent.keeps_undo:
        return True  # no links on this file system
    return all(is_kept(path, undo_of(path, target, undo)) for path in sidecars(target))
