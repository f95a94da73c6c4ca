"""
An application that starts in the middle of a restore.

    python -m tests.crash.intruder visit DATABASE LOG    opens, commits, closes
    python -m tests.crash.intruder stay DATABASE LOG     opens, and returns; goes on
                                                         in the background: commits as
                                                         soon as it is let, stays open
                                                         until LOG.end is opened

What became of the commit is a line of JSON in LOG.  Nobody's name is waited for: the
file is opened once, and what it then leads to is what the application works on.
"""

from __future__ import annotations

import json
import os
import select
import sqlite3
import sys
from pathlib import Path
from typing import Any

from tests.crash import applications

VISIT_SECONDS = 0.2
STAY_SECONDS = 6.0


def visit(database: str, log: Path) -> None:
    """Open, commit, close."""
    done = applications.commit(database, "visitor", 1, VISIT_SECONDS)
    _say(log, done | {"process": 0})


def stay(database: str, log: Path) -> None:
    """Return once the file is open; a child keeps it so, and commits when it can."""
    os.mkfifo(f"{log}.end")
    reader, writer = os.pipe()
    if os.fork() > 0:
        os.close(writer)
        os.read(reader, 1)
        return
    os.setsid()
    connection = sqlite3.connect(database, isolation_level=None, timeout=STAY_SECONDS)
    _say(log, {"process": os.getpid()})
    os.write(writer, b"x")
    done: dict[str, Any] = {"committed": False}
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO rows (generation, filler) VALUES ('visitor', x'00')")
        connection.execute("COMMIT")
        done = {"committed": True}
    except sqlite3.Error as error:
        done["error"] = str(error)
    _say(log, done | {"process": os.getpid()})
    # Opening it to read waits for the test to open it to write.
    Path(f"{log}.end").open().close()
    connection.close()
    os._exit(0)


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
    {"visit": visit, "stay": stay}[sys.argv[1]](sys.argv[2], Path(sys.argv[3]))
