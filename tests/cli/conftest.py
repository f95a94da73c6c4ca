"""A shell to type commands into: real processes, an environment of its own."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import litekeep

SOURCE = Path(litekeep.__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def json(self) -> Any:
        """The one object on standard output; nothing else may be there."""
        return json.loads(self.out)


@dataclass(slots=True)
class Shell:
    """Runs commands in a folder."""

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)

    def command(self, *arguments: object) -> list[str]:
        return [sys.executable, "-m", "litekeep", *map(str, arguments)]

    def run(self, *arguments: object, **environ: str) -> Ran:
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env={**self.environ, **environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: object, **streams: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self.command(*arguments), cwd=self.folder, env=self.environ, **streams
        )


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A shell in an empty folder, with nothing of this machine's configuration."""
    home = tmp_path / "home"
    work = tmp_path / "work"
    home.mkdir()
    work.mkdir()
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PYTHONPATH": str(SOURCE),
        "LITEKEEP_STATE": str(tmp_path / "state"),
        "LC_ALL": "C.UTF-8",
        "COLUMNS": "200",
    }
    return Shell(work, environ)


@pytest.fixture
def app(shell: Shell) -> Path:
    """A database, `app.db`, with three rows."""
    return make_database(shell.folder / "app.db")


def make_database(path: Path, rows: int = 3) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, a)")
    connection.executemany("INSERT INTO t(a) VALUES (?)", [(f"row {n}",) for n in range(rows)])
    connection.commit()
    connection.close()
    return path


def count_rows(path: Path) -> int:
    connection = sqlite3.connect(path)
    try:
        return int(connection.execute("SELECT count(*) FROM t").fetchone()[0])
    finally:
        connection.close()
