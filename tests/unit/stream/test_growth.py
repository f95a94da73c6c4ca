"""
However long a history becomes, the work of a restore stays within bounds.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from litekeep.stream.chain import plan_links, read_chain
from litekeep.stream.policy import StreamPolicy
from tests.writers.chains import Writer

POLICY = StreamPolicy(base_delta_size_min=0, file_count_max=16)
#: What may follow the last base: what no hour has taken together, and the windows of an hour
#: (twelve of five minutes), of five minutes (ten of half a minute), and of half a minute.
FILES_MAX = 1 + POLICY.file_count_max + 1 + 12 + 10


@dataclass(frozen=True)
class Work:
    """What a restore of the newest txid took at worst, and how many files there were."""

    file_count: int
    weight: float
    stored_count: int


def grown(writer: Writer, every_seconds: float, span_seconds: int) -> Work:
    worst = Work(0, 0.0, 0)
    while writer.clock.seconds < span_seconds:
        writer.sync()
        writer.keep()
        if writer.txid % 23 == 0:
            chain = read_chain(writer.place)
            links = plan_links(chain, chain.last_txid)
            worst = Work(
                max(worst.file_count, len(links)),
                max(worst.weight, sum(link.size for link in links) / links[0].size),
                max(worst.stored_count, len(chain.links)),
            )
        writer.clock.seconds += every_seconds
    return worst


@pytest.mark.parametrize(
    ("every_seconds", "span_seconds"), [(1.7, 1500), (41, 43200), (5000, 30 * 86400)]
)
def test_a_restore_needs_no_more_files_however_long_the_history(
    tmp_path, every_seconds, span_seconds
):
    writer = Writer(tmp_path, policy=POLICY, page_count=600, keeps_states=False)
    worst = grown(writer, every_seconds, span_seconds)
    assert worst.file_count <= FILES_MAX + 30 / every_seconds
    # The base, half of it, and what is not merged yet: small files, each with its frame.
    assert worst.weight <= 2.2
    assert writer.warned == []
    assert writer.restore(writer.txid)[1].is_proved
