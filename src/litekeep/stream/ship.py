"""
Shipping: captured files, one after the other, from the spool to one store.

    level 0   a file of one txid, put create-only: its name is the fence
    level 1   a file that fills a gap, of several
    level 9   a whole database

A create that meets a file of the same bytes is an answer that was lost, and a success.  One
that meets other bytes is another writer of the same chain: shipping ends, and nothing is
replaced.  The file is put before the position moves; a kill in between puts it again.
"""

from __future__ import annotations

from collections.abc import Sequence

from litekeep import faults
from litekeep.errors import BlobNotFound, LeaseHeld, NameTaken
from litekeep.store.base import FileBody
from litekeep.stream.chain import BASE_LEVEL, Place, read_chain
from litekeep.stream.spool import Spooled

#: A create is held in memory as a whole; a larger file is looked for first.
_CREATE_SIZE_MAX = 64 << 20


class Shipper:
    """Puts the files of one chain into one store, in order."""

    def __init__(self, place: Place) -> None:
        self.place = place
        #: What was put so far, by this object.
        self.file_count = 0
        self.byte_count = 0
        #: The newest txid that the store has; None while that is not known.
        self.position: int | None = None

    def find_position(self) -> int:
        """
        Ask the store how far its chain goes.

        Raises:
            StoreError: It does not answer.
        """
        self.position = read_chain(self.place).last_txid
        return self.position

    def next_of(self, files: Sequence[Spooled]) -> Spooled | None:
        """
        Return the file that follows on what the store has, the longest that does.

        Where none does, a whole database that is newer will do.
        """
        position = self.position
        if position is None:
            return None
        following = [one for one in files if one.min_txid == position + 1]
        newer = [one for one in files if one.is_whole and one.max_txid > position]
        return max(following or newer, key=lambda one: one.max_txid, default=None)

    def ship(self, spooled: Spooled) -> None:
        """
        Put one file.

        Raises:
            LeaseHeld: Somebody else writes to this chain.

            StoreError: The store failed; the position is as it was.
        """
        store = self.place.store
        name = self.place.object_of(level_of(spooled), spooled.min_txid, spooled.max_txid)
        metadata = spooled.note.metadata()
        faults.reach(f"ship {name}")
        try:
            if spooled.note.size <= _CREATE_SIZE_MAX:
                store.put(name, spooled.path.read_bytes(), create=True, metadata=metadata)
            else:
                if self._is_there(name, spooled):
                    raise NameTaken(f"{store.url}/{name} exists already", hint="See below.")
                store.put(
                    name, FileBody(spooled.path), metadata=metadata, size_max=spooled.note.size
                )
        except NameTaken as error:
            if not self._is_ours(name, spooled):
                raise LeaseHeld(
                    f"{store.url}/{name} was written by somebody else",
                    hint="Two hosts stream the same database to one place, or this one was "
                    "away while another took over. End the other, then start this one again: "
                    "it goes on from what the store holds. Or give each a prefix of its own.",
                ) from error
        self.position = spooled.max_txid
        self.file_count += 1
        self.byte_count += spooled.note.size

    def _is_there(self, name: str, spooled: Spooled) -> bool:
        try:
            self.place.store.head(name)
        except BlobNotFound:
            return False
        return not self._is_ours(name, spooled)

    def _is_ours(self, name: str, spooled: Spooled) -> bool:
        try:
            found = self.place.store.head(name)
        except BlobNotFound:
            return False
        sha256 = found.metadata.get("litekeep-sha256")
        return found.size == spooled.note.size and sha256 == spooled.note.sha256


def level_of(spooled: Spooled) -> int:
    """Return the level that a captured file belongs to."""
    if spooled.min_txid == spooled.max_txid:
        return 0
    return BASE_LEVEL if spooled.is_whole else 1
