"""
Whose chain it is that a stream is about to go on with.

Litestream writes the same names, and two who write one chain lose commits: each takes the
other's files for its own.  So where the last file of a chain does not bear our metadata, a
stream begins only if that is asked for; its own next file then tells the next run.

Likewise two databases of one name, streamed from one host to one place: each would go on from
the other with what differs.  Every file bears where its database lies.  From another host
a chain is gone on with: that is how one takes over from another.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote, unquote

from litekeep.errors import BlobNotFound, LeaseHeld
from litekeep.stream.chain import Chain, Place
from litekeep.stream.metadata import ORIGIN_KEY, SHA256_KEY

_ORIGIN_SIZE_MAX = 1024


def origin_of(database: Path, host: str) -> str:
    """
    Return where a database lies: the host's name, and its real path, in plain ASCII.

    >>> origin_of(Path("/srv/app.db"), "web-1")
    'web-1/srv/app.db'
    """
    path = os.fsencode(os.path.realpath(database))
    return f"{quote(host, safe='')}{quote(path)}"[:_ORIGIN_SIZE_MAX]


def refuse_foreign(place: Place, chain: Chain, origin: str, *, takes_over: bool) -> None:
    """
    Raise if a chain was last written to by another program, or is of another database.

    Args:
        place: Where it lies.

        chain: What was found there.

        origin: Of the database that is to be streamed: `origin_of`.

        takes_over: Somebody says that nobody else writes there any more.

    Raises:
        LeaseHeld: It was.

        StoreError: The store does not answer.
    """
    last = chain.newest
    if takes_over or last is None:
        return
    try:
        metadata = place.store.head(last.object).metadata
    except BlobNotFound:  # somebody's retention removed it meanwhile: ours keeps the last
        metadata = {}
    theirs = metadata.get(ORIGIN_KEY, origin)
    host, _, path = theirs.partition("/")
    if theirs != origin and host == origin.partition("/")[0]:
        raise LeaseHeld(
            f"{place.store.url}/{place.root} holds the stream of /{unquote(path)}, another "
            "database of this host",
            hint="Give each database a name, or a prefix in the store, of its own. If this one "
            "was moved here, give --take-over once.",
        )
    if SHA256_KEY not in metadata:
        raise LeaseHeld(
            f"{place.store.url}/{place.root} holds a stream that Litekeep did not write: "
            f"{last.object} is its last file",
            hint="It looks like Litestream's. Stream to another place; or end Litestream, never "
            "to start it there again, and give --take-over once: the stream goes on from what "
            "lies there.",
        )
