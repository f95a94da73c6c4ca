"""
A merge does what its files do one after the other, whatever they are.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from hypothesis import event, given, settings
from hypothesis import strategies as st

from litekeep.ltx.decode import Decoder
from litekeep.ltx.format import Header
from litekeep.ltx.frames import Form
from litekeep.ltx.merge import merge
from tests.writers.ltx import TIMESTAMP_MS, applied, decoder_of, written

PAGE_SIZE = 512
PAGES_MAX = 9


@dataclass(frozen=True, slots=True)
class File:
    """What a file does: how long the database is, and which pages are new."""

    commit: int
    numbers: frozenset[int]
    txid_count: int
    overlap: int
    form: Form


@st.composite
def files(draw: st.DrawFn) -> File:
    commit = draw(st.integers(0, PAGES_MAX))
    numbers = draw(st.frozensets(st.integers(1, commit))) if commit else frozenset()
    txid_count = draw(st.integers(1, 3))
    return File(
        commit,
        numbers,
        txid_count,
        draw(st.integers(0, 1)),
        draw(st.sampled_from(Form)),
    )


def stored(file: File, min_txid: int, max_txid: int, seed: int) -> bytes:
    """Return the bytes of a file; one that begins at txid 1 has every page."""
    dice = random.Random(f"{seed}/{max_txid}")
    numbers = range(1, file.commit + 1) if min_txid == 1 else sorted(file.numbers)
    header = Header(
        page_size=PAGE_SIZE,
        commit=file.commit,
        min_txid=min_txid,
        max_txid=max_txid,
        timestamp_ms=TIMESTAMP_MS,
    )
    pages = {
        number: dice.randbytes(PAGE_SIZE)
        if dice.random() < 0.5
        else bytes([max_txid % 256]) * PAGE_SIZE
        for number in numbers
    }
    return written(header, pages, form=file.form)[0]


def chain_of(chain: list[File], first_txid: int, seed: int) -> list[bytes]:
    """Return files of which each follows the one before it, or begins inside it."""
    found, before = [], (first_txid, first_txid - 1)
    for file in chain:
        min_txid = max(before[0], before[1] + 1 - file.overlap, first_txid)
        max_txid = before[1] + file.txid_count
        found.append(stored(file, min_txid, max_txid, seed))
        before = (min_txid, max_txid)
    return found


@settings(max_examples=300, deadline=None)
@given(
    chain=st.lists(files(), min_size=1, max_size=6),
    first_txid=st.sampled_from([1, 2, 900]),
    base_count=st.integers(0, PAGES_MAX),
    seed=st.integers(0, 1 << 32),
    piece_size=st.sampled_from([1, 99, 1 << 20]),
)
def test_a_merge_is_its_files_one_after_the_other(chain, first_txid, base_count, seed, piece_size):
    base = random.Random(seed).randbytes(base_count * PAGE_SIZE) if first_txid > 1 else b""
    datas = chain_of(chain, first_txid, seed)
    expected = base
    for data in datas:
        expected = applied(expected, data)
    commits = [file.commit for file in chain]
    event(f"cut and longer again: {min(commits) < commits[-1] and commits[0] > min(commits)}")

    parts: list[bytes] = []
    encoded = merge([decoder_of(data, piece_size) for data in datas], parts.append)
    result = b"".join(parts)

    assert applied(base, result) == expected
    assert encoded.size == len(result)
    headers = [decoder_of(data).header for data in datas]
    header = Decoder([result]).header
    assert (header.min_txid, header.max_txid) == (headers[0].min_txid, headers[-1].max_txid)
    assert header.commit == headers[-1].commit


@settings(max_examples=100, deadline=None)
@given(
    chain=st.lists(files(), min_size=2, max_size=6),
    cut=st.integers(1, 5),
    seed=st.integers(0, 1 << 32),
)
def test_a_merge_of_merges_is_the_merge(chain, cut, seed):
    datas = chain_of(chain, 2, seed)
    cut = min(cut, len(datas) - 1)

    def merged(sources: list[bytes]) -> bytes:
        parts: list[bytes] = []
        merge([decoder_of(data) for data in sources], parts.append)
        return b"".join(parts)

    at_once = merged(datas)
    in_two = merged([merged(datas[:cut]), merged(datas[cut:])])
    base = random.Random(seed).randbytes(PAGES_MAX * PAGE_SIZE)
    assert applied(base, in_two) == applied(base, at_once)
