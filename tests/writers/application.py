"""
A process of its own that has a database open, and does what a test tells it.

    parent                                    child (``python -m tests.writers.application``)
      {"do": "run", "sql": "..."}     --->      runs it
      {"rows": [[...], ...]}          <---      answers, or {"error": "SQLITE_BUSY"}

It may use the package's SQLite or the one of Python's standard library, because the
applications out there bring one of their own.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal, Self

import apsw

ROOT = Path(__file__).parents[2]

Library = Literal["apsw", "sqlite3"]

#: Ends the process in the middle of a commit.
DEADLY = "tests-deadly"


class ApplicationError(Exception):
    """SQLite refused; the text is its own."""


class Application:
    """
    One connection in another process; end it with `end`, or use it as a context.

    `is_deadly` makes the methods possible by which it dies.
    """

    def __init__(
        self,
        path: Path,
        *,
        library: Library = "apsw",
        busy_timeout_seconds: float = 5.0,
        is_deadly: bool = False,
        command: tuple[str, ...] = (),
    ) -> None:
        self._process = subprocess.Popen(
            [*command, sys.executable, "-m", "tests.writers.application"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        )
        self._ask(
            do="open",
            path=os.fspath(path),
            library=library,
            busy_timeout_seconds=busy_timeout_seconds,
            is_deadly=is_deadly,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def id(self) -> int:
        """The process id."""
        return self._process.pid

    def run(self, sql: str) -> list[list[Any]]:
        """Run statements; return the rows of the last."""
        rows: list[list[Any]] = self._ask(do="run", sql=sql)["rows"]
        return rows

    def checkpoint(self, mode: str = "PASSIVE") -> list[int]:
        """Return SQLite's answer: busy, frames in the log, frames copied back."""
        return self.run(f"PRAGMA wal_checkpoint({mode})")[0]

    def close(self) -> None:
        """Close the connection; the process lives on."""
        self._ask(do="close")

    def die_after_commit_frame(self, sql: str) -> None:
        """Run *sql* and be killed when its commit frame is in the log, and no later."""
        self._die("commit frame", sql)

    def die_before_log_header(self, sql: str) -> None:
        """Run *sql* and be killed when the wal-index is restarted, the log's header not yet."""
        self._die("log header", sql)

    def _die(self, when: str, sql: str) -> None:
        self._tell(do="die", when=when, sql=sql)
        assert self._process.wait() == -signal.SIGKILL

    def kill(self) -> None:
        """End as in a power cut: nothing is closed."""
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        """End the process, whatever state it is in."""
        self.kill()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with contextlib.suppress(BrokenPipeError):
                stream.close()

    def _tell(self, **message: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")
        self._process.stdin.flush()

    def _ask(self, **message: object) -> dict[str, Any]:
        self._tell(**message)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the application is gone"
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ApplicationError(answer["error"])
        return answer


class _DeadlyFile(apsw.VFSFile):
    """Kills its process once the page of a commit frame is written, or instead of a header."""

    armed_for: str | None = None

    def __init__(self, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        self._is_log = bool(flags[0] & apsw.SQLITE_OPEN_WAL)
        self._commit_header_end: int | None = None
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 (apsw's name)
        if self._is_log and _DeadlyFile.armed_for == "log header" and offset == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        super().xWrite(data, offset)
        if not self._is_log or _DeadlyFile.armed_for != "commit frame":
            return
        if len(data) == 24:  # a frame's header; a commit's has the size of the database
            self._commit_header_end = offset + 24 if any(data[4:8]) else None
        elif offset == self._commit_header_end:
            os.kill(os.getpid(), signal.SIGKILL)


class _DeadlyVFS(apsw.VFS):
    def __init__(self) -> None:
        super().__init__(DEADLY, "")

    def xOpen(  # noqa: N802 (apsw's name)
        self, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> _DeadlyFile:
        return _DeadlyFile(name, flags)


def _open(message: dict[str, Any]) -> Any:
    if message["library"] == "sqlite3":
        return sqlite3.connect(
            message["path"], timeout=message["busy_timeout_seconds"], isolation_level=None
        )
    connection = apsw.Connection(message["path"], vfs=DEADLY if message["is_deadly"] else None)
    connection.set_busy_timeout(int(message["busy_timeout_seconds"] * 1000))
    return connection


def _run(connection: Any, sql: str) -> list[Any]:
    if isinstance(connection, apsw.Connection):
        return list(connection.execute(sql))
    rows: list[Any] = []
    for statement in sql.split(";"):
        rows = connection.execute(statement).fetchall()
    return rows


def _main() -> None:
    vfs = _DeadlyVFS()
    connection: Any = None
    for line in sys.stdin:
        message = json.loads(line)
        answer: dict[str, Any] = {}
        try:
            match message["do"]:
                case "open":
                    connection = _open(message)
                case "close":
                    connection.close()
                case "die":
                    _DeadlyFile.armed_for = message["when"]
                    _run(connection, message["sql"])
                case "run":
                    answer = {"rows": _run(connection, message["sql"])}
        except (apsw.Error, sqlite3.Error) as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)  # noqa: T201 (the answer)
    del vfs


if __name__ == "__main__":
    _main()
