"""
A stream to a real S3: killed, gone on with, and restored, by us and by the real Litestream.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from litekeep.clock import monotonic, sleep
from litekeep.store.open import open_store
from litekeep.stream.chain import Place, read_chain
from tests.end_to_end.test_stream import bytes_of
from tests.servers.s3 import S3Server
from tests.writers.application import Application
from tests.writers.litestream import PROGRAM, environment
from tests.writers.reading import copy_of


def test_a_stream_to_s3_is_killed_and_goes_on_and_litestream_restores_it(
    tmp_path: Path, seaweedfs: S3Server, monkeypatch: pytest.MonkeyPatch
):
    bucket = seaweedfs.new_bucket()
    url = f"s3://{bucket}/kept?endpoint={seaweedfs.endpoint}&region=us-east-1"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", seaweedfs.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", seaweedfs.secret_key)
    monkeypatch.setenv("LITEKEEP_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    path = tmp_path / "app.db"
    place = Place(open_store(url), "app/")

    def words(*more: str) -> list[str]:
        return [sys.executable, "-m", "litekeep", "stream", str(path), "--to", url, *more]

    with Application(path) as app:
        app.run("PRAGMA journal_mode=WAL; CREATE TABLE t(a)")
        app.run("INSERT INTO t VALUES (randomblob(200000))")
        for number in (signal.SIGKILL, signal.SIGTERM):
            head = read_chain(place).last_txid
            process = subprocess.Popen(words("--sync-interval", "50ms"))
            end = monotonic() + 30
            for value in range(3):
                app.run(f"INSERT INTO t VALUES ({value})")
                while read_chain(place).last_txid <= head:
                    assert monotonic() < end
                    sleep(0.02)
                head = read_chain(place).last_txid
            app.run("INSERT INTO t VALUES ('unseen')")
            process.send_signal(number)
            assert process.wait(30) in (0, -signal.SIGKILL)
        app.run("INSERT INTO t VALUES ('behind')")
        app.checkpoint("TRUNCATE")
    done = subprocess.run(words("--once", "--json"), check=True, capture_output=True)
    store = json.loads(done.stdout)["stores"][0]
    assert (store["files"], store["bytes"] < 20_000) == (1, True)

    chain = read_chain(place)
    assert all(link.object.startswith(f"app/{link.level:04x}/") for link in chain.links)
    first_level = [link for link in chain.links if link.level == 0]
    assert sum(link.size > 100_000 for link in first_level) == 1, "only the first was the whole"
    assert bytes_of(place, tmp_path) == copy_of(path)
    for txid in (chain.last_txid // 2, chain.last_txid):
        theirs = litestream_restore(tmp_path, bucket, seaweedfs, txid)
        assert theirs == bytes_of(place, tmp_path, txid)


def litestream_restore(folder: Path, bucket: str, server: S3Server, txid: int) -> bytes:
    """Let the real Litestream restore a txid from the bucket."""
    url = f"s3://{bucket}/kept/app?endpoint={server.endpoint}&region=us-east-1&forcePathStyle=true"
    out = folder / f"theirs-{txid}.db"
    done = subprocess.run(
        [PROGRAM, "restore", "-txid", f"{txid:016x}", "-o", out, url],
        check=False,
        capture_output=True,
        text=True,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr
    return out.read_bytes()
