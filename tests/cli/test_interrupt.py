"""Interrupting a backup: it ends soon, and leaves nothing half done."""

from __future__ import annotations

import signal
import subprocess
import time

import pytest

from tests.cli.conftest import make_database


@pytest.fixture
def slow(shell, seaweedfs, tcp_proxy):
    """A store behind a line that can be told to hang, configured as `s3`."""
    proxy = tcp_proxy(seaweedfs.endpoint)
    bucket = seaweedfs.new_bucket()
    shell.environ |= {
        "AWS_ACCESS_KEY_ID": seaweedfs.access_key,
        "AWS_SECRET_ACCESS_KEY": seaweedfs.secret_key,
    }
    (shell.folder / "litekeep.toml").write_text(
        f'[[store]]\nname = "s3"\nurl = "s3://{bucket}/x"\nendpoint = "{proxy.endpoint}"\n'
        'region = "us-east-1"\ntimeout = "3s"\n'
        '[[database]]\npath = "app.db"\n'
    )
    make_database(shell.folder / "app.db", rows=100_000)
    return proxy


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_backup_to_a_store_that_hangs_can_be_interrupted(shell, slow, number, code):
    config = shell.folder / "litekeep.toml"
    config.write_text(config.read_text().replace('timeout = "3s"', 'timeout = "1s"'))
    slow.hang()
    with shell.start("backup", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"[sqlite-backup] Integrity: ok")
        started = time.monotonic()
        process.send_signal(number)
        process.communicate(timeout=40)
        seconds = time.monotonic() - started
    assert process.returncode == code
    assert seconds < 15

    slow.heal()
    assert shell.run("list", "--json").json["restore_points"] == []
    assert shell.run("backup").code == 0
    assert len(shell.run("list", "--json").json["restore_points"]) == 1
    assert shell.run("verify").code == 0


def test_a_second_signal_does_not_wait_for_the_store(shell, slow):
    """It leaves a half-done snapshot, which the next run withdraws."""
    slow.hang()
    with shell.start("backup", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b"[sqlite-backup] Integrity: ok")
        process.send_signal(signal.SIGINT)
        assert process.stderr.readline().startswith(b"interrupted; tidying up")
        process.send_signal(signal.SIGINT)
        assert process.wait(2) == -signal.SIGINT

    slow.heal()
    assert shell.run("list", "--json").json["restore_points"] == []
    assert shell.run("backup").code == 0
    assert shell.run("verify").code == 0
