"""
The rules of `litekeep.store.base`, by number, over every kind of store.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from litekeep.errors import (
    BlobChanged,
    BlobNotFound,
    ConfigError,
    NameTaken,
    StoreError,
)
from litekeep.store.base import (
    NAME_SIZE_MAX,
    PIECE_SIZE_MAX,
    PROBE_NAME,
    Store,
    check_metadata,
    check_name,
    honours_conditions,
)
from tests.contract.conftest import Place

MIB = 1 << 20
RACERS = 12
METADATA = {"litestream-timestamp": "2025-09-08T12:00:01.000Z", "litekeep-sha256": "ab" * 32}


class Pieces:
    """A body in pieces that counts how often it was begun."""

    def __init__(self, *pieces: bytes, error: Exception | None = None) -> None:
        self.pieces = pieces
        self.error = error
        self.begun = 0

    def __iter__(self) -> Iterator[bytes]:
        self.begun += 1
        yield from self.pieces
        if self.error is not None:
            raise self.error


def content(store: Store, name: str, **range_of) -> bytes:
    return b"".join(store.get(name, **range_of))


def names(store: Store, prefix: str = "", **options: str) -> list[str]:
    return [blob.name for blob in store.list(prefix, **options)]


def in_threads(count: int, work) -> list[Any]:
    """Run ``work(index)`` in *count* threads at once; results or errors, in order."""
    outcomes: list[Any] = [None] * count
    barrier = threading.Barrier(count)

    def run(index: int) -> None:
        barrier.wait()
        try:
            outcomes[index] = work(index)
        except Exception as error:
            outcomes[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def test_rule_1_a_body_that_raises_stores_nothing(place: Place):
    """The body's own error comes out, and the name is as it was."""
    store = place.open()
    store.put("kept", b"old")
    large = os.urandom(MIB)
    for name in ("kept", "new"):
        with pytest.raises(ConfigError, match="by the body"):
            store.put(name, Pieces(*[large] * 20, error=ConfigError("by the body")))

    assert content(store, "kept") == b"old"
    assert names(store) == ["kept"]


def test_rule_2_another_process_sees_what_put_returned(place: Place):
    """A second store object, opened later, reads it."""
    place.open().put("a/b", b"body", metadata=METADATA)

    assert content(place.open(), "a/b") == b"body"
    assert place.open().head("a/b").metadata == METADATA


def test_rule_3_create_never_replaces(place: Place):
    """Other bytes, other metadata: refused."""
    store = place.open()
    store.put("name", b"first", create=True, metadata={"a": "1"})
    for body, metadata in ((b"other", {"a": "1"}), (b"first", {"a": "2"}), (b"first", None)):
        with pytest.raises(NameTaken):
            store.put("name", body, create=True, metadata=metadata)

    assert content(store, "name") == b"first"
    assert store.head("name").metadata == {"a": "1"}
    assert names(store) == ["name"]


@pytest.mark.parametrize("has_metadata", [True, False])
def test_rule_3_of_racing_creators_one_wins(place: Place, has_metadata: bool):
    """Twelve at once, each with a store object of its own."""
    stores = [place.open() for _ in range(RACERS)]
    for attempt in range(2):
        name = f"race-{attempt}"

        def metadata(index: int) -> dict[str, str]:
            return {"by": f"n{index}"} if has_metadata else {}

        def create(index: int, name: str = name) -> int:
            stores[index].put(name, b"by %d" % index, create=True, metadata=metadata(index))
            return index

        outcomes = in_threads(RACERS, create)
        winners = [outcome for outcome in outcomes if isinstance(outcome, int)]
        losers = [outcome for outcome in outcomes if isinstance(outcome, NameTaken)]
        assert (len(winners), len(losers)) == (1, RACERS - 1), outcomes
        assert content(stores[0], name) == b"by %d" % winners[0]
        assert stores[0].head(name).metadata == metadata(winners[0])


def test_rule_4_create_that_meets_its_own_blob_succeeds(store: Store):
    first = store.put("name", b"body", create=True, metadata=METADATA)
    again = store.put("name", b"body", create=True, metadata=METADATA)

    assert (again.name, again.size) == (first.name, first.size)


def test_rule_5_put_replaces_bytes_and_metadata(store: Store):
    store.put("name", b"first", metadata={"a": "1", "b": "2"})
    store.put("name", b"second, longer", metadata={"c": "3"})
    assert content(store, "name") == b"second, longer"
    assert store.head("name").metadata == {"c": "3"}

    store.put("name", b"x")
    assert content(store, "name") == b"x"
    assert store.head("name").metadata == {}


@pytest.mark.parametrize("size", [0, 1, PIECE_SIZE_MAX, 13 * MIB + 5])
def test_rule_6_a_body_in_pieces_is_stored_whole(store: Store, size: int):
    data = os.urandom(size)
    pieces = [data[start : start + 300_001] for start in range(0, size, 300_001)]
    blob = store.put("name", Pieces(*pieces), metadata=METADATA, size_max=size)

    assert blob.size == size
    assert content(store, "name") == data
    assert store.head("name").metadata == METADATA


def test_rule_7_ranges(store: Store):
    """Exactly the bytes asked for; cut at the end; empty behind it."""
    data = os.urandom(3 * PIECE_SIZE_MAX + 100)
    store.put("name", data)
    end = len(data)
    for offset, size in [
        (0, None),
        (0, 0),
        (0, 1),
        (1, PIECE_SIZE_MAX),
        (5, 2 * PIECE_SIZE_MAX + 1),
        (end - 1, 1),
        (end - 1, 10),
        (end - 1, None),
        (end, None),
        (end, 1),
        (end + 10, None),
        (end + 10, 5),
    ]:
        expected = data[offset:] if size is None else data[offset : offset + size]
        assert content(store, "name", offset=offset, size=size) == expected, (offset, size)
    assert all(len(piece) <= PIECE_SIZE_MAX for piece in store.get("name"))

    store.put("empty", b"")
    assert content(store, "empty") == b""
    assert content(store, "empty", offset=3, size=4) == b""


def test_rule_7_get_of_a_version_that_is_gone(place: Place):
    """A range of the version asked for, or `BlobChanged`."""
    store = place.open()
    first = store.put("name", b"first")
    assert content(store, "name", offset=1, version=first.version) == b"irst"
    second = store.put("name", b"second")
    assert content(store, "name", version=second.version) == b"second"
    with pytest.raises(BlobChanged):
        content(store, "name", offset=1, version=first.version)


def test_rule_8_list_is_in_order_of_bytes(store: Store):
    stored = [
        "a",
        "a-b",
        "a.b/c",
        "b/c",
        "b/c2",
        "b-c",
        "b0",
        "B",
        "é",
        "ü/x",
        "z/é",
        "z/z",
        "豈",
        "𐍈",
    ]
    for name in stored:
        store.put(name, name.encode())
    expected = sorted(stored, key=str.encode)

    assert names(store) == expected
    for prefix in ("b", "b/", "b/c", "b/c2", "c", "z/", "ü"):
        assert names(store, prefix) == [n for n in expected if n.startswith(prefix)], prefix
        for after in ("a", "b", "b/", "b/c", "b-d", "z/é", "zz"):
            wanted = [n for n in expected if n.startswith(prefix) and n > after]
            assert names(store, prefix, start_after=after) == wanted, (prefix, after)
    assert [blob.size for blob in store.list("b/c")] == [3, 4]
    assert all(not blob.metadata for blob in store.list())


def test_rule_8_list_goes_past_a_page_of_the_server(store: Store):
    """More names than one answer holds (1,000 on S3)."""
    wanted = [f"many/{index:04}" for index in range(1005)]
    in_threads(15, lambda worker: [store.put(name, b"x") for name in wanted[worker::15]])

    assert names(store, "many/") == wanted
    assert names(store, "many/", start_after="many/1002") == wanted[1003:]


def test_rule_9_a_name_that_is_not_there(store: Store):
    for ask in (
        lambda: store.head("missing/name"),
        lambda: content(store, "missing/name"),
        lambda: content(store, "missing/name", offset=5, size=1),
        lambda: store.copy("missing/name", "other"),
    ):
        with pytest.raises(BlobNotFound):
            ask()
    store.delete("missing/name")
    store.put("name", b"body", metadata=METADATA)
    store.delete("name")
    store.delete("name")
    with pytest.raises(BlobNotFound):
        store.head("name")
    assert names(store) == []
    store.put("name", b"again")
    assert store.head("name").metadata == {}


def test_rule_10_copy_takes_all_along_and_replaces(place: Place):
    store = place.open()
    data = os.urandom(2 * MIB + 7)
    store.put("source", data, metadata=METADATA)
    store.put("target", b"old", metadata={"old": "1"})
    store.copy("source", "target")
    store.copy("source", "deep/er/target")

    for name in ("source", "target", "deep/er/target"):
        assert content(store, name) == data
        assert store.head(name).metadata == METADATA
    store.put("source", b"changed")
    assert content(store, "target") == data


def test_rule_11_replace_only_the_version_named(place: Place):
    store = place.open()
    first = store.put("lease", b"one", metadata={"epoch": "1"})
    second = store.replace("lease", b"two", version=first.version, metadata={"epoch": "2"})
    assert (content(store, "lease"), store.head("lease").metadata) == (b"two", {"epoch": "2"})
    with pytest.raises(BlobChanged):
        store.replace("lease", b"late", version=first.version)
    store.replace("lease", b"three", version=store.head("lease").version)
    store.delete("lease")
    with pytest.raises(BlobChanged):
        store.replace("lease", b"gone", version=second.version)
    assert names(store) == []


def test_rule_11_of_racing_replacers_one_wins(place: Place):
    stores = [place.open() for _ in range(RACERS)]
    version = stores[0].put("lease", b"begin").version
    outcomes = in_threads(
        RACERS, lambda index: stores[index].replace("lease", b"%d" % index, version=version)
    )

    assert sum(not isinstance(outcome, Exception) for outcome in outcomes) == 1, outcomes
    assert sum(isinstance(outcome, BlobChanged) for outcome in outcomes) == RACERS - 1, outcomes


def test_rule_12_versions_change_and_agree(store: Store):
    """`put`, `head` and the next `put`; never the same for two contents."""
    put = store.put("name", b"body")
    assert store.head("name").version == put.version != ""
    assert store.put("name", b"BODY").version != put.version
    age = datetime.now(UTC) - store.head("name").modified
    assert abs(age) < timedelta(minutes=5)


def test_rule_12_metadata_that_not_every_store_keeps_is_refused(store: Store):
    for metadata in ({"Upper": "x"}, {"a_b": "x"}, {"a": "é"}, {"a": " x"}, {"a": "x" * 2048}):
        with pytest.raises(StoreError):
            store.put("name", b"body", metadata=metadata)
        with pytest.raises(StoreError):
            check_metadata(metadata)
    largest = {"a": "x" * 1000, "b": "~!@#$%^&*()_+ =,;:'<>?[]{}|" + "y" * 1000}
    store.put("name", b"body", metadata=largest)
    assert store.head("name").metadata == largest


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "..",
            "a/../b",
            "./a",
            "a\\b",
            "a\nb",
            "a\x7f",
            "\ud800",
            "\uffff",
        ),
        *("x" * (NAME_SIZE_MAX + 1), "x" * 250, ".a.meta", "b/.litekeep-0123456789abcdef.tmp"),
    ],
)
def test_rule_13_names_are_checked_first(store: Store, name: str, tmp_path: Path):
    (tmp_path / "file").write_bytes(b"x")
    for ask in (
        lambda: check_name(name),
        lambda: store.put(name, b""),
        lambda: store.put(name, b"", create=True),
        lambda: store.replace(name, b"", version="1"),
        lambda: content(store, name),
        lambda: store.head(name),
        lambda: store.delete(name),
        lambda: store.copy(name, "a"),
        lambda: store.copy("a", name),
        lambda: store.take(tmp_path / "file", name),
    ):
        with pytest.raises(StoreError) as caught:
            ask()
        assert not isinstance(caught.value, BlobNotFound)


@pytest.mark.parametrize(
    "name",
    [
        "a b/c d",
        "100%/%41",
        "a+b&c=d?e#f",
        "~!@$^*()[]{}|;:'\"<>,`",
        "..a/b..c/.hidden/...",
        "日本語/é/𐍈",
        "x" * 239,
        PROBE_NAME,
    ],
)
def test_rule_13_odd_names_name_one_blob_each(store: Store, name: str):
    store.put(name, b"body", metadata={"a": "1"})
    store.copy(name, f"{name}2")

    assert content(store, name) == b"body"
    assert names(store) == [name, f"{name}2"]
    assert names(store, name) == [name, f"{name}2"]
    assert names(store, start_after=name) == [f"{name}2"]
    store.delete(name)
    assert names(store) == [f"{name}2"]


def test_rule_16_threads_share_a_store(store: Store):
    def work(index: int) -> bytes:
        data = bytes([index]) * 100_000
        for _ in range(3):
            store.put(f"t/{index}", data, metadata={"n": str(index)})
            assert store.head(f"t/{index}").metadata == {"n": str(index)}
        return content(store, f"t/{index}")

    assert in_threads(8, work) == [bytes([index]) * 100_000 for index in range(8)]
    assert len(names(store, "t/")) == 8


def test_take_stores_a_finished_file(store: Store, tmp_path: Path):
    """Linked where the store can; nothing hidden is left, and the file stays the caller's."""
    staging = store.staging or tmp_path
    staging.mkdir(exist_ok=True)
    path = staging / ".litekeep-0123456789abcdef.tmp"
    data = os.urandom(MIB + 1)
    path.write_bytes(data)
    for _ in range(2):
        blob = store.take(path, "2025/09/app.db.gz", metadata=METADATA)
        assert blob.size == len(data)
    assert names(store) == ["2025/09/app.db.gz"]
    path.unlink()

    assert content(store, "2025/09/app.db.gz") == data
    assert store.head("2025/09/app.db.gz").metadata == METADATA


def test_read_refuses_what_is_too_large(store: Store):
    store.put("name", b"12345")

    assert store.read("name", size_max=5) == b"12345"
    with pytest.raises(StoreError, match="larger than 4 bytes"):
        store.read("name", size_max=4)


def test_the_probe_finds_that_conditions_are_honoured(place: Place):
    for _ in range(2):
        assert honours_conditions(place.open())


def test_clean_of_a_tidy_store_removes_nothing(store: Store):
    store.put("a/b", b"body", metadata=METADATA)

    assert list(store.clean()) == []
    assert store.head("a/b").metadata == METADATA
