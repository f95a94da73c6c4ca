"""
Replicas of Litestream 0.3: every moment of them restored, every damage named.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import lz4.frame
import pytest

from litekeep.engine.plan import plan_restore
from litekeep.engine.points import read_points, stream_place
from litekeep.engine.restore import RestoreResult, restore
from litekeep.engine.timeline import old_points
from litekeep.engine.verify import verify
from litekeep.errors import CorruptionError, GapFound, NotFound, StateError
from litekeep.repository.layout import Repository
from litekeep.store.directory import DirectoryStore
from litekeep.stream import oldlog
from litekeep.stream.generations import read_generations
from litekeep.stream.oldlog import apply_branch
from litekeep.when import At, Latest, Named, When
from tests.servers.process import running
from tests.writers.generations import NOON, OldReplica, rows, small_replica
from tests.writers.litestream import OLD_PROGRAM, environment


def repository_of(root: Path) -> Repository:
    return Repository(DirectoryStore(root), "shop", is_litestream=True)


def restored(root: Path, when: When | None = None) -> tuple[RestoreResult, bytes]:
    target = root.parent / "restored.db"
    target.unlink(missing_ok=True)
    result = restore(plan_restore([repository_of(root)], target, when=when or Latest()))
    return result, target.read_bytes()


def made(root: Path, name: str) -> bytes:
    """Make a moment, with no more than that."""
    place = stream_place(repository_of(root))
    (generation,) = read_generations(place)
    (branch,) = [one for one in generation.branches() if one.name == name]
    with root.with_name("made.db").open("w+b") as file:
        apply_branch(
            branch,
            write=lambda offset, data: os.pwrite(file.fileno(), data, offset),
            resize=file.truncate,
            scratch=root.parent,
        )
        return Path(file.name).read_bytes()


@pytest.fixture
def replica(tmp_path: Path) -> OldReplica:
    return small_replica(tmp_path)


def test_each_moment_is_restored_and_said_to_be_unproven(replica):
    assert len(replica.states) == 6
    for name, state in replica.states.items():
        result, data = restored(replica.root, Named(name))
        assert data == state
        assert not result.is_proved
        assert "Litestream 0.3 keeps no checksum" in str(result.unproven)


def test_a_time_means_the_newest_moment_at_or_before_it(replica):
    states = list(replica.states.values())
    # In order: snapshot, three segments, one, snapshot, two; a minute each, from 12:01 on.
    for minutes, state in ((2, 0), (3.5, 1), (4, 2), (5.9, 3), (7, 4), (600, 5)):
        assert restored(replica.root, At(NOON + timedelta(minutes=minutes)))[1] == states[state]
    with pytest.raises(NotFound) as caught:
        restored(replica.root, At(NOON))
    assert "0123456789abcdef-00000000 (2026-03-01 12:01:00 UTC)" in str(caught.value.hint)


def test_many_frames_without_their_commit_wait_in_a_file(replica, monkeypatch):
    monkeypatch.setattr(oldlog, "_WAITING_SIZE_MAX", 1000)
    monkeypatch.setattr(oldlog, "_BATCH_SIZE", 2000)
    monkeypatch.setattr("litekeep.stream.inflate.PIECE_SIZE_MAX", 700)
    for name, state in replica.states.items():
        assert restored(replica.root, Named(name))[1] == state


def test_a_commit_that_is_not_whole_is_not_applied(tmp_path):
    """Its frames are right, and the one that ends it is not there."""
    replica = OldReplica(tmp_path)
    replica.snapshot()
    first, second = replica.run(rows(1), rows(50))
    path = replica.path_of(second)
    frames = lz4.frame.decompress(path.read_bytes())
    path.write_bytes(lz4.frame.compress(frames[: -(512 + 24)], content_checksum=True))

    result, data = restored(replica.root)
    assert result.point is not None
    assert result.point.name.endswith("-00000000-" + second.split("_")[1][:8])
    assert data == next(iter(replica.states.values()))
    assert first != second


def test_no_damage_gives_another_database(replica):
    """Each file is cut and changed: what comes out is right, or an error that names the file."""
    dice = random.Random(3)
    state = list(replica.states.values())[3]
    name = list(replica.states)[3]
    for path in sorted(replica.root.rglob("*.lz4"))[:5]:
        whole = path.read_bytes()
        cuts = [whole[: dice.randrange(len(whole))] for _ in range(12)]
        flips = []
        for _ in range(25):
            changed = bytearray(whole)
            changed[dice.randrange(len(whole))] ^= 1 << dice.randrange(8)
            flips.append(bytes(changed))
        for damaged in (*cuts, *flips, whole + b"x", b""):
            path.write_bytes(damaged)
            try:
                data = made(replica.root, name)
            except (CorruptionError, GapFound) as error:
                assert path.name in error.message
            else:
                assert data == state
        path.write_bytes(whole)


def test_a_segment_under_another_name_or_missing_is_a_gap(replica):
    segments = sorted(replica.root.rglob("00000000_*.wal.lz4"))
    segments[1].unlink()
    with pytest.raises(GapFound) as caught:
        restored(replica.root, Named(list(replica.states)[2]))
    assert segments[2].name in caught.value.message
    segments[0].unlink()
    with pytest.raises(StateError):
        restored(replica.root, Named(list(replica.states)[2]))


def test_verify_reads_all_of_it_and_names_what_is_damaged(replica, tmp_path):
    found = verify([repository_of(replica.root)], state=tmp_path / "state")
    assert (found.failure, found.stream_file_count) == (None, 5)
    assert "0.3 keeps no checksum" in found.unproven[0].reason

    path = sorted(replica.root.rglob("00000000_*.wal.lz4"))[2]
    data = bytearray(lz4.frame.decompress(path.read_bytes()))
    data[40] ^= 1
    path.write_bytes(lz4.frame.compress(bytes(data), content_checksum=True))
    found = verify([repository_of(replica.root)], state=tmp_path / "state")
    (damage,) = found.damaged
    assert (damage.error.exit_code, path.name in damage.error.message) == (21, True)

    min(replica.root.rglob("00000001_*.wal.lz4")).unlink()
    sorted(replica.root.rglob("*.snapshot.lz4"))[1].unlink()
    found = verify([repository_of(replica.root)], state=tmp_path / "state")
    assert 13 in {damage.error.exit_code for damage in found.damaged}


@pytest.mark.skipif(
    not OLD_PROGRAM.exists(), reason="Litestream 0.3 is not installed: run tests/servers/install"
)
def test_what_litestream_writes_at_work_is_restored_as_it_does(tmp_path):
    """A writer is at work meanwhile; its own restore says what is right."""
    database, root = tmp_path / "app.db", tmp_path / "shop"
    settings = tmp_path / "litestream.yml"
    settings.write_text(
        f"dbs:\n  - path: {database}\n    min-checkpoint-page-count: 40\n"
        f"    checkpoint-interval: 500ms\n    replicas:\n      - path: {root}\n"
        "        sync-interval: 50ms\n        snapshot-interval: 1500ms\n"
    )
    dice = random.Random(5)
    with closing(sqlite3.connect(database, isolation_level=None)) as app:
        app.execute("PRAGMA journal_mode=WAL")
        app.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
        with running(
            [str(OLD_PROGRAM), "replicate", "-config", str(settings)],
            log=tmp_path / "log",
            is_ready=lambda: any(root.rglob("*.wal.lz4")),
            environment=environment(),
            end=signal.SIGINT,
        ):
            end = time.monotonic() + 30
            number = 0
            while len({path.name[:8] for path in root.rglob("*.wal.lz4")}) < 3:
                assert time.monotonic() < end
                number += 1
                time.sleep(0.01)  # without a pause Litestream never gets to a checkpoint
                app.execute("INSERT INTO t(v) VALUES (?)", (dice.randbytes(1500),))
                if number % 100 == 0:
                    app.execute("DELETE FROM t WHERE id % 3 = 0")
                if number == 250:
                    app.execute("VACUUM")

    def theirs(*target: str) -> bytes:
        out = tmp_path / "theirs.db"
        out.unlink(missing_ok=True)
        command = [OLD_PROGRAM, "restore", *target, "-o", out, f"file://{root}"]
        ran = subprocess.run(
            command, capture_output=True, text=True, env=environment(), check=False
        )
        assert ran.returncode == 0, ran.stderr
        return out.read_bytes()

    assert restored(root)[1] == theirs()
    last_of = {}
    for point in reversed(old_points(read_points([repository_of(root)]))):
        generation, index, *offset = point.name.split("-")
        if offset:
            last_of[index] = point
    assert len(last_of) >= 2
    for index, point in last_of.items():
        generation = point.name[:16]
        expected = theirs("-generation", generation, "-index", index)
        assert restored(root, Named(point.name))[1] == expected
    assert verify([repository_of(root)], state=tmp_path / "state").failure is None
