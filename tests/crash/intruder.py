"""
An application that starts in the middle of a restore.

    visit DATABASE LOG    opens, commits, closes
    stay DATABASE LOG     opens, and returns; goes on in the background: commits as soon as it
                          is let, stays open until LOG.end is opened
    die DATABASE LOG      commits, spills half of another transaction, and is killed
    ... --veiled          with the key of `veil.py`

``python -m tests.crash.intruder SOCKET`` imports everything and waits; each of the above is
a fork of it, at a tenth of the price of a new interpreter.  No database is open there.

    restore  --a line of JSON-->  waiting one  --fork-->  application
    restore  <--its status------  waiting one  <--wait--

What became of the commit is a line of JSON in LOG.  Nobody's name is waited for: the
file is opened once, and what it then leads to is what the application works on.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw

from tests.crash import applications, veil

ERRORS = (sqlite3.Error, apsw.Error)
#: The restore stands still meanwhile, so a lock that is not free at once is not free later.
VISIT_SECONDS = 0.01
STAY_SECONDS = 6.0


def visit(database: str, log: Path, kind: str) -> None:
    """Open, commit, close."""
    if kind:
        connection = _connect(database, kind, VISIT_SECONDS)
        done = _commit(connection)
        connection.close()
    else:
        done = applications.commit(database, "visitor", 1, VISIT_SECONDS)
    _say(log, done | {"process": 0})


def die(database: str, log: Path, kind: str) -> None:
    """Commit, begin a transaction that reaches the files, and be killed in it."""
    pid = os.fork()
    if pid == 0:
        connection = _connect(database, kind, VISIT_SECONDS)
        _say(log, {"committed": False, "process": 0})
        _say(log, _commit(connection) | {"process": 0})
        with contextlib.suppress(*ERRORS):
            connection.execute("PRAGMA cache_size = 2")
            connection.execute("BEGIN")
            connection.execute("UPDATE rows SET filler = randomblob(300)")
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)


def stay(database: str, log: Path, kind: str) -> None:
    """Return once the file is open; a child keeps it so, and commits when it can."""
    os.mkfifo(f"{log}.end")
    reader, writer = os.pipe()
    if os.fork() > 0:
        os.close(writer)
        os.read(reader, 1)
        return
    os.setsid()
    connection = _connect(database, kind, STAY_SECONDS)
    _say(log, {"process": os.getpid()})
    os.write(writer, b"x")
    done = _commit(connection)
    _say(log, done | {"process": os.getpid()})
    # Opening it to read waits for the test to open it to write.
    Path(f"{log}.end").open().close()
    connection.close()
    os._exit(0)


def _connect(database: str, kind: str, timeout_seconds: float) -> Any:
    if kind == "--veiled":
        return veil.connect(database, timeout_seconds)
    return sqlite3.connect(database, isolation_level=None, timeout=timeout_seconds)


def _commit(connection: Any) -> dict[str, Any]:
    try:
        connection.execute("PRAGMA writable_schema = ON")  # though the schema be malformed
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO rows (generation, filler) VALUES ('visitor', x'00')")
        connection.execute("COMMIT")
    except ERRORS as error:
        return {"committed": False, "error": str(error)}
    return {"committed": True}


def _say(log: Path, line: dict[str, Any]) -> None:
    """Write the line whole: the test may look at any moment."""
    whole = log.with_name(f"{log.name}.new")
    whole.write_text(json.dumps(line))
    whole.replace(log)


def ended(log: Path) -> dict[str, Any]:
    """Let the intruder close and end; return what became of its commit."""
    process = json.loads(log.read_text())["process"]
    if process:
        try:
            descriptor = os.pidfd_open(process)
        except ProcessLookupError:
            pass
        else:
            Path(f"{log}.end").open("w").close()
            select.select([descriptor], [], [])
            os.close(descriptor)
    return dict(json.loads(log.read_text()))


@contextlib.contextmanager
def waiting(folder: Path) -> Iterator[str]:
    """Run the waiting one while the context lasts; its socket is what `enter` needs."""
    place = str(folder / "intruders")
    with subprocess.Popen(
        [sys.executable, "-m", "tests.crash.intruder", place],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        yield place
        process.kill()


def enter(place: str, arguments: list[str]) -> None:
    """Run an application to its end."""
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(place)
        line.sendall(json.dumps(arguments).encode() + b"\n")
        status = line.makefile().readline()
    assert status == "0\n", f"{arguments}: {status}"


def _wait_for_restores(place: str) -> None:
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(place)
        door.listen()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            line, _ = door.accept()
            with line:
                arguments = json.loads(line.makefile().readline())
                pid = os.fork()
                if pid == 0:
                    door.close()
                    line.close()
                    _become(arguments)
                _, status = os.waitpid(pid, 0)
                line.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


def _become(arguments: list[str]) -> None:
    """Be the application; never returns."""
    code = 70
    try:
        actions = {"visit": visit, "stay": stay, "die": die}
        actions[arguments[0]](arguments[1], Path(arguments[2]), "".join(arguments[3:]))
        code = 0
    finally:
        os._exit(code)


if __name__ == "__main__":
    _wait_for_restores(sys.argv[1])
