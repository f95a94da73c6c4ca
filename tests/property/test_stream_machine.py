"""
Any order of commits, streams, deaths, faults and losses: each txid of each store is one
commit, the one that it was when it was shipped, and no object ever changes.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from litekeep import faults
from litekeep.errors import StoreUnavailable
from litekeep.store.base import Blob, Body
from litekeep.store.memory import MemoryStore
from litekeep.stream.chain import Place, plan_links, read_chain
from litekeep.stream.job import StreamJob
from litekeep.stream.metadata import PARTIAL_KEY
from litekeep.stream.rebuild import apply_links
from litekeep.stream.running import opened_stream, stream_once
from litekeep.stream.streaming import Stream
from tests.writers.application import Application, ApplicationError
from tests.writers.reading import opened

Rows = list[tuple[int, str]]
PART_SIZE = 24 << 10


class Killed(BaseException):
    """Ends a stream as a kill would, but for what its contexts tidy up."""


class Moody(MemoryStore):
    """Fails as it is told: before a request, or once a put has been done."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self.failing_count = 0
        self.lost_count = 0

    def _fail(self) -> None:
        if self.failing_count:
            self.failing_count -= 1
            raise StoreUnavailable("the store is moody", hint="Wait.")

    def put(
        self,
        name: str,
        body: Body,
        *,
        create: bool = False,
        metadata: Mapping[str, str] | None = None,
        size_max: int | None = None,
    ) -> Blob:
        self._fail()
        put = super().put(name, body, create=create, metadata=metadata, size_max=size_max)
        if self.lost_count:
            self.lost_count -= 1
            raise StoreUnavailable("its answer was lost", hint="Wait.")
        return put

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[Blob]:
        self._fail()
        return super().list(prefix, start_after=start_after)


def restored(place: Place, txid: int) -> bytes:
    data = bytearray()

    def write(offset: int, piece: bytes) -> None:
        data[offset : offset + len(piece)] = piece

    def resize(size: int) -> None:
        del data[size:]
        data.extend(bytes(size - len(data)))

    applied = apply_links(place, plan_links(read_chain(place), txid), write=write, resize=resize)
    assert applied.is_proved
    return bytes(data)


def step(stream: Stream) -> None:
    """Do in this thread what the threads of a running stream do."""
    stream._look()
    stream._capture.sync()
    for line in stream._lines:
        if not line.is_over:
            stream._noting(line, lambda line=line: stream._ship_waiting(line))  # type: ignore[misc]
    if any(line.behind is not None for line in stream._lines):
        stream._capture.begin("a store was behind")
        stream._fill()


class Machine(RuleBasedStateMachine):
    """One application, two stores; `rows` is what is committed."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="litekeep-test-"))
        self.path = self.folder / "app.db"
        self.app = Application(self.path, busy_timeout_seconds=0.01)
        self.rows: Rows = []
        self.stores = [Moody("memory:first"), Moody("memory:second")]
        self.places = tuple(Place(store, "app/") for store in self.stores)
        self.time = datetime(2026, 1, 1, tzinfo=UTC)
        self.shipped: dict[tuple[str, int], Rows] = {}
        self.objects: dict[tuple[str, str], bytes] = {}
        self.stack = contextlib.ExitStack()
        self.stream: Stream | None = None
        self.opening = ""
        self.history: list[Rows] = [[]]

    def job(self, **changes: object) -> StreamJob:
        values = {
            "database": self.path,
            "state": self.folder / "state",
            "places": self.places,
            **changes,
        }
        return StreamJob(name="app", clock=lambda: self.time, help_size=20_000, **values)

    @initialize(
        page_size=st.sampled_from([512, 4096]),
        journal_mode=st.sampled_from(["WAL", "WAL", "WAL", "DELETE"]),
        auto_vacuum=st.integers(0, 2),
        autocheckpoint=st.sampled_from([0, 1, 10]),
    )
    def make(
        self, page_size: int, journal_mode: str, auto_vacuum: int, autocheckpoint: int
    ) -> None:
        self.opening = f"PRAGMA wal_autocheckpoint={autocheckpoint}"
        self.app.run(f"PRAGMA page_size={page_size}; PRAGMA auto_vacuum={auto_vacuum}")
        self.app.run(f"PRAGMA journal_mode={journal_mode}; {self.opening}")
        self.app.run("CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT)")

    def commit(self, statement: str) -> None:
        self.app.run(f"BEGIN IMMEDIATE; {statement}; COMMIT")
        self.rows = [(int(row[0]), str(row[1])) for row in self.app.run("SELECT id, a FROM t")]
        self.history.append(self.rows)
        self.time += timedelta(milliseconds=700)

    @rule(count=st.integers(1, 40), size=st.sampled_from([10, 700, 5000]))
    def insert(self, count: int, size: int) -> None:
        self.commit(
            f"WITH n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {count}) "
            f"INSERT INTO t(a) SELECT hex(randomblob({size} / 2)) FROM n"
        )

    @rule(number=st.integers(0, 40))
    def update(self, number: int) -> None:
        self.commit(f"UPDATE t SET a = hex(randomblob(length(a) / 2)) WHERE id > {number}")

    @rule(keep=st.integers(0, 30))
    def delete(self, keep: int) -> None:
        self.commit(f"DELETE FROM t WHERE id > {keep}")

    @rule()
    def change_schema(self) -> None:
        self.commit("DROP TABLE IF EXISTS u; CREATE TABLE u AS SELECT * FROM t")

    @rule()
    def roll_back(self) -> None:
        self.app.run("BEGIN; UPDATE t SET a = 'never'")
        self.app.run("ROLLBACK")

    @rule(mode=st.sampled_from(["PASSIVE", "FULL", "RESTART", "TRUNCATE"]))
    def checkpoint(self, mode: str) -> None:
        self.app.checkpoint(mode)

    @rule()
    def vacuum(self) -> None:
        with contextlib.suppress(ApplicationError):
            self.app.run("VACUUM")

    @precondition(lambda self: self.stream is None)
    @rule(mode=st.sampled_from(["WAL", "DELETE"]), page_size=st.sampled_from([0, 0, 512, 1024]))
    def flip(self, mode: str, page_size: int) -> None:
        if page_size:
            self.app.run("PRAGMA journal_mode=DELETE")
            self.app.run(f"PRAGMA page_size={page_size}; VACUUM")
        self.app.run(f"PRAGMA journal_mode={mode}")

    @rule(is_in_transaction=st.booleans())
    def die(self, is_in_transaction: bool) -> None:
        if is_in_transaction:
            with contextlib.suppress(ApplicationError):
                self.app.run("PRAGMA cache_size=2; BEGIN; UPDATE t SET a = 'never' || a")
        self.app.end()
        self.app = Application(self.path, busy_timeout_seconds=0.01)
        self.app.run(self.opening)

    @rule(seconds=st.sampled_from([-100_000, -1, 3600]))
    def jump(self, seconds: int) -> None:
        self.time += timedelta(seconds=seconds)

    @rule(which=st.integers(0, 1), failing=st.sampled_from([0, 0, 1, 12]), lost=st.integers(0, 1))
    def upset(self, which: int, failing: int, lost: int) -> None:
        self.stores[which].failing_count = failing
        self.stores[which].lost_count = lost

    @precondition(lambda self: self.stream is None)
    @rule()
    def lose_state(self) -> None:
        shutil.rmtree(self.folder / "state", ignore_errors=True)

    @precondition(lambda self: self.stream is None)
    @rule(which=st.sampled_from([(0,), (1,), (0, 1), (0, 1)]))
    def stream_once(self, which: tuple[int, ...]) -> None:
        with contextlib.suppress(StoreUnavailable):
            stream_once(self.job(places=tuple(self.places[index] for index in which)))
        self.take_note()

    @precondition(lambda self: self.stream is None)
    @rule(step=st.integers(0, 80))
    def be_killed(self, step: int) -> None:
        left = iter(range(step, -2, -1))

        def kill(_: str) -> None:
            if next(left, -1) == 0:
                raise Killed

        faults.listen(kill)
        try:
            with contextlib.suppress(Killed, StoreUnavailable):
                stream_once(self.job())
        finally:
            faults.listen(None)
        self.take_note()

    @precondition(lambda self: self.stream is None)
    @rule()
    def begin_stream(self) -> None:
        with contextlib.ExitStack() as stack:
            stream = stack.enter_context(opened_stream(self.job(), lambda _, __: None))
            with contextlib.suppress(StoreUnavailable):
                stream.begin()
                self.stream = stream
                self.stack = stack.pop_all()

    @precondition(lambda self: self.stream is not None)
    @rule()
    def look(self) -> None:
        """What the daemon does again and again, in this thread."""
        assert self.stream is not None
        with contextlib.suppress(StoreUnavailable):
            step(self.stream)
        self.take_note()

    @precondition(lambda self: self.stream is not None)
    @rule()
    def end_stream(self) -> None:
        self.stack.close()
        self.stream = None

    @rule(which=st.integers(0, 1))
    def another_host_writes(self, which: int) -> None:
        """It goes on from what the store holds; we find out at our next put or start."""
        place = self.places[which]
        self.stores[which].failing_count = self.stores[which].lost_count = 0
        head = read_chain(place).last_txid
        if head == 0:
            return
        other = self.folder / "other.db"
        for end in ("", "-wal", "-shm"):
            Path(f"{other}{end}").unlink(missing_ok=True)
        other.write_bytes(restored(place, head))
        with Application(other) as there:
            there.run("CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, a TEXT)")
            there.run("INSERT INTO t(a) VALUES ('there')")
            rows = [(int(row[0]), str(row[1])) for row in there.run("SELECT id, a FROM t")]
        self.history.append(rows)
        job = self.job(
            database=other, state=self.folder / "other-state", places=(place,), host="other"
        )
        assert stream_once(job).stores[0].error is None
        self.take_note()

    def take_note(self) -> None:
        """Nothing that a store had has changed; what is new is as it is known."""
        for place in self.places:
            store = place.store
            assert isinstance(store, Moody)
            failing, store.failing_count = store.failing_count, 0
            chain = read_chain(place)
            times = []
            for link in sorted(chain.links, key=lambda link: link.max_txid):
                data = b"".join(store.get(link.object))
                key = (store.url, link.object)
                if key not in self.objects:
                    self.look_at(place, link.max_txid, store.head(link.object).metadata)
                assert self.objects.setdefault(key, data) == data
                times.append(store.head(link.object).metadata["litestream-timestamp"])
            assert times == sorted(times)
            assert len(chain.txids()) == len(chain.links), "no txid is there twice"
            store.failing_count = failing

    def look_at(self, place: Place, txid: int, metadata: Mapping[str, str]) -> None:
        data = restored(place, txid)
        if PARTIAL_KEY in metadata:
            return
        with opened(data) as copy:
            assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            found = copy.execute("SELECT id, a FROM t").fetchall() if data else []
        assert found in self.history, "a txid is a commit"
        self.shipped[place.store.url, txid] = found

    def teardown(self) -> None:
        try:
            self.stack.close()
            self.stream = None
            for store in self.stores:
                store.failing_count = store.lost_count = 0
            result = stream_once(self.job())
            assert [store.error for store in result.stores] == [None, None]
            self.take_note()
            for place in self.places:
                with opened(restored(place, read_chain(place).last_txid)) as copy:
                    assert copy.execute("SELECT id, a FROM t").fetchall() == self.rows
            for (url, txid), known in self.shipped.items():
                (place,) = (place for place in self.places if place.store.url == url)
                with opened(restored(place, txid)) as copy:
                    assert copy.execute("SELECT id, a FROM t").fetchall() == known
        finally:
            self.app.end()
            shutil.rmtree(self.folder)


def check(monkeypatch: pytest.MonkeyPatch, example_count: int) -> None:
    monkeypatch.setattr("litekeep.stream.found.PART_SIZE_MAX", PART_SIZE)
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=example_count,
            stateful_step_count=30,
            deadline=None,
            phases=[Phase.generate],  # a step takes a process: shrinking would take minutes
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_every_txid_is_its_commit_whatever_happens_around_it(monkeypatch):
    check(monkeypatch, 8)


@pytest.mark.torture
@pytest.mark.timeout(1800)
def test_every_txid_is_its_commit_in_many_histories(monkeypatch):
    check(monkeypatch, 150)
