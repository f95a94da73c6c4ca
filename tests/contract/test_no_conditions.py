"""
A server that takes no notice of conditions and of most ranges: rclone's S3.

It cannot keep rules 3, 4 and 11.  What matters is that this is found out, and
that all else works.  (rclone also adds metadata of its own to a copy.)
"""

from __future__ import annotations

import pytest

from litekeep.store.base import Store, honours_conditions
from litekeep.store.open import open_store
from tests.servers.s3 import S3Server


@pytest.fixture
def store(rclone_s3: S3Server) -> Store:
    return open_store(f"s3://{rclone_s3.new_bucket()}/some/prefix", rclone_s3.options())


def test_the_probe_finds_that_conditions_are_ignored(store: Store):
    for _ in range(2):
        assert not honours_conditions(store)


def test_rule_3_is_not_kept_which_is_why_there_is_a_probe(store: Store):
    store.put("name", b"first", create=True)
    store.put("name", b"second", create=True)

    assert store.read("name", size_max=10) == b"second"


def test_a_server_that_ignores_ranges_is_read_whole(store: Store):
    data = bytes(range(256)) * 20
    store.put("name", data)
    for offset, size in [(0, 1), (1, 2), (100, 2000), (5000, None), (5000, 999), (9999, 1)]:
        expected = data[offset:] if size is None else data[offset : offset + size]
        assert b"".join(store.get("name", offset=offset, size=size)) == expected


def test_large_blobs_go_in_parts(store: Store):
    data = bytes(range(256)) * (80 << 10)
    store.put("large", [data])

    assert b"".join(store.get("large")) == data


def test_snapshots_work_without_conditions(store: Store):
    store.put("2025/09/app.db.gz", b"data", metadata={"litekeep-id": "x"})
    store.copy("2025/09/app.db.gz", "latest.db.gz")

    assert store.head("2025/09/app.db.gz").metadata == {"litekeep-id": "x"}
    assert [blob.name for blob in store.list()] == ["2025/09/app.db.gz", "latest.db.gz"]
    assert store.read("latest.db.gz", size_max=10) == b"data"
    store.delete("latest.db.gz")
    assert [blob.name for blob in store.list("2025/")] == ["2025/09/app.db.gz"]
