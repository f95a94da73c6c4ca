"""
A database as SQL text: a live one at one commit, or a restore point.

A live database is read through a view, so writers go on and the text is that of one
commit.  A restore point is restored, with all its proofs, into a folder of its own
first, because SQLite has to jump about in it; that needs room for the whole database.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from litekeep.engine.source import view_or_culprit
from litekeep.engine.target import refuse_target, whole_file
from litekeep.sqlite.check import connect_view
from litekeep.sqlite.dump import Dump
from litekeep.sqlite.live import BUSY_TIMEOUT_SECONDS
from litekeep.sqlite.translate import translated
from litekeep.store.files import write_all
from litekeep.store.temporary import temporary_folder

_BATCH_SIZE = 1 << 20

Write = Callable[[bytes], object]


@dataclass(frozen=True, slots=True)
class DumpResult:
    """What was written; `damaged` says what could not be read."""

    size: int
    damaged: tuple[str, ...]


def scratch() -> contextlib.AbstractContextManager[Path]:
    """Give a folder for a restored database, removed at the end, or by the next if killed."""
    return temporary_folder("dump")


def dump(
    database: Path, write: Write, *, busy_timeout_seconds: float = BUSY_TIMEOUT_SECONDS
) -> DumpResult:
    """
    Write the database at *database* as SQL text.

    Args:
        database: A live one, or a file at rest.

        write: Takes the text, UTF-8, in pieces.

        busy_timeout_seconds: How long to wait for a lock.

    Raises:
        DatabaseUnusable: It cannot be read at all.

        CorruptionError: It was changed without SQLite's locks meanwhile.
    """
    with (
        view_or_culprit(database, busy_timeout_seconds) as live,
        translated(str(database)),
        contextlib.closing(connect_view(live.pages())) as connection,
    ):
        text = Dump(connection)
        size = 0
        for batch in _batches(text):
            write(batch)
            size += len(batch)
        live.refuse_changed()
        return DumpResult(size, tuple(text.errors))


def dump_to_file(database: Path, target: Path, *, replaces: bool) -> DumpResult:
    """
    Write the database at *database* as SQL text to *target*.

    The file appears whole or not at all.

    Raises:
        UserError: *target* is not to be written over: see `refuse_target`.

        StoreError: It cannot be written.

        DatabaseUnusable: The database cannot be read at all.
    """
    refuse_target(target, sources=(database,))
    with whole_file(target, replaces=replaces) as file:
        return dump(database, lambda data: write_all(file, data, target.name))


def _batches(rows: Iterable[bytes]) -> Iterator[bytes]:
    batch: list[bytes] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += len(row)
        if size >= _BATCH_SIZE:
            yield b"".join(batch)
            batch, size = [], 0
    yield b"".join(batch)
