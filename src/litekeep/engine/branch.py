"""
Reading a txid back from the files of a stream, into a file that is open.

The pages of each file go to their places, so the file is whole only at the end; then its
database checksum is compared with the one that stands beside the stream's last file.  Where
a file vanished since the plan was made (retention elsewhere merged or removed it), the chain
is listed again, and the txid is made from what is there now; where it can no longer be made,
whoever planned must plan anew.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from litekeep import faults
from litekeep.engine.fetch import Fetched
from litekeep.engine.staging import write_failed
from litekeep.errors import BlobNotFound, GapFound, NotFound, Vanished
from litekeep.ltx.checksum import DatabaseChecksum
from litekeep.stream.chain import Branch, plan_links, read_chain
from litekeep.stream.generations import OldBranch, read_generations
from litekeep.stream.oldlog import apply_branch
from litekeep.stream.rebuild import apply_links

_PLANS_MAX = 5
_PIECE_SIZE = 1 << 20


def fetch_branch(
    branch: Branch | OldBranch, path: Path, file: BinaryIO, report: Callable[[int], object]
) -> Fetched:
    """
    Make a moment of a stream in *file*, which is empty.

    Args:
        branch: What makes it.

        path: Of the file, for errors.

        file: Unbuffered, open for reading and writing.

        report: Is told how many bytes were fetched.

    Raises:
        CorruptionError: A file of the stream is damaged, or what they make is not what was
            captured.

        Vanished: Files were removed, and that moment can no longer be made.

        StoreError: The store fails, or there is no room.
    """
    target = _Target(path, file)
    for _ in range(_PLANS_MAX):
        try:
            target.resize(0)
            if isinstance(branch, Branch):
                return _fetch(branch, target, report)
            return _fetch_old(branch, target, report)
        except BlobNotFound as error:
            gone = error
            branch = _again(branch, error)
        except OSError as error:
            raise write_failed(error, path) from error
    raise Vanished(gone.message, hint=gone.hint) from gone


@dataclass(frozen=True, slots=True)
class _Target:
    path: Path
    file: BinaryIO

    def write(self, offset: int, data: bytes) -> None:
        faults.reach("write restored")
        view = memoryview(data)
        while len(view) > 0:
            written = os.pwrite(self.file.fileno(), view, offset)
            view, offset = view[written:], offset + written

    def resize(self, size: int) -> None:
        faults.reach("resize restored")
        os.ftruncate(self.file.fileno(), size)

    def pieces(self) -> Iterator[bytes]:
        offset = 0
        while piece := os.pread(self.file.fileno(), _PIECE_SIZE, offset):
            yield piece
            offset += len(piece)


def _again(branch: Branch | OldBranch, error: BlobNotFound) -> Branch | OldBranch:
    """Plan the same moment from what is there now."""
    place = branch.place
    if isinstance(branch, Branch):
        try:
            return Branch(place, plan_links(read_chain(place), branch.txid))
        except (GapFound, NotFound) as unreachable:
            raise Vanished(unreachable.message, hint=unreachable.hint) from error
    for generation in read_generations(place):
        for other in generation.branches():
            if other.name == branch.name:
                return other
    raise Vanished(f"{branch.name} is no longer there", hint=error.hint) from error


def _fetch(branch: Branch, target: _Target, report: Callable[[int], object]) -> Fetched:
    applied = apply_links(
        branch.place, branch.links, write=target.write, resize=target.resize, report=report
    )
    sha256 = hashlib.sha256()
    for piece in target.pieces():
        sha256.update(piece)
    fetched = Fetched(
        stored_size=applied.bytes_fetched,
        size=applied.page_size * applied.page_count,
        sha256=sha256.hexdigest(),
        checksum=applied.checksum,
        page_size=applied.page_size,
        request_count=applied.request_count,
    )
    if not applied.is_proved:
        fetched.unproven = "no database checksum stands beside the stream's files"
    return fetched


def _fetch_old(branch: OldBranch, target: _Target, report: Callable[[int], object]) -> Fetched:
    applied = apply_branch(
        branch,
        write=target.write,
        resize=target.resize,
        scratch=target.path.parent,
        report=report,
    )
    sha256, checksum = hashlib.sha256(), DatabaseChecksum(applied.page_size)
    number = 1
    for piece in target.pieces():
        sha256.update(piece)
        checksum.add(number, piece)
        number += len(piece) // applied.page_size
    return Fetched(
        stored_size=applied.bytes_fetched,
        size=applied.size,
        sha256=sha256.hexdigest(),
        checksum=checksum.value,
        page_size=applied.page_size,
        request_count=applied.request_count,
        unproven="Litestream 0.3 keeps no checksum of the database",
    )
