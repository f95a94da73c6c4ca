"""
The sums of a database, taken while its bytes pass: SHA-256, and the database checksum.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from litekeep.engine import events
from litekeep.ltx.checksum import DatabaseChecksum
from litekeep.sqlite.view import Pages, View

PIECE_SIZE = 1 << 20


class Sums:
    """The pieces of a view, summed up as they pass."""

    def __init__(self, view: View, pages: Pages, report: events.Report) -> None:
        self._view = view
        self._pages = pages
        self._report = report
        self._sha256 = hashlib.sha256()
        self._checksum = DatabaseChecksum(view.page_size)

    def __iter__(self) -> Iterator[bytes]:
        done = 0
        for piece in self._pages.pieces(PIECE_SIZE):
            self._sha256.update(piece)
            self._checksum.add(done // self._view.page_size + 1, piece)
            done += len(piece)
            self._report(events.Progress("read", done, self._view.size))
            yield piece

    @property
    def sha256(self) -> str:
        """SHA-256 of what has passed, in hex digits."""
        return self._sha256.hexdigest()

    @property
    def checksum(self) -> int:
        """The database checksum of what has passed."""
        return self._checksum.value
