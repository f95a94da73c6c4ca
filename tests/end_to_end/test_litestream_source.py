"""
A repository of the real Litestream 0.5 as a source: what it restores, we restore.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from litekeep.engine.plan import RestorePlan, plan_restore
from litekeep.engine.points import read_points
from litekeep.engine.restore import restore
from litekeep.engine.timeline import stream_points
from litekeep.engine.verify import verify
from litekeep.errors import GapFound, NotFound
from litekeep.ltx.decode import Decoder
from litekeep.ltx.merge import merge
from litekeep.repository.layout import Repository
from litekeep.store.directory import DirectoryStore
from litekeep.store.open import open_store
from litekeep.stream.chain import Branch, Place, read_header
from litekeep.when import At, Before, Latest, Txid, When
from tests.end_to_end.test_timeline import NOON, Kept
from tests.servers.process import running
from tests.servers.s3 import S3Server
from tests.writers.litestream import PROGRAM, environment
from tests.writers.reading import sha256

GOLDEN = Path(__file__).parents[1] / "unit" / "ltx" / "golden"
WRITING_SECONDS_MAX = 40.0


@dataclass(frozen=True)
class Written:
    """What Litestream left, and how it is told to restore it."""

    repository: Repository
    url: str
    folder: Path
    environ: dict[str, str]

    def theirs(self, *target: str, is_refusable: bool = False) -> bytes | None:
        """Let Litestream restore; None where it knows no such time and *is_refusable*."""
        out = self.folder / "theirs.db"
        out.unlink(missing_ok=True)
        ran = subprocess.run(
            [PROGRAM, "restore", *target, "-o", out, self.url],
            check=False,
            capture_output=True,
            text=True,
            env=self.environ,
        )
        if is_refusable and "timestamp does not exist" in ran.stderr:
            return None
        assert ran.returncode == 0, ran.stderr
        return out.read_bytes()

    def ours(self, when: When | None = None) -> bytes:
        return restored(self.repository, self.folder, when)


def restored(repository: Repository, folder: Path, when: When | None = None) -> bytes:
    target = folder / "ours.db"
    target.unlink(missing_ok=True)
    result = restore(plan_restore([repository], target, when=when or Latest()))
    assert result.unproven == "no database checksum stands beside the stream's files"
    return target.read_bytes()


def replicate(
    folder: Path, replica: str, environ: dict[str, str], is_done: Callable[[], bool]
) -> None:
    """Let Litestream follow a writer, compacting every second, until it is done."""
    database, settings = folder / "app.db", folder / "litestream.yml"
    settings.write_text(
        "levels:\n  - interval: 1s\n  - interval: 2s\n"
        "snapshot:\n  interval: 2s\n  retention: 3s\n"
        "l0-retention: 1s\nl0-retention-check-interval: 500ms\n"
        f"dbs:\n  - path: {database}\n    monitor-interval: 50ms\n"
        f"    min-checkpoint-page-count: 50\n    replica:\n{replica}      sync-interval: 100ms\n"
    )
    dice = random.Random(7)
    with closing(sqlite3.connect(database, isolation_level=None)) as app:
        app.execute("PRAGMA journal_mode=WAL")
        app.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
        with running(
            [str(PROGRAM), "replicate", "-config", str(settings)],
            log=folder / "log",
            is_ready=lambda: True,
            environment=environ,
            end=signal.SIGINT,
        ):
            end = time.monotonic() + WRITING_SECONDS_MAX
            number = 0
            while number % 50 or not is_done():
                assert time.monotonic() < end, (folder / "log").read_text()[-2000:]
                number += 1
                time.sleep(0.005)  # the application's own pace
                app.execute("INSERT INTO t(v) VALUES (?)", (dice.randbytes(1500),))
                if number % 150 == 0:
                    app.execute("DELETE FROM t WHERE id % 3 = 0")
                if number == 300:
                    app.execute("VACUUM")


def has_all_levels(names: Iterator[str]) -> bool:
    """Whether its levels 1 and 2 have files, and level 9 snapshots of its own."""
    found = sorted(names)
    return (
        any("/1/" in name or name.startswith("0001/") for name in found)
        and sum("/2/" in name or name.startswith("0002/") for name in found) >= 2
        and sum("/9/" in name or name.startswith("0009/") for name in found) >= 2
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    folder = tmp_path_factory.mktemp("litestream")
    root = folder / "shop"
    replicate(
        folder,
        f"      path: {root}\n",
        environment(),
        lambda: has_all_levels(str(path) for path in root.rglob("*.ltx")),
    )
    repository = Repository(DirectoryStore(root), "shop", is_litestream=True)
    return Written(repository, f"file://{root}", folder, environment())


def check_all(written: Written) -> None:
    """Compare the newest, each txid and some times with what Litestream restores."""
    assert written.ours() == written.theirs()
    points = stream_points(read_points([written.repository]))
    assert len(points) >= 4
    place = Place(written.repository.store, "")
    for point in (*points[:3], *points[3 :: max(1, len(points) // 4)]):
        txid = point.txid or 0
        assert written.ours(Txid(txid)) == written.theirs("-txid", f"{txid:016x}")
    compared = 0
    for point in reversed(points[1:]):  # of the last ones it says that they are later than all
        (branch,) = point.branches
        assert isinstance(branch, Branch)
        end = read_header(place, branch.links[-1]).timestamp + timedelta(milliseconds=1)
        stamp = end.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        if (expected := written.theirs("-timestamp", stamp, is_refusable=True)) is not None:
            assert written.ours(At(end)) == expected
            compared += 1
        if compared == 3:
            break
    assert compared >= 2
    before = Before(points[0].txid or 0)
    assert written.ours(before) == written.ours(Txid(points[1].txid or 0))


def test_what_litestream_compacted_in_a_folder_is_restored_as_it_does(written):
    check_all(written)


def test_what_litestream_writes_to_s3_is_restored_as_it_does(
    tmp_path, seaweedfs: S3Server, no_cloud_environment
):
    bucket = seaweedfs.new_bucket()
    store = open_store(f"s3://{bucket}/replicas/shop", seaweedfs.options())
    environ = environment() | {
        "AWS_ACCESS_KEY_ID": seaweedfs.access_key,
        "AWS_SECRET_ACCESS_KEY": seaweedfs.secret_key,
    }
    replicate(
        tmp_path,
        f"      type: s3\n      bucket: {bucket}\n      path: replicas/shop\n"
        f"      endpoint: {seaweedfs.endpoint}\n      region: us-east-1\n"
        "      force-path-style: true\n",
        environ,
        lambda: has_all_levels(blob.name for blob in store.list()),
    )
    url = (
        f"s3://{bucket}/replicas/shop?endpoint={seaweedfs.endpoint}"
        "&region=us-east-1&forcePathStyle=true"
    )
    check_all(Written(Repository(store, "shop", is_litestream=True), url, tmp_path, environ))


def test_verify_reads_all_that_litestream_left_and_says_what_is_not_proved(written, tmp_path):
    found = verify([written.repository], state=tmp_path)
    assert found.failure is None
    assert found.stream_file_count == len([*Path(written.repository.store.url).rglob("*.ltx")])
    (unproven,) = found.unproven
    assert unproven.name.startswith("txid 0000")


@pytest.mark.parametrize("version", ["0.5.5", "0.5.15", "0.5.17"])
def test_both_forms_of_pages_are_restored_at_each_txid(tmp_path, version):
    """0.5.5 and 0.5.15 write LZ4 frames, 0.5.17 LZ4 blocks; what it restored is known."""
    shutil.copytree(GOLDEN / f"litestream-{version}", tmp_path / "shop" / "ltx")
    repository = Repository(DirectoryStore(tmp_path / "shop"), "shop", is_litestream=True)
    states = json.loads((GOLDEN / "states.json").read_text())[f"litestream-{version}"]
    for txid in range(1, 6):
        assert sha256(restored(repository, tmp_path, Txid(txid))) == states[txid - 1]


def merge_and_remove(kept: Kept, *txids: int) -> None:
    """Do what compaction and retention of a host elsewhere do."""
    files = [kept.file_of(txid) for txid in txids]
    parts: list[bytes] = []
    merge([Decoder(iter([file.read_bytes()])) for file in files], parts.append)
    name = f"{txids[0]:016x}-{txids[-1]:016x}.ltx"
    kept.store.put(f"app/ltx/1/{name}", b"".join(parts))
    for file in files:
        file.unlink()


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    kept = Kept(tmp_path)
    for value in range(4):
        kept.commit(value)
        kept.stream()
    return kept


def restored_txid(plan: RestorePlan) -> int | None:
    point = restore(plan).point
    assert point is not None
    return point.txid


def test_what_vanished_since_the_plan_is_planned_anew(kept):
    """The txid that was planned is no longer one that can be made."""
    latest, at = kept.plan(), kept.plan(At(NOON + timedelta(minutes=4)))
    assert (latest.point.txid, at.point.txid) == (4, 4)
    exact = kept.plan(Txid(4))
    kept.commit(5)
    kept.stream()
    merge_and_remove(kept, 4, 5)

    assert restored_txid(latest) == 5
    assert latest.target.read_bytes() == kept.states[5]
    latest.target.unlink()
    assert restored_txid(at) == 3
    assert at.target.read_bytes() == kept.states[3]
    at.target.unlink()
    with pytest.raises((GapFound, NotFound)) as caught:
        restore(exact)
    assert "0000000000000003" in str(caught.value.hint)
    assert not exact.target.exists()


def test_what_vanishes_while_planning_is_looked_for_again(kept):
    class Retaining(DirectoryStore):
        """Removes files between the list and the first look at one of them."""

        waits = True

        def get(self, name: str, **options):
            if self.waits and name.endswith("0000000000000004.ltx"):
                self.waits = False
                merge_and_remove(kept, 3, 4)
            return super().get(name, **options)

    kept.repository = Repository(Retaining(Path(kept.store.url)), "app")
    result, data = kept.restored()
    assert (result.point.txid, data) == (4, kept.states[4])


def test_verify_names_what_is_damaged_in_a_stream_of_ours(kept, tmp_path):
    def verified(share: float = 1.0):
        return verify([kept.repository], state=tmp_path / "verified", share=share)

    found = verified()
    assert (found.failure, found.unproven, found.stream_file_count) == (None, (), 4)
    assert verified(0.25).stream_file_count == 1

    for offset, code in ((-1, 21), (-30, 22), (0, 22)):
        path = kept.file_of(2)
        whole = path.read_bytes()
        data = bytearray(whole)
        data[offset] ^= 1
        path.write_bytes(data)
        (damage,) = verified().damaged
        assert damage.object.endswith("-0000000000000002.ltx")
        assert damage.error.exit_code in (code, 21)
        path.write_bytes(whole)

    kept.file_of(3).rename(tmp_path / "kept.ltx")
    (damage,) = verified().damaged
    assert (damage.error.exit_code, damage.object) == (13, "app/ltx/0/" + kept.file_of(4).name)


def test_verify_finds_a_file_of_another_history_by_the_database_checksum(kept, tmp_path):
    """It is whole, bears its own SHA-256 and joins: only what they make together is wrong."""
    (tmp_path / "other").mkdir()
    other = Kept(tmp_path / "other")
    for value in range(4):
        other.commit(value + 50)
        other.stream()
    for name in (kept.file_of(2).name, f".{kept.file_of(2).name}.meta"):
        source = next((tmp_path / "other" / "store").rglob(name))
        shutil.copy(source, next((tmp_path / "store").rglob(name)))

    (damage,) = verify([kept.repository], state=tmp_path / "verified").damaged
    assert damage.error.exit_code == 21
    assert "database" in damage.error.message


def test_a_hostile_listing_takes_no_time(tmp_path):
    folder = tmp_path / "shop" / "ltx" / "0"
    folder.mkdir(parents=True)
    for first in (2, 3, 4):
        (folder / f"{first:016x}-{'f' * 16}.ltx").write_bytes(b"x" * 200)
    repository = Repository(DirectoryStore(tmp_path / "shop"), "shop", is_litestream=True)
    with pytest.raises(NotFound):
        plan_restore([repository], tmp_path / "out.db")
