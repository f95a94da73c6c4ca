"""
The proofs of a stream: which of its txids were restored and compared, and with what result.

    <database>/proofs/<txid>.proof-20250914_030000.json      one for each drill

Each is one small request, so of many only the newest are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from litekeep.errors import CorruptionError
from litekeep.repository.layout import Repository
from litekeep.repository.marks import MARK_SIZE_MAX, Proof, decode_mark
from litekeep.store.base import FAILURES, Blob

READ_COUNT_MAX = 8

_NAME = re.compile(r"proofs/(?P<txid>[0-9a-f]{16})\.proof-(?P<stamp>\d{8}_\d{6})\.json")


def proof_id(database: str, txid: int) -> str:
    """Return what a proof calls a txid of a database by."""
    return f"{database} {txid:016x}"


def stem_of(repository: Repository, txid: int) -> str:
    """Return how the names of a txid's proofs begin; `proof_of` completes it."""
    return f"{repository.stream_root}proofs/{txid:016x}"


def read_stream_proofs(repository: Repository, blobs: Iterable[Blob]) -> Mapping[int, Proof]:
    """
    Return the newest proof of each txid, as far as they are among the newest of all.

    Args:
        repository: Whose stream it is.

        blobs: What lies below the database's name.

    One that cannot be read, or is of something else, says nothing.
    """
    named = []
    for blob in blobs:
        match = _NAME.fullmatch(blob.name.removeprefix(repository.stream_root))
        if match is not None:
            named.append((match["stamp"], int(match["txid"], 16), blob.name))
    found: dict[int, Proof] = {}
    for _, txid, name in sorted(named, reverse=True)[:READ_COUNT_MAX]:
        try:
            proof = decode_mark(Proof, repository.store.read(name, size_max=MARK_SIZE_MAX))
        except (CorruptionError, *FAILURES):
            continue
        if proof.id == proof_id(repository.database, txid):
            found.setdefault(txid, proof)
    return found
