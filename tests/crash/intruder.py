"""
An application that starts in the middle of a restore.

    python -m tests.crash.intruder visit DATABASE LOG    opens, commits, closes
    python -m tests.crash.intruder stay DATABASE LOG     opens, and returns; goes on
                                                         in the background: commits as
                                                         soon as it is let, stays open
                                                         until LOG.end is opened
    python -m tests.crash.intruder die DATABASE LOG      commits, spills half of another
                                                         transaction, and is killed
    ... --veiled                                         with the key of `veil.py`

What became of the commit is a line of JSON in LOG.  Nobody's name is waited for: the
file is opened once, and what it then leads to is what the application works on.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Any

import apsw

from tests.crash import applications, veil

ERRORS = (sqlite3.Error, apsw.Error)
VISIT_SECONDS = 0.2
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


if __name__ == "__main__":
    actions = {"visit": visit, "stay": stay, "die": die}
    actions[sys.argv[1]](sys.argv[2], Path(sys.argv[3]), "".join(sys.argv[4:]))
