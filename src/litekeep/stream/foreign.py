"""
Whose chain it is that a stream is about to go on with.

Litestream writes the same names, and two who write one chain lose commits: each takes the
other's files for its own.  So where the last file of a chain does not bear our metadata, a
stream begins only if that is asked for; its own next file then tells the next run.
"""

from __future__ import annotations

from litekeep.errors import BlobNotFound, LeaseHeld
from litekeep.stream.chain import Chain, Place

#: Stands beside every file that we write.
MARK = "litekeep-sha256"


def refuse_foreign(place: Place, chain: Chain, *, takes_over: bool) -> None:
    """
    Raise if a chain was last written to by another program.

    Args:
        place: Where it lies.

        chain: What was found there.

        takes_over: Somebody says that the other program no longer writes there.

    Raises:
        LeaseHeld: It was.

        StoreError: The store does not answer.
    """
    if takes_over or not chain.links:
        return
    last = max(chain.links, key=lambda link: (link.max_txid, -link.level))
    try:
        metadata = place.store.head(last.object).metadata
    except BlobNotFound:  # somebody's retention removed it meanwhile: ours keeps the last
        metadata = {}
    if MARK not in metadata:
        raise LeaseHeld(
            f"{place.store.url}/{place.root} holds a stream that Litekeep did not write: "
            f"{last.object} is its last file",
            hint="It looks like Litestream's. Stream to another place; or end Litestream, never "
            "to start it there again, and give --take-over once: the stream goes on from what "
            "lies there.",
        )
