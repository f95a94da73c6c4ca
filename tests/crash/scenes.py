"""
Databases before a restore: what lies in the folder, and what must come out of it.

    new     what the only snapshot holds, and a restore brings back
    old     what the target holds by then, its newest commits in its log alone;
            None where SQLite cannot read it
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.crash.nursery import Nursery, Run

NAME = "app.db"
UNDO = re.compile(r"(app|out)\.db\.undo-\d{8}_\d{6}(-\d+)?")
SIDECARS = ("-wal", "-shm", "-journal")


@dataclass(frozen=True)
class Scene:
    """A folder with a target to restore, and its backups beside it."""

    folder: Path
    new: dict[str, Any]
    old: dict[str, Any] | None
    target_name: str = NAME

    @property
    def target(self) -> Path:
        return self.folder / self.target_name

    @property
    def backups(self) -> Path:
        return self.folder / f"{NAME}-backups"

    def copied(self, folder: Path) -> Scene:
        """Return the same in a new *folder*, hard links kept."""
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run(["cp", "-a", str(self.folder), str(folder)], check=True)
        return replace(self, folder=folder)

    def restore(self, nursery: Nursery, *more: str, **how: Any) -> Run:
        """Restore the newest snapshot over the target."""
        return nursery.litekeep(
            "restore", self.backups, "--output", self.target, "--replace", *more, **how
        )

    def undo_copies(self) -> list[Path]:
        """Return the undo copies, main files only."""
        return sorted(path for path in self.folder.iterdir() if UNDO.fullmatch(path.name))

    def leftovers(self) -> list[str]:
        """Return the names of files that no finished run leaves."""
        kept = {self.target_name, f"{NAME}-backups", NAME}
        return [
            path.name
            for path in self.folder.iterdir()
            if path.name not in kept and not UNDO.match(path.name)
        ]


def begun(nursery: Nursery, folder: Path, journal_mode: str) -> dict[str, Any]:
    folder.mkdir(parents=True)
    database = str(folder / NAME)
    new = nursery.call("make", database, journal_mode, "new", 30)
    environment = {"LITEKEEP_STATE": str(folder.with_name("state-of-scenes"))}
    run = nursery.litekeep("backup", database, environment=environment)
    assert run.status == 0, run.errors
    nursery.call("commit", database, "old", 20)
    return dict(new)


def _read_copy(nursery: Nursery, folder: Path) -> dict[str, Any]:
    copy = folder.with_name("read-copy")
    subprocess.run(["cp", "-a", str(folder), str(copy)], check=True)
    state = nursery.call("try_read", str(copy / NAME))
    shutil.rmtree(copy)
    return dict(state)


def wal(nursery: Nursery, folder: Path) -> Scene:
    """The newest commits are in the -wal alone; whoever made them was killed."""
    new = begun(nursery, folder, "wal")
    nursery.call("commit_and_die", str(folder / NAME), "newest", 10)
    old = _read_copy(nursery, folder)
    assert old["counts"] == {"new": 30, "newest": 10, "old": 20}
    return Scene(folder, new, old)


def hot_journal(nursery: Nursery, folder: Path) -> Scene:
    """A writer was killed in a transaction that had begun to overwrite pages."""
    new = begun(nursery, folder, "delete")
    nursery.call("die_in_transaction", str(folder / NAME), "torn")
    old = _read_copy(nursery, folder)
    assert old["counts"] == {"new": 30, "old": 20}
    return Scene(folder, new, old)


def damaged(nursery: Nursery, folder: Path) -> Scene:
    """The first pages are noise, and so is the head of the -wal: SQLite reads nothing."""
    scene = wal(nursery, folder)
    for path in (scene.target, Path(f"{scene.target}-wal")):
        _scribble(path, 4096)
    return replace(scene, old=None)


def damaged_in_part(nursery: Nursery, folder: Path) -> Scene:
    """The first pages are noise, but the -wal holds the first one: SQLite opens it."""
    scene = wal(nursery, folder)
    _scribble(scene.target, 4096)
    return replace(scene, old=_read_copy(nursery, folder))


def _scribble(path: Path, size: int) -> None:
    with path.open("r+b") as file:
        file.write(b"\x55" * size)


def absent(nursery: Nursery, folder: Path) -> Scene:
    """Nothing is at the target."""
    new = begun(nursery, folder, "wal")
    return Scene(folder, new, None, target_name="out.db")


def sidecars_alone(nursery: Nursery, folder: Path) -> Scene:
    """The main file was removed; its -wal and -shm were forgotten."""
    scene = wal(nursery, folder)
    scene.target.unlink()
    return replace(scene, old=None)


SCENES: dict[str, Callable[[Nursery, Path], Scene]] = {
    "wal": wal,
    "hot journal": hot_journal,
    "damaged": damaged,
    "damaged in part": damaged_in_part,
    "absent": absent,
    "sidecars alone": sidecars_alone,
}
