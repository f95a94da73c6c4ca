"""`litekeep stream` as a process: its beginning, its end, and what is in its way."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from litekeep.clock import monotonic, sleep
from litekeep.store.directory import DirectoryStore
from litekeep.stream.chain import Place, read_chain
from tests.cli.conftest import Shell
from tests.end_to_end.test_stream import bytes_of
from tests.unit.doctor.users import NOBODY, as_root
from tests.writers.reading import opened


def make(path: Path, mode: str = "WAL") -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA journal_mode={mode}")
        connection.execute("CREATE TABLE t(a)")


def commit(path: Path, *values: object) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executemany("INSERT INTO t VALUES (?)", [(value,) for value in values])


def place(shell: Shell, name: str = "app") -> Place:
    return Place(DirectoryStore(shell.folder / "store"), f"{name}/")


def stored(shell: Shell, name: str = "app") -> list[Any]:
    """Return what the rows are in the newest txid; none before there is their table."""
    with opened(bytes_of(place(shell, name), shell.folder)) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 't'").fetchall():
            return []
        return [a for (a,) in connection.execute("SELECT a FROM t ORDER BY rowid")]


def wait_until(is_so: Callable[[], bool]) -> None:
    end = monotonic() + 20
    while not is_so():
        assert monotonic() < end
        sleep(0.02)


def has_begun(shell: Shell, name: str = "app") -> bool:
    return read_chain(place(shell, name)).last_txid > 0


@contextlib.contextmanager
def running(shell: Shell, *arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    """Stream to `store`; what still runs at the end is killed."""
    words = ("stream", *arguments, "--to", "store")
    process = shell.start(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def path(shell: Shell) -> Path:
    path = shell.folder / "app.db"
    make(path)
    return path


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_is_committed_right_before_the_signal_is_shipped(shell, path, number):
    with running(shell, "app.db", "--sync-interval", "1h") as process:
        wait_until(lambda: has_begun(shell))
        commit(path, 1, 2, 3)
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert b"is at txid 0000000000000002" in out
    assert stored(shell) == [1, 2, 3]


def test_a_second_signal_ends_it_at_once_and_nothing_is_lost(shell, path, seaweedfs, tcp_proxy):
    proxy = tcp_proxy(seaweedfs.endpoint)
    bucket = seaweedfs.new_bucket()
    shell.environ |= {
        "AWS_ACCESS_KEY_ID": seaweedfs.access_key,
        "AWS_SECRET_ACCESS_KEY": seaweedfs.secret_key,
    }
    url = f"s3://{bucket}/x?endpoint={proxy.endpoint}&region=us-east-1"
    with running(shell, "app.db", "--to", url) as process:
        wait_until(lambda: has_begun(shell))
        proxy.hang()
        commit(path, 1)
        wait_until(lambda: stored(shell) == [1])
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        assert process.stderr.readline().startswith(b"stopping")
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == -signal.SIGTERM
    proxy.heal()
    again = shell.run("stream", "app.db", "--to", "store", "--to", url, "--once", "--json")
    assert again.code == 0, again.err
    assert [store["txid"][-1] for store in again.json["stores"]] == ["2", "2"]


PROGRAM = """
import signal, sqlite3, sys, time
connection = sqlite3.connect("app.db", isolation_level=None)
def end(*_):
    connection.execute("INSERT INTO t VALUES ('last')")
    sys.exit(7)
signal.signal(signal.SIGTERM, end)
connection.execute("INSERT INTO t VALUES ('begun')")
print("ready", flush=True)
signal.pause()
"""


def test_a_signal_goes_to_the_application_and_its_last_commit_is_shipped(shell, path):
    program = shlex.join([sys.executable, "-c", PROGRAM])
    with running(shell, "app.db", "--exec", program) as process:
        assert process.stdout is not None
        while process.stdout.readline() != b"ready\n":
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode == 7
    assert stored(shell) == ["begun", "last"]


def test_an_application_that_makes_its_database_is_run_and_streamed(shell):
    words = "import sqlite3; c = sqlite3.connect('app.db', isolation_level=None); "
    words += "c.execute('CREATE TABLE t(a)'); c.execute('INSERT INTO t VALUES (5)'); "
    words += "import time; time.sleep(1.5)"  # longer than until it is looked for again
    with running(shell, "app.db", "--exec", shlex.join([sys.executable, "-c", words])) as process:
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert b"no database at" in err
    assert stored(shell) == [5]
    assert b"hint: " in err, out


def test_a_program_that_cannot_be_run_is_an_error(shell, path):
    ran = shell.run("stream", "app.db", "--to", "store", "--exec", "./nothing --here")
    assert ran.code == 11
    assert "cannot run ./nothing" in ran.err
    assert has_begun(shell)


def test_a_second_stream_of_a_database_is_refused(shell, path):
    with running(shell, "app.db"):
        wait_until(lambda: has_begun(shell))
        for more in ((), ("--once",)):
            ran = shell.run("stream", "app.db", "--to", "store", *more)
            assert ran.code == 75, ran.err
            assert "hint: " in ran.err


def test_a_reader_that_went_away_ends_nothing(shell, path):
    reading, writing = os.pipe()
    words = shell.command("stream", "app.db", "--to", "store", "--sync-interval", "50ms")
    with subprocess.Popen(
        words, cwd=shell.folder, env=shell.environ, stdout=writing, stderr=writing
    ) as process:
        os.close(writing)
        os.close(reading)
        wait_until(lambda: has_begun(shell))
        commit(path, 1)
        wait_until(lambda: stored(shell) == [1])
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_one_that_is_broken_is_told_at_once_and_holds_up_no_other(shell, path):
    (shell.folder / "broken.db").write_bytes(b"no database" * 1000)
    with running(shell, "missing.db", "broken.db", "app.db") as process:
        assert process.stderr is not None
        told = b""
        while b"missing: " not in told or b"broken: " not in told:
            told += process.stderr.readline()
        wait_until(lambda: has_begun(shell))
        make(shell.folder / "missing.db")
        wait_until(lambda: has_begun(shell, "missing"))
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 14
    assert b"broken" in err


def test_an_empty_file_becomes_a_database(shell):
    (shell.folder / "app.db").touch()
    with running(shell, "app.db", "--sync-interval", "50ms") as process:
        sleep(1.0)  # it is looked at meanwhile, and is nothing
        assert not has_begun(shell)
        make(shell.folder / "app.db")
        commit(shell.folder / "app.db", 1)
        wait_until(lambda: has_begun(shell) and stored(shell) == [1])
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_a_database_that_is_deleted_and_made_again_goes_on(shell, path):
    with running(shell, "app.db", "--sync-interval", "50ms") as process:
        wait_until(lambda: has_begun(shell))
        commit(path, 1)
        wait_until(lambda: stored(shell) == [1])
        for end in ("", "-wal", "-shm"):
            Path(f"{path}{end}").unlink(missing_ok=True)
        assert process.stderr is not None
        assert b"no database" in process.stderr.readline()
        make(path)
        commit(path, 2)
        wait_until(lambda: stored(shell) == [2])
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


@as_root
@pytest.mark.parametrize("what", ["state", "database", "store"])
def test_what_may_not_be_used_is_said_with_a_hint(shell, path, what):
    shutil.chown(shell.folder, NOBODY)
    for entry in shell.folder.iterdir():
        shutil.chown(entry, NOBODY)
    folder = shell.folder.parent / "closed"
    folder.mkdir(mode=0o700)
    state = Path(shell.environ["LITEKEEP_STATE"])
    state.mkdir(mode=0o700)
    shutil.chown(state, NOBODY)
    for above in shell.folder.parents:
        if above.stat().st_mode & 0o777 == 0o700:
            above.chmod(0o711)
    folder.chmod(0o700)
    store: Path = shell.folder / "store"
    match what:
        case "state":
            state = folder / "state"
        case "database":
            shutil.chown(path, 0)
            path.chmod(0o600)
        case "store":
            store = folder / "store"
    ran = subprocess.run(
        shell.command("stream", "app.db", "--once", "--to", store),
        cwd=shell.folder,
        env=shell.environ | {"LITEKEEP_STATE": str(state)},
        capture_output=True,
        text=True,
        check=False,
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
    )
    assert ran.returncode in (14, 32), ran.stderr
    assert "hint: " in ran.stderr
    assert "Traceback" not in ran.stderr


def test_what_is_said_quietly_and_as_json(shell, path):
    quiet = shell.run("stream", "app.db", "--to", "store", "--once", "--quiet")
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")
    shown = shell.run("stream", "app.db", "--to", "store", "--once", "--json")
    assert (shown.code, shown.err) == (0, "")
    assert shown.json["stores"][0]["txid"] == "0000000000000001"
    missing = shell.run("stream", "missing.db", "--to", "store", "--once", "--json")
    assert missing.code == 11
    assert missing.json["error"]["hint"]
