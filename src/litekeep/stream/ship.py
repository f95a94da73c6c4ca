"""
Shipping: captured files, one after the other, from the spool to one store.

    level 0   a file of one txid, put create-only: its name is the fence
    level 9   a whole database that follows on one of another page size

Each store counts by itself: a file becomes its next txid.  Mostly that is ours; it is not
where a store was elsewhere, or was away while much was captured, and got the difference as
one file (a fill).  Then the txids in the file are written anew, and so is its time where the
store has a later one already: of a host whose clock is ahead.  So whoever makes the chain
longer has to create one name, which only one can, and no txid exists twice.

Where a store stands is found by what it makes: the database checksum beside its newest file
is that of one of our txids, or the store is elsewhere.

A create that meets a file of the same bytes is an answer that was lost, and a success.  One
that meets other bytes is another writer of the same chain: shipping ends, and nothing is
replaced.  The file is put before the position moves; a kill in between finds it there.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace

from litekeep import faults
from litekeep.errors import BlobNotFound, ChecksumMismatch, LeaseHeld, NameTaken, UserError
from litekeep.ltx.decode import Decoder
from litekeep.ltx.encode import Encoder
from litekeep.store.base import honours_conditions
from litekeep.store.files import translated
from litekeep.stream.chain import BASE_LEVEL, Chain, Link, Place, read_chain
from litekeep.stream.foreign import refuse_foreign
from litekeep.stream.metadata import (
    CHECKSUM_KEY,
    ORIGIN_KEY,
    SHA256_KEY,
    TIME_KEY,
    read_time,
    time_of,
)
from litekeep.stream.rebuild import read_checksum
from litekeep.stream.spool import Note, Spool, Spooled


class Shipper:
    """Puts what is captured into one store, in order."""

    def __init__(
        self, place: Place, spool: Spool, *, origin: str, takes_over: bool = False
    ) -> None:
        self.place = place
        self._origin = origin
        self._takes_over = takes_over
        self.tag = hashlib.sha256(f"{place.store.address} {place.root}".encode()).hexdigest()[:8]
        #: What was put so far, by this object.
        self.file_count = 0
        self.byte_count = 0
        #: The newest txid that the store has, as it counts; None while that is not known.
        self.head: int | None = None
        #: The txid of ours that its database is at; None while it is at none, or not known.
        self.position: int | None = None
        self._spool = spool
        # Of the newest file: what the database is then, and when that was.
        self._checksum: int | None = None
        self._time_ms: int | None = None

    def ask(self) -> Chain:
        """
        Ask the store how far its chain goes, and what its newest file makes.

        Raises:
            LeaseHeld: Another program writes there: see `foreign.py`.

            UserError: It does not keep what was created from being replaced.

            StoreError: It does not answer.
        """
        self.position = self.head = None
        chain = read_chain(self.place)
        refuse_foreign(self.place, chain, self._origin, takes_over=self._takes_over)
        self._probe()
        if self.place.store.staging is not None:  # elsewhere a create leaves nothing half done
            self.place.store.clean()
        self._checksum = self._time_ms = None
        if (last := chain.newest) is not None:
            metadata = self.place.store.head(last.object).metadata
            self._checksum = read_checksum(metadata.get(CHECKSUM_KEY))
            self._time_ms = read_time(metadata.get(TIME_KEY))
        self.head = chain.last_txid
        return chain

    def find_position(self, txid: int, checksum: int) -> bool:
        """
        Find out which of our txids the store is at; False if it is elsewhere.

        Args:
            txid: Our newest.

            checksum: Of the database at it.
        """
        files = [one for one in self._spool.files() if one.tag is None]
        if self.head == 0:
            known = {one.max_txid - 1: 0 for one in files if one.is_whole}
            known |= {0: 0} if txid == 0 else {}
            wanted: int | None = 0
        else:
            known = {one.max_txid - 1: one.note.before for one in files if one.note.before}
            known |= {one.max_txid: one.note.checksum for one in files}
            known |= {txid: checksum} if txid else {}
            wanted = self._checksum
        waiting = {one.max_txid for one in files}
        found = [
            number
            for number, value in known.items()
            if value == wanted and all(n in waiting for n in range(number + 1, txid + 1))
        ]
        if self.head in found:
            self.position = self.head
        else:  # the same state may come again: what lies between is sent once more
            self.position = min(found, default=None)
        return self.position is not None

    def next_file(self) -> Spooled | None:
        """Return what follows on what the store has; None if nothing does yet."""
        if self.head is None:
            return None
        files = self._spool.files()
        if self.position is None:
            return next(
                (f for f in files if (f.tag, f.max_txid) == (self.tag, self.head + 1)), None
            )
        return next((f for f in files if (f.tag, f.max_txid) == (None, self.position + 1)), None)

    def ship(self, spooled: Spooled) -> tuple[Link, int]:
        """
        Put one file; return it as it lies in the store, and its time in milliseconds.

        Raises:
            LeaseHeld: Somebody else writes to this chain.

            ChecksumMismatch: The file is not what was captured: the disk is damaged.

            StoreError: The store failed; the position is as it was.
        """
        assert self.head is not None, "the store was asked"
        store, txid = self.place.store, self.head + 1
        min_txid = 1 if spooled.is_whole else txid
        level = 0 if min_txid == txid else BASE_LEVEL
        name = self.place.object_of(level, min_txid, txid)
        with translated(spooled.path):
            data = spooled.path.read_bytes()
        note = spooled.note
        if hashlib.sha256(data).hexdigest() != note.sha256:
            raise ChecksumMismatch(f"{spooled.path} is not what was captured")
        time_ms = max(note.time_ms, self._time_ms or note.time_ms)
        wanted = (min_txid, txid, time_ms)
        if wanted != (spooled.min_txid, spooled.max_txid, note.time_ms):
            data, sha256 = _rewritten(data, *wanted)
            note = replace(note, sha256=sha256, size=len(data), time_ms=time_ms)
        faults.reach(f"ship {name}")
        try:
            metadata = {**note.metadata(), ORIGIN_KEY: self._origin}
            store.put(name, data, create=True, metadata=metadata)
        except NameTaken as error:
            if not self._is_there(name, note):
                raise LeaseHeld(
                    f"{store.url}/{name} was written by somebody else",
                    hint="Two hosts stream the same database to one place, or this one was "
                    "away while another took over. End the other, then start this one again: "
                    "it goes on from what the store holds. Or give each a prefix of its own.",
                ) from error
        self.head, self._time_ms, self._checksum = txid, time_ms, note.checksum
        self.position = note.leads_to or None
        self.file_count += 1
        self.byte_count += len(data)
        if spooled.tag is not None:
            self._spool.remove(spooled)
        return Link(level, min_txid, txid, name, len(data), time_of(time_ms)), time_ms

    def _is_there(self, name: str, note: Note) -> bool:
        """Whether the object is the one that was to be put: an answer was lost."""
        try:
            found = self.place.store.head(name)
        except BlobNotFound:
            return False
        return found.size == note.size and found.metadata.get(SHA256_KEY) == note.sha256

    def _probe(self) -> None:
        """Find out, once, whether the store keeps the fence; a folder does."""
        marker = self._spool.folder / f"probed-{self.tag}"
        store = self.place.store
        with translated(marker):
            if store.staging is not None or marker.exists():
                return
        if not honours_conditions(store):
            raise UserError(
                f"{store.url} replaces objects that must not be replaced, so a second host could "
                "overwrite what this one streams",
                hint="Its server ignores conditional writes (If-None-Match). Stream to another "
                "store; snapshots (litekeep backup) work with this one.",
            )
        with translated(marker):
            marker.touch(mode=0o600)


def _rewritten(data: bytes, min_txid: int, max_txid: int, time_ms: int) -> tuple[bytes, str]:
    """Return the same LTX file with other txids and another time, and its SHA-256."""
    written = io.BytesIO()
    decoder = Decoder(iter([data]))
    header = replace(decoder.header, min_txid=min_txid, max_txid=max_txid, timestamp_ms=time_ms)
    with Encoder(written.write, header) as encoder:
        for run in decoder.runs():
            blocks = [block for block in run.blocks if block is not None]
            encoder.add_blocks(run.numbers, blocks, run.pages)
        encoded = encoder.finish()
    return written.getvalue(), encoded.sha256
