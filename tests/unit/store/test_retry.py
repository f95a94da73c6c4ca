"""
Patience: through a proxy that misbehaves, and with a clock that the test owns.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator

import pytest

from litekeep.errors import (
    AccessDenied,
    BlobChanged,
    BlobNotFound,
    NameTaken,
    StoreUnavailable,
    StoreUnreachable,
)
from litekeep.store.base import Blob, Store
from litekeep.store.memory import MemoryStore
from litekeep.store.open import open_store
from litekeep.store.retry import (
    STRANGER_SECONDS_MAX,
    WAIT_SECONDS_FIRST,
    WAIT_SECONDS_MAX,
    RetryStore,
)
from tests.servers.proxy import TcpProxy
from tests.servers.s3 import S3Server

MIB = 1 << 20
Proxied = tuple[Store, TcpProxy, Store]


class Flaky(MemoryStore):
    """Fails *failures* times, before or after it has done what was asked."""

    def __init__(self, failures: int, *, is_done: bool = False, error: type = StoreUnavailable):
        super().__init__()
        self.failures = failures
        self.is_done = is_done
        self.error = error
        self.attempts = 0

    def put(self, name, body, **options) -> Blob:
        return self._flaky(lambda: super(Flaky, self).put(name, body, **options))

    def replace(self, name, body, **options) -> Blob:
        return self._flaky(lambda: super(Flaky, self).replace(name, body, **options))

    def _flaky(self, work: Callable[[], Blob]) -> Blob:
        self.attempts += 1
        if self.failures == 0:
            return work()
        self.failures -= 1
        if self.is_done:
            work()
        raise self.error("by the test")


class Time:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def around(self, store: Store, **options) -> RetryStore:
        options = {"seconds_max": 1e9, "dice": lambda: 1.0} | options
        return RetryStore(store, monotonic=lambda: self.now, sleep=self.sleep, **options)


def test_waits_double_up_to_a_bound():
    time, inner = Time(), Flaky(12)
    time.around(inner).put("name", b"body")

    expected = [min(WAIT_SECONDS_MAX, WAIT_SECONDS_FIRST * 2**n) for n in range(12)]
    assert time.slept == expected


@pytest.mark.parametrize("seconds", [3, 120, 3600])
@pytest.mark.parametrize("dice", [0.0, 1.0])
def test_patience_lasts_as_long_as_it_was_told_to(seconds: float, dice: float):
    """Not longer, and not shorter than one wait before that; so attempts have a bound."""
    time, inner = Time(), Flaky(10**9)
    with pytest.raises(StoreUnavailable):
        time.around(inner, seconds_max=seconds, dice=lambda: dice).put("name", b"body")
    assert max(seconds - WAIT_SECONDS_MAX, seconds / 3) <= time.now <= seconds
    assert inner.attempts <= 12 + 2 * seconds / WAIT_SECONDS_MAX


def test_no_patience_is_one_attempt():

    time, inner = Time(), Flaky(99)
    with pytest.raises(StoreUnavailable):
        time.around(inner, seconds_max=0).put("name", b"body")
    assert inner.attempts == 1


def test_waits_are_spread_by_the_dice():
    rolled = iter([0.0, 0.5, 1.0])
    time = Time()
    time.around(Flaky(3), dice=lambda: next(rolled)).put("name", b"body")

    first = WAIT_SECONDS_FIRST
    assert time.slept == [first * 0.5, first * 2 * 0.75, first * 4]


def test_what_is_no_outage_comes_out_at_once():
    time, inner = Time(), Flaky(1, error=AccessDenied)
    with pytest.raises(AccessDenied):
        time.around(inner).put("name", b"body")
    with pytest.raises(BlobNotFound):
        time.around(inner).head("missing")
    assert time.slept == []


def test_a_create_whose_answer_was_lost_is_its_own():
    inner = Flaky(1, is_done=True)
    Time().around(inner).put("name", b"body", create=True, metadata={"a": "1"})

    inner = Flaky(1)
    inner.failures = 0
    inner.put("name", b"theirs")
    inner.failures = 1
    with pytest.raises(NameTaken):
        Time().around(inner).put("name", b"ours", create=True)


def test_a_replace_whose_answer_was_lost_is_its_own():
    inner = Flaky(0)
    version = inner.put("name", b"old").version
    inner.failures, inner.is_done = 1, True
    blob = Time().around(inner).replace("name", b"new", version=version)

    assert inner.head("name").version == blob.version
    with pytest.raises(BlobChanged):
        Time().around(inner).replace("name", b"newer", version=version)


@pytest.fixture
def proxied(seaweedfs: S3Server, tcp_proxy: Callable[..., TcpProxy]) -> Proxied:
    """A store behind a proxy, the proxy, and the same store without it."""
    proxy = tcp_proxy(seaweedfs.endpoint)
    url = f"s3://{seaweedfs.new_bucket()}/p"
    options = {"timeout_seconds": 2, "request_seconds": 5, "retry_seconds": 20}
    return (
        open_store(url, seaweedfs.options(endpoint=proxy.endpoint, **options)),
        proxy,
        open_store(url, seaweedfs.options()),
    )


def test_a_get_that_is_cut_goes_on_where_it_was(proxied: Proxied):
    """Byte for byte, and what had come is not asked for again."""
    store, proxy, direct = proxied
    data = os.urandom(12 * MIB + 5)
    direct.put("name", data)
    proxy.cut_down(3 * MIB, times=3)
    before = proxy.bytes_down
    assert b"".join(store.get("name")) == data
    assert proxy.faults >= 2
    assert proxy.bytes_down - before < len(data) + 4 * MIB

    proxy.cut_down(2 * MIB, times=2)
    assert b"".join(store.get("name", offset=5, size=9 * MIB)) == data[5 : 5 + 9 * MIB]


def test_a_get_never_mixes_two_versions(proxied: Proxied):
    """The blob is replaced while its reader is cut off: an error, not a mixture."""
    store, proxy, direct = proxied
    direct.put("name", bytes(12 * MIB))
    proxy.cut_down(3 * MIB, times=2)  # the head may have a connection of its own
    pieces = store.get("name")
    assert not any(next(pieces))
    direct.put("name", b"\1" * (12 * MIB))
    with pytest.raises(BlobChanged):
        assert not any(any(piece) for piece in pieces)


@pytest.mark.parametrize("body_size", [1000, 20 * MIB])
def test_a_put_gets_through_503_and_cuts(proxied: Proxied, body_size: int):
    store, proxy, direct = proxied
    data = os.urandom(body_size)

    class Body:
        begun = 0

        def __iter__(self) -> Iterator[bytes]:
            Body.begun += 1
            for start in range(0, len(data), MIB):
                yield data[start : start + MIB]

    for trouble in (
        lambda: proxy.unavailable(3),
        lambda: proxy.cut_up(min(body_size, 500_000) // 2, times=2),
        lambda: proxy.lose_answers(1),
    ):
        trouble()
        store.put("name", Body(), size_max=len(data))
        assert proxy.faults > 0
        assert b"".join(direct.get("name")) == data
    assert [blob.name for blob in direct.list()] == ["name"]


def test_a_create_whose_answer_the_network_lost_succeeds(proxied: Proxied):
    store, proxy, direct = proxied
    proxy.lose_answers(1)
    store.put("name", b"body", create=True, metadata={"a": "1"})
    assert proxy.faults == 1

    proxy.lose_answers(1)
    with pytest.raises(NameTaken):
        store.put("name", b"other", create=True)
    assert direct.read("name", size_max=9) == b"body"


def test_a_store_that_hangs_is_given_up(seaweedfs: S3Server, tcp_proxy: Callable[..., TcpProxy]):
    """Each kind of request ends, with the error that says so."""
    proxy = tcp_proxy(seaweedfs.endpoint)
    options = seaweedfs.options(
        endpoint=proxy.endpoint, timeout_seconds=0.3, request_seconds=0.6, retry_seconds=0
    )
    store = open_store(f"s3://{seaweedfs.new_bucket()}/p", options)
    proxy.hang()
    for ask in (
        lambda: store.put("name", b"body"),
        lambda: store.put("name", bytes(MIB)),
        lambda: store.put("name", [bytes(MIB)] * 20),
        lambda: store.head("name"),
        lambda: list(store.get("name")),
        lambda: list(store.list()),
        lambda: store.delete("name"),
    ):
        with pytest.raises(StoreUnavailable) as caught:
            ask()
        assert "does not answer" in caught.value.message


def test_a_slow_store_is_no_dead_one(seaweedfs: S3Server, tcp_proxy: Callable[..., TcpProxy]):
    """An upload may take longer than the silence that is allowed."""
    proxy = tcp_proxy(seaweedfs.endpoint)
    options = seaweedfs.options(endpoint=proxy.endpoint, timeout_seconds=0.5, retry_seconds=0)
    store = open_store(f"s3://{seaweedfs.new_bucket()}/p", options)
    proxy.throttle(2 * MIB)
    store.put("name", bytes(3 * MIB))
    assert sum(len(piece) for piece in store.get("name")) == 3 * MIB


def test_a_body_that_fails_leaves_no_upload_open(seaweedfs: S3Server):
    bucket = seaweedfs.new_bucket()
    store = open_store(f"s3://{bucket}/p", seaweedfs.options())
    seen: list[list[str]] = []

    def body() -> Iterator[bytes]:
        for _ in range(40):
            yield bytes(MIB)
        for _ in range(200):  # the upload is begun by another thread
            seen.append(seaweedfs.open_uploads(bucket))
            if seen[-1]:
                break
        raise RuntimeError("by the body")

    with pytest.raises(RuntimeError, match="by the body"):
        store.put("name", body())
    assert seen[-1] == ["p/name"]
    assert seaweedfs.open_uploads(bucket) == []
    assert list(store.list()) == []


def test_waiting_bodies_do_not_hold_others_up(seaweedfs: S3Server):
    """A body may wait for the disk while other threads use the store."""
    store = open_store(f"s3://{seaweedfs.new_bucket()}/p", seaweedfs.options())
    go_on = threading.Event()

    def body() -> Iterator[bytes]:
        yield bytes(9 * MIB)
        assert go_on.wait(30)
        yield bytes(9 * MIB)

    thread = threading.Thread(target=lambda: store.put("large", body(), size_max=18 * MIB))
    thread.start()
    store.put("small", b"body")
    assert store.read("small", size_max=4) == b"body"
    go_on.set()
    thread.join()
    assert store.head("large").size == 18 * MIB


def test_a_store_that_was_never_reached_gets_less_patience() -> None:
    """A wrong endpoint is told within seconds; one that was reached before is waited for."""
    time, inner = Time(), Flaky(99, error=StoreUnreachable)
    with pytest.raises(StoreUnreachable):
        time.around(inner).put("name", b"body")
    assert sum(time.slept) <= STRANGER_SECONDS_MAX
    early = inner.attempts

    time, inner = Time(), Flaky(0, error=StoreUnreachable)
    store = time.around(inner, seconds_max=600)
    store.put("name", b"body")
    inner.failures = 999
    with pytest.raises(StoreUnreachable):
        store.put("name", b"body")
    assert inner.attempts - 1 > early
