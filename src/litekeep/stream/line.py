"""
A line: one store's side of a stream, and what became of it.

    begin    where does the store stand: at a txid of ours, or elsewhere
    ship     what follows, in order; what fails is tried again by whoever calls
    fill     a store that is elsewhere, or was away for too long, is read: capture makes of
             that the difference that leads it here

A line is worked on by one thread.  Others ask `needed_after`: what it needs of the spool.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from litekeep.clock import Clock
from litekeep.errors import BlobNotFound, CorruptionError, GapFound, LitekeepError, NotFound
from litekeep.stream.captured import Behind, behind_of
from litekeep.stream.chain import Chain, Place, plan_links
from litekeep.stream.keeping import Keeping
from litekeep.stream.policy import StreamPolicy
from litekeep.stream.rebuild import Applied, apply_links
from litekeep.stream.ship import Shipper
from litekeep.stream.spool import Spool

#: What says that the files of a store make no database, and will not by asking again.
UNUSABLE = (CorruptionError, GapFound, NotFound, BlobNotFound)
_PATIENCE_MAX = 64


class Line:
    """One store, its shipper, and what keeps it from being where we are."""

    def __init__(self, shipper: Shipper, keeping: Keeping) -> None:
        self.shipper = shipper
        self.keeping = keeping
        self.error: LitekeepError | None = None
        #: What leads it here is to be captured from this.
        self.behind: Behind | None = None
        #: Somebody else writes there: nothing is shipped any more.
        self.is_over = False
        #: It was away for too long: what waited for it is gone.
        self.is_dropped = False
        #: How many times as long as usual it is left in peace: to lead it here is much work.
        self.patience = 1
        self._filled_to: int | None = None
        self._rest: Behind | None = None
        self._chain: Chain | None = None

    @property
    def url(self) -> str:
        """The store's."""
        return self.shipper.place.store.url

    @property
    def head(self) -> int:
        """The newest txid of the store, as it counts."""
        return self.shipper.head or 0

    @property
    def needed_after(self) -> int | None:
        """The txid after which it needs what is captured; None if it needs nothing."""
        if self.is_over or self.is_dropped:
            return None
        if self.shipper.position is not None:
            return self.shipper.position
        return self._filled_to or 0

    def drop(self) -> None:
        """Wait for it no longer; it is led here when it answers."""
        self.is_dropped = True
        self.patience = min(2 * self.patience, _PATIENCE_MAX)

    def begin(self, txid: int, checksum: int) -> bool:
        """
        Ask the store where it stands; False if that is nowhere here.

        Args:
            txid: Our newest.

            checksum: Of the database at it.
        """
        self._filled_to = self.behind = self._rest = None
        self._chain = self.shipper.ask()
        self.keeping.know(self._chain)
        self.is_dropped = False
        return self.shipper.find_position(txid, checksum)

    def read(self) -> Applied:
        """
        Read from the store what it makes, its pages' checksums.

        Raises:
            LitekeepError: One of `UNUSABLE`, or the store does not answer.
        """
        assert self._chain is not None, "the store was asked"
        return apply_links(self.shipper.place, plan_links(self._chain, self.head))

    def fall_behind(self) -> None:
        """Read what the store makes, so that it can be led here; all, if it makes nothing."""
        applied = None
        if self.head:
            try:
                applied = self.read()
            except UNUSABLE:
                applied = None
        self.behind = behind_of(self.shipper.tag, self.head, applied)

    def fill_captured(self, txid: int, *, is_here: bool, rest: Behind | None) -> None:
        """
        Go on: what leads the store to *txid* is in the spool, or it is there already.

        Args:
            txid: Of ours.

            is_here: It is there already.

            rest: From where more is to be captured, once what was captured is shipped.
        """
        self.behind, self._rest = None, rest
        self._filled_to = txid
        if is_here:
            self.shipper.position = txid

    def ask_for_rest(self) -> None:
        """Have more captured, if that is what it waits for."""
        if self._rest is not None:
            self.behind, self._rest = self._rest, None


def lines_of(
    places: Sequence[Place],
    spool: Spool,
    policy: StreamPolicy,
    clock: Clock,
    warn: Callable[[str, str | None], object],
    *,
    origin: str,
    takes_over: bool,
) -> list[Line]:
    """Return a line for each place."""
    return [
        Line(
            Shipper(place, spool, origin=origin, takes_over=takes_over),
            Keeping(place, spool.folder, policy, clock=clock, warn=warn),
        )
        for place in places
    ]
