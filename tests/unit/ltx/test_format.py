"""
Header, trailer and names of LTX files.
"""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litekeep.errors import FormatError
from litekeep.ltx.format import (
    CHECKSUM_FLAG,
    HEADER_SIZE,
    NO_CHECKSUM,
    PAGE_SIZES,
    TXID_MAX,
    Header,
    Trailer,
    format_name,
    lock_page_number,
    page_count_of,
    parse_header,
    parse_name,
    parse_trailer,
)
from tests.writers.ltx import header

SOUND = header()


@given(
    page_size=st.sampled_from(sorted(PAGE_SIZES)),
    commit=st.integers(0, 2**32 - 1),
    txids=st.tuples(st.integers(1, TXID_MAX), st.integers(1, TXID_MAX)).map(sorted),
    timestamp=st.datetimes(timezones=st.just(UTC)).filter(lambda time: time.year < 9999),
    place=st.tuples(st.integers(1, 2**63 - 1), st.integers(0, 2**63 - 1)),
    salts=st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
    node_id=st.integers(0, 2**64 - 1),
    checksum=st.integers(CHECKSUM_FLAG, 2**64 - 1) | st.none(),
)
def test_a_header_comes_back(page_size, commit, txids, timestamp, place, salts, node_id, checksum):
    is_kept = checksum is not None
    head = Header(
        page_size=page_size,
        commit=commit,
        min_txid=txids[0],
        max_txid=txids[1],
        timestamp_ms=int((timestamp - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000),
        flags=0 if is_kept else NO_CHECKSUM,
        pre_apply_checksum=checksum if is_kept and txids[0] > 1 else 0,
        wal_offset=place[0],
        wal_size=place[1],
        wal_salt1=salts[0],
        wal_salt2=salts[1],
        node_id=node_id,
    )
    data = head.encode()

    assert len(data) == HEADER_SIZE
    assert parse_header(data) == head
    assert abs((head.timestamp - timestamp).total_seconds()) < 0.01


@pytest.mark.parametrize(
    "changes",
    [
        {"page_size": 0},
        {"page_size": 1},
        {"page_size": 256},
        {"page_size": 4095},
        {"page_size": 131072},
        {"flags": 1},
        {"flags": 3},
        {"commit": -1},
        {"commit": 2**32},
        {"min_txid": 0},
        {"min_txid": 3},
        {"max_txid": TXID_MAX + 1},
        {"timestamp_ms": 2**62},
        {"timestamp_ms": -(2**62)},
        {"pre_apply_checksum": CHECKSUM_FLAG},
        {"flags": 0},
        {"flags": 0, "pre_apply_checksum": 1},
        {"flags": 0, "pre_apply_checksum": CHECKSUM_FLAG, "min_txid": 1},
        {"wal_offset": -1},
        {"wal_offset": 32, "wal_size": -1},
        {"wal_size": 1},
        {"wal_salt1": 1},
        {"wal_salt2": 1},
    ],
    ids=str,
)
def test_what_no_header_may_say_is_refused(changes):
    with pytest.raises(FormatError) as caught:
        dataclasses.replace(SOUND, **changes)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("place", "value", "named"),
    [(0, b"LTX2", "LTX2"), (8, bytes(4), "page size"), (80, b"\1", "zero"), (99, b"\1", "zero")],
)
def test_bytes_that_are_no_header_are_refused(place, value, named):
    data = bytearray(SOUND.encode())
    data[place : place + len(value)] = value

    with pytest.raises(FormatError, match=named):
        parse_header(bytes(data))
    with pytest.raises(FormatError, match="ends in its header"):
        parse_header(SOUND.encode()[:-1])


def test_a_snapshot_begins_at_txid_1():
    assert header(min_txid=1).is_snapshot
    assert not SOUND.is_snapshot


def test_a_trailer_comes_back_and_is_held_to_the_header():
    without, kept = Trailer(0, CHECKSUM_FLAG), Trailer(CHECKSUM_FLAG | 1, CHECKSUM_FLAG | 2)
    keeping = header(flags=0, pre_apply_checksum=CHECKSUM_FLAG)

    assert parse_trailer(without.encode(), SOUND) == without
    assert parse_trailer(kept.encode(), keeping) == kept
    for data, head in (
        (kept.encode(), SOUND),
        (without.encode(), keeping),
        (Trailer(0, 1).encode(), SOUND),
        (Trailer(1, CHECKSUM_FLAG).encode(), keeping),
        (without.encode()[1:], SOUND),
    ):
        with pytest.raises(FormatError, match="trailer"):
            parse_trailer(data, head)


@given(txids=st.tuples(st.integers(1, TXID_MAX), st.integers(1, TXID_MAX)).map(sorted))
def test_a_name_comes_back(txids):
    assert parse_name(format_name(*txids)) == tuple(txids)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "0000000000000001-0000000000000001",
        "0000000000000001-0000000000000001.ltx.age",
        "0000000000000001-0000000000000001.ltx\n",
        "0000000000000000-0000000000000001.ltx",
        "0000000000000002-0000000000000001.ltx",
        "000000000000000A-000000000000000B.ltx",
        "1-1.ltx",
        "0/0000000000000001-0000000000000001.ltx",
        "000000000000000\u0661-0000000000000002.ltx",
    ],
)
def test_what_is_no_name_is_refused(name):
    with pytest.raises(FormatError, match="not the name"):
        parse_name(name)


@pytest.mark.parametrize("page_size", sorted(PAGE_SIZES))
def test_a_snapshot_has_all_pages_but_the_lock_page(page_size):
    lock_page = lock_page_number(page_size)

    assert (lock_page - 1) * page_size == 0x40000000
    for commit, count in ((0, 0), (lock_page - 1, lock_page - 1), (lock_page + 5, lock_page + 4)):
        assert page_count_of(header(page_size, commit, 1)) == count
    assert page_count_of(header(page_size, lock_page, 1)) == lock_page - 1
