"""
A real `litekeep stream` behind writers that do what they can, while it is killed, stopped and
started again: every txid is one commit, and none is older than the one before it.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from litekeep.clock import monotonic, sleep
from litekeep.store.directory import DirectoryStore
from litekeep.stream.chain import Place, read_chain
from litekeep.stream.metadata import PARTIAL_KEY
from tests.end_to_end.test_live_writers import final_commit, hostile
from tests.end_to_end.test_stream import bytes_of
from tests.writers.application import Application
from tests.writers.ledger import at_work, commit_number, make_ledger
from tests.writers.reading import copy_of, opened

NEXT = "UPDATE clock SET n = n + 1; INSERT INTO debit(n, amount) SELECT n, 1 FROM clock; "
NEXT += "INSERT INTO credit(n, amount) SELECT n, 1 FROM clock"


class Streamed:
    """A ledger, and a stream of it that is not treated well."""

    def __init__(self, folder: Path, seed: int, *, auto_vacuum: int) -> None:
        self.path = folder / "app.db"
        self.place = Place(DirectoryStore(folder / "store"), "app/")
        self.did: Counter[str] = Counter()
        self._folder = folder
        self._random = random.Random(seed)
        self._process: subprocess.Popen[bytes] | None = None
        make_ledger(self.path, auto_vacuum=auto_vacuum)

    def start(self) -> None:
        """Begin to stream; the wait is over when it runs, not when it has begun."""
        words = ["stream", self.path, "--to", self._folder / "store", "--sync-interval", "50ms"]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "litekeep", *map(str, words)],
            env=os.environ
            | {
                "LITEKEEP_STATE": str(self._folder / "state"),
                "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def end(self, number: signal.Signals) -> None:
        """End it, and look whether it said that something of ours is wrong."""
        assert self._process is not None
        self._process.send_signal(number)
        _, errors = self._process.communicate(timeout=60)
        assert b"Traceback" not in errors, errors.decode()
        assert b"written by somebody else" not in errors, errors.decode()
        assert number == signal.SIGKILL or self._process.returncode == 0, errors.decode()
        self.did[number.name] += 1
        self._process = None

    def torment(self, seconds: float) -> None:
        """Kill it, stop it, and let it work in between."""
        end = monotonic() + seconds
        while monotonic() < end:
            self.start()
            assert self._process is not None
            sleep(self._random.uniform(0.3, 1.2))
            if self._random.random() < 0.5:
                self._process.send_signal(signal.SIGSTOP)
                sleep(self._random.uniform(0.05, 0.6))
                self._process.send_signal(signal.SIGCONT)
                self.did["SIGSTOP"] += 1
                sleep(self._random.uniform(0.05, 0.5))
            self.end(signal.SIGKILL)
            if self._random.random() < 0.5:
                with Application(self.path) as app, contextlib.suppress(Exception):
                    app.checkpoint("TRUNCATE")

    @contextlib.contextmanager
    def streaming(self) -> Iterator[None]:
        """Stream for the time of the block, from the moment when all is captured."""
        head = self.head
        with Application(self.path) as app:
            app.run(f"BEGIN IMMEDIATE; {NEXT}; COMMIT")
            app.close()
        self.start()
        self.wait_behind(head)
        yield
        self.end(signal.SIGTERM)

    @property
    def head(self) -> int:
        return read_chain(self.place).last_txid

    def wait_behind(self, txid: int) -> None:
        end = monotonic() + 30
        while self.head <= txid:
            assert monotonic() < end
            sleep(0.02)

    def check(self) -> None:
        """Look at every txid."""
        last = 0
        store = self.place.store
        for link in sorted(read_chain(self.place).links, key=lambda link: link.max_txid):
            data = bytes_of(self.place, self._folder, link.max_txid)
            if PARTIAL_KEY in store.head(link.object).metadata:
                continue
            with opened(data) as connection:
                number = commit_number(connection)
            assert number >= last, f"txid {link.max_txid} is of commit {number}, behind {last}"
            last = number
            self.did["txids"] += 1
        assert last == final_commit(self.path)
        assert data == copy_of(self.path)


def odd_things(streamed: Streamed) -> None:
    """What writers that never rest cannot do: deaths in a commit, files that are replaced."""
    path = streamed.path
    with streamed.streaming():
        head = streamed.head
        with Application(path, is_deadly=True) as deadly:
            deadly.die_after_commit_frame(f"BEGIN IMMEDIATE; {NEXT}; COMMIT")
        with Application(path) as app:
            app.run(f"BEGIN IMMEDIATE; {NEXT}; COMMIT")
            streamed.wait_behind(head)
            head = streamed.head
            app.run("BEGIN IMMEDIATE; DELETE FROM bulk; UPDATE clock SET bulk_count = 0,"
                    f" bulk_size = 0, crc = 0; {NEXT}; COMMIT")  # fmt: skip
            app.run("VACUUM")
            streamed.wait_behind(head)
            app.close()
        head = streamed.head
        other = path.with_name("other.db")
        other.write_bytes(copy_of(path))
        with Application(other) as app:
            app.run(f"BEGIN IMMEDIATE; {NEXT}; COMMIT")
            app.run("PRAGMA journal_mode=DELETE")
        os.replace(other, path)
        for end in ("-wal", "-shm"):
            path.with_name(f"{path.name}{end}").unlink(missing_ok=True)
        streamed.wait_behind(head)
    for mode in ("WAL", "DELETE", "WAL"):
        with Application(path) as app:
            app.run(f"PRAGMA journal_mode={mode}")
            app.close()
        with streamed.streaming():
            pass
    shutil.rmtree(path.with_name("state"))
    with streamed.streaming():
        pass


def run(folder: Path, seconds: float, seed: int, *, auto_vacuum: int) -> Counter[str]:
    """Do it all; return what was done."""
    streamed = Streamed(folder, seed, auto_vacuum=auto_vacuum)
    with at_work(hostile(streamed.path)) as did:
        streamed.torment(seconds)
        with streamed.streaming():
            sleep(0.3)
    odd_things(streamed)
    streamed.check()
    return streamed.did + did


def test_a_stream_that_is_killed_again_and_again_tells_only_of_commits(tmp_path):
    did = run(tmp_path, 1.5, random.randrange(1000), auto_vacuum=1)
    assert did["txids"] > 10, did
    assert did["SIGKILL"] > 0, did


@pytest.mark.torture
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", range(2))
def test_a_stream_is_tormented_for_minutes(tmp_path, seed):
    did = run(tmp_path, 300.0, seed, auto_vacuum=seed)
    assert did["SIGKILL"] > 100, did
