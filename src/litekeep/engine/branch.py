"""
Reading a txid back from the files of a stream, into a file that is open.

The pages of each file go to their places, so the file is whole only at the end; then its
database checksum is compared with the one that stands beside the stream's last file.  Where
a file vanished since the plan was made (retention elsewhere merged or removed it), the chain
is listed again, and the txid is made from what is there now.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from litekeep import faults
from litekeep.engine.fetch import Fetched
from litekeep.engine.staging import write_failed
from litekeep.errors import BlobNotFound
from litekeep.stream.chain import Branch, plan_links, read_chain
from litekeep.stream.rebuild import Applied, apply_links

_PLANS_MAX = 5
_PIECE_SIZE = 1 << 20


def fetch_branch(
    branch: Branch, path: Path, file: BinaryIO, report: Callable[[int], object]
) -> Fetched:
    """
    Make a txid in *file*, which is empty.

    Args:
        branch: What makes it.

        path: Of the file, for errors.

        file: Unbuffered, open for reading and writing.

        report: Is told how many bytes were fetched.

    Raises:
        CorruptionError: A file of the stream is damaged, or what they make is not what was
            captured.

        StoreError: The store fails, or there is no room.
    """
    place, txid = branch.place, branch.txid
    for attempt in range(1, _PLANS_MAX + 1):
        try:
            applied = _apply(branch, path, file, report)
            break
        except BlobNotFound:
            if attempt == _PLANS_MAX:
                raise
            branch = Branch(place, plan_links(read_chain(place), txid))
    fetched = Fetched(
        stored_size=applied.bytes_fetched,
        size=applied.page_size * applied.page_count,
        sha256=_sha256(file),
        checksum=applied.checksum,
        page_size=applied.page_size,
        request_count=applied.request_count,
    )
    if not applied.is_proved:
        fetched.unproven = "no database checksum stands beside the stream's files"
    return fetched


def _apply(branch: Branch, path: Path, file: BinaryIO, report: Callable[[int], object]) -> Applied:
    descriptor = file.fileno()

    def write(offset: int, data: bytes) -> None:
        faults.reach("write restored")
        view = memoryview(data)
        while len(view) > 0:
            written = os.pwrite(descriptor, view, offset)
            view, offset = view[written:], offset + written

    def resize(size: int) -> None:
        faults.reach("resize restored")
        os.ftruncate(descriptor, size)

    try:
        resize(0)
        return apply_links(branch.place, branch.links, write=write, resize=resize, report=report)
    except OSError as error:
        raise write_failed(error, path) from error


def _sha256(file: BinaryIO) -> str:
    found = hashlib.sha256()
    offset = 0
    while piece := os.pread(file.fileno(), _PIECE_SIZE, offset):
        found.update(piece)
        offset += len(piece)
    return found.hexdigest()
