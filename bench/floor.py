"""
This module is the floor under a backup: the least that the job can cost on a machine.

It reads the file in pieces of 1 MiB, compresses each with the library and at the level
that Litekeep uses, on all cores, and sends the bytes while more are made.  No view, no
commit, no checksum, no check, no manifest, no `latest`.  What it stores is right only
because nobody writes to the database meanwhile.

    python -m bench.floor DATABASE BUCKET OBJECT [LATEST]     (the AWS_* variables say where)

With LATEST it asks the server for a copy as well: what that costs is the server's own.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from isal import igzip_lib
from obstore.store import S3Store

LEVEL = 2
PIECE_SIZE = 1 << 20
PIECES_AHEAD = 8
PART_SIZE = 8 << 20
PARTS_IN_FLIGHT = 4


def compressed(path: Path) -> Iterator[bytes]:
    """Yield the file as gzip members, in order, made by all cores."""
    pending: deque[Future[bytes]] = deque()
    with path.open("rb") as file, ThreadPoolExecutor(os.cpu_count()) as pool:
        while piece := file.read(PIECE_SIZE):
            pending.append(pool.submit(_member, piece))
            if len(pending) > PIECES_AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _member(piece: bytes) -> bytes:
    return igzip_lib.compress(piece, LEVEL, igzip_lib.COMP_GZIP)


def main() -> None:
    """Send the database that the arguments name."""
    path, bucket, name, *latest = sys.argv[1:]
    store = S3Store(
        bucket,
        endpoint=os.environ["AWS_ENDPOINT_URL"],
        virtual_hosted_style_request=False,
        unsigned_payload=True,  # cheaper, so that the floor is one
        client_options={"allow_http": True},
    )
    store.put(
        name,
        compressed(Path(path)),
        chunk_size=PART_SIZE,
        max_concurrency=PARTS_IN_FLIGHT,
        use_multipart=True,
    )
    for copy in latest:
        store.copy(name, copy)


if __name__ == "__main__":
    main()
