"""
Codecs, whatever the sizes of the pieces on either side.
"""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from litekeep.codec.formats import CODECS, codec_named
from litekeep.errors import FormatError

COMPRESSED = [codec for codec in CODECS if codec.suffix]

content = st.lists(
    st.one_of(
        st.binary(max_size=300),
        st.builds(lambda byte, count: byte * count, st.binary(min_size=1, max_size=3),
                  st.integers(0, 70_000)),
    ),
    min_size=1,
    max_size=5,
)  # fmt: skip
cuts = st.lists(st.integers(0, 1 << 17), max_size=20)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Cut *data* at the places that lie in it; pieces of no bytes are among them."""
    ends = [*sorted(place for place in places if place <= len(data)), len(data)]
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
@settings(max_examples=60, deadline=None)
@given(pieces=content, places=cuts, data=st.data())
def test_what_goes_in_comes_out(codec, pieces, places, data):
    level = data.draw(st.integers(codec.level_min, min(codec.level_max, 9)))
    stored = b"".join(codec.encode(piece, level) for piece in pieces)
    assert b"".join(codec.decode(cut(stored, places))) == b"".join(pieces)


@pytest.mark.parametrize("codec", COMPRESSED, ids=lambda codec: codec.name)
@settings(max_examples=150, deadline=None)
@given(pieces=content, places=cuts, bit=st.integers(min_value=0))
def test_damage_is_an_error_or_changes_nothing(codec, pieces, places, bit):
    stored = bytearray(b"".join(codec.encode(piece, codec.level_default) for piece in pieces))
    bit %= len(stored) * 8
    stored[bit // 8] ^= 1 << bit % 8
    with contextlib.suppress(FormatError):
        assert b"".join(codec.decode(cut(bytes(stored), places))) == b"".join(pieces)


@pytest.mark.parametrize("codec", COMPRESSED, ids=lambda codec: codec.name)
@settings(max_examples=150, deadline=None)
@given(pieces=content, places=cuts, size=st.integers(min_value=0))
def test_a_cut_is_an_error_or_lies_between_members(codec, pieces, places, size):
    members = [codec.encode(piece, codec.level_default) for piece in pieces]
    stored = b"".join(members)
    size %= len(stored)
    ends = {len(b"".join(members[:count])): count for count in range(1, len(members))}
    try:
        found = b"".join(codec.decode(cut(stored[:size], places)))
        assert found == b"".join(pieces[: ends[size]])
    except FormatError:
        assert size not in ends


@pytest.mark.parametrize("codec", COMPRESSED, ids=lambda codec: codec.name)
@settings(max_examples=150, deadline=None)
@given(noise=st.binary(max_size=200), places=cuts, with_magic=st.booleans())
def test_noise_is_an_error_and_never_a_crash(codec, noise, places, with_magic):
    stored = codec.magic + noise if with_magic else noise
    try:
        found = b"".join(codec.decode(cut(stored, places)))
    except FormatError:
        return
    assert len(found) < 1 << 20


def test_the_default_is_gzip():
    assert CODECS[0] is codec_named("gzip")
