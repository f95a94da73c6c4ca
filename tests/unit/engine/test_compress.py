"""
Compression takes all cores, as long as the memory is what was promised.
"""

from __future__ import annotations

import pytest

from litekeep import workers
from litekeep.codec.base import Codec
from litekeep.codec.formats import CODECS
from litekeep.engine.compress import MEMORY_SIZE_MAX, THREADS_MAX, compressed, thread_count

LEVELS = [
    (codec, level) for codec in CODECS for level in range(codec.level_min, codec.level_max + 1)
]


@pytest.mark.parametrize(("codec", "level"), LEVELS)
@pytest.mark.parametrize("cores", [1, 2, 64])
def test_threads_are_bounded_by_cores_and_by_memory(monkeypatch, codec: Codec, level, cores):
    monkeypatch.setattr(workers, "core_count", lambda: cores)
    count = thread_count(codec, level)
    assert 1 <= count <= min(cores, THREADS_MAX)
    assert count == 1 or count * codec.memory_size(level) <= MEMORY_SIZE_MAX


@pytest.mark.parametrize("codec", CODECS)
def test_the_default_level_takes_all_threads_there_may_be(monkeypatch, codec: Codec):
    monkeypatch.setattr(workers, "core_count", lambda: 64)
    assert thread_count(codec, codec.level_default) == THREADS_MAX


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("pieces", [[], [b"one"], [b"one", b"two"] * 50])
def test_what_is_compressed_comes_back_in_order(codec: Codec, pieces: list[bytes]):
    members = list(compressed(pieces, codec, codec.level_default))
    assert b"".join(codec.decode(members)) == b"".join(pieces)


def test_few_pieces_are_under_way_at_once():
    taken = 0

    def pieces():
        nonlocal taken
        for number in range(100):
            taken += 1
            yield number

    results = workers.ordered(lambda number: number, pieces(), threads=8)
    assert next(results) == 0
    assert taken == 10
