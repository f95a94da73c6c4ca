"""
A stream that is killed at any of its steps, or has that step fail, loses nothing that a store
has, begins again with what differs, and leaves nothing half done.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from litekeep.clock import monotonic, sleep
from litekeep.store.directory import DirectoryStore
from litekeep.stream.chain import Place, read_chain
from tests.crash.nursery import Nursery, Run
from tests.end_to_end.test_stream import bytes_of
from tests.writers.reading import copy_of, opened

ROWS = 400
#: Commits while the stream runs, one in a sync, then one at its very end.
APPLICATION = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
for number in range(3):
    connection.execute("INSERT INTO rows(generation, filler) VALUES ('run', randomblob(300))")
    time.sleep(0.12 if number < 2 else 0)
"""


@dataclass(frozen=True)
class Scene:
    """A database, its local state and its stores, as they are before the run that is killed."""

    nursery: Nursery
    folder: Path
    is_run: bool = False
    stores: tuple[str, ...] = ("store",)

    @property
    def database(self) -> Path:
        return self.folder / "app.db"

    def places(self) -> list[Place]:
        return [Place(DirectoryStore(self.folder / name), "app/") for name in self.stores]

    def stream(self, *names: str, is_run: bool = False, **how: object) -> Run:
        to = [word for name in names or self.stores for word in ("--to", self.folder / name)]
        what = ["--once"]
        if is_run:
            words = [sys.executable, "-c", APPLICATION, str(self.database)]
            what = ["--exec", shlex.join(words), "--sync-interval", "50ms"]
        return self.nursery.litekeep(
            *("stream", self.database, *to, *what, "--json"),
            environment={"LITEKEEP_STATE": str(self.folder / "state")},
            **how,
        )

    def commit(self, count: int = 1) -> None:
        self.nursery.call("commit_and_die", str(self.database), "more", count)


def _first(scene: Scene) -> Scene:
    return scene


def _sync(scene: Scene) -> Scene:
    assert scene.stream().status == 0
    scene.commit()
    return scene


def _run(scene: Scene) -> Scene:
    assert scene.stream().status == 0
    return Scene(scene.nursery, scene.folder, is_run=True)


def _fill(scene: Scene) -> Scene:
    """One store is behind, the other is where we are, and nothing waits in the spool."""
    both = Scene(scene.nursery, scene.folder, stores=("store", "other"))
    assert both.stream().status == 0
    for _ in range(2):
        scene.commit()
        assert both.stream("store").status == 0
    scene.commit()
    return both


def _lost(scene: Scene) -> Scene:
    assert scene.stream().status == 0
    scene.commit()
    shutil.rmtree(scene.folder / "state")
    return scene


def _page_size(scene: Scene) -> Scene:
    assert scene.stream().status == 0
    subprocess.run(
        ["sqlite3", scene.database, "PRAGMA journal_mode=DELETE; PRAGMA page_size=512; VACUUM"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return scene


#: Of each, whether the whole database is sent.
SCENES: dict[str, tuple[Callable[[Scene], Scene], bool]] = {
    "first": (_first, True),
    "sync": (_sync, False),
    "run": (_run, False),
    "fill": (_fill, False),
    "lost": (_lost, False),
    "page size": (_page_size, True),
}
SOME = pytest.param(24, id="some")
FULL = pytest.param(errno.ENOSPC, id="full")
BROKEN = pytest.param(errno.EIO, id="broken", marks=pytest.mark.torture)
ALL = pytest.param(1, id="all", marks=[pytest.mark.torture, pytest.mark.timeout(900)])


def prepared(nursery: Nursery, tmp_path: Path, kind: str) -> tuple[Scene, Path]:
    """Make the scene, and a copy of its folder to begin with again and again."""
    folder = tmp_path / "work"
    folder.mkdir()
    nursery.call("make", str(folder / "app.db"), "wal", "rows", ROWS)
    scene = SCENES[kind][0](Scene(nursery, folder))
    template = tmp_path / "template"
    subprocess.run(["cp", "-a", folder, template], check=True)
    return scene, template


def check_stores(scene: Scene, scratch: Path, where: str) -> None:
    """Whatever a store has of the chain can be restored, and is proved."""
    for place in scene.places():
        chain = read_chain(place)
        names = [link.object for link in chain.links]
        assert len(names) == len(set(names)), where
        for txid in chain.txids():
            with opened(bytes_of(place, scratch, txid)) as connection:
                found = connection.execute("PRAGMA integrity_check").fetchall()
                assert found == [("ok",)], f"{where}: txid {txid}"


def check_after(scene: Scene, scratch: Path, kind: str, where: str) -> None:
    """Begin again, and look at everything."""
    before = {place.store.url: len(read_chain(place).links) for place in scene.places()}
    again = scene.stream()
    assert again.status == 0, f"{where}: {again.errors}"
    whole = scene.database.stat().st_size // 4  # of noise, which no codec makes that small
    for place, store in zip(scene.places(), again.json()["stores"], strict=True):
        is_whole_due = SCENES[kind][1] or before[place.store.url] == 0
        assert is_whole_due or store["bytes"] < whole, where
        assert bytes_of(place, scratch) == copy_of(scene.database), where
    check_stores(scene, scratch, where)
    files = (path for path in (scene.folder / "state").rglob("*") if path.is_file())
    left = sorted(path.name for path in files if path.suffix != ".times")
    assert left == ["lock", "pages.map"], where
    litter = [path.name for path in scene.folder.rglob("*.tmp")]
    assert litter == [], where
    third = scene.stream()
    assert [store["files"] for store in third.json()["stores"]] == [0] * len(scene.stores), where


def begin_anew(scene: Scene, template: Path) -> None:
    shutil.rmtree(scene.folder)
    subprocess.run(["cp", "-a", template, scene.folder], check=True)


def wait_for_application(scene: Scene) -> None:
    """Wait until the program of --exec, which outlives a killed stream, has ended."""
    end = monotonic() + 10
    while any(
        APPLICATION.encode() in command and str(scene.database).encode() in command
        for command in commands()
    ):
        assert monotonic() < end
        sleep(0.01)


def commands() -> Iterator[bytes]:
    """Yield the command lines of all processes."""
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            yield Path("/proc", name, "cmdline").read_bytes()


@pytest.mark.parametrize("stride", [SOME, ALL])
@pytest.mark.parametrize("kind", SCENES)
def test_a_stream_killed_at_any_step_goes_on_with_what_differs(
    nursery: Nursery, tmp_path: Path, kind: str, stride: int
):
    scene, template = prepared(nursery, tmp_path, kind)
    dry = scene.stream(is_run=scene.is_run)
    assert dry.status == 0, dry.errors
    assert any(step.startswith("ship") for step in dry.steps)
    for index in range(random.randrange(stride), len(dry.steps), stride):
        begin_anew(scene, template)
        run = scene.stream(is_run=scene.is_run, fault={"kill": index})
        where = f"killed at {index} of {len(dry.steps)}: {run.steps[-1:]}"
        wait_for_application(scene)
        # Of a daemon with a thread for each store a run may have a step less.
        assert run.was_killed or (scene.is_run and index >= len(run.steps)), where
        check_stores(scene, tmp_path, where)
        check_after(scene, tmp_path, kind, where)


@pytest.mark.parametrize("stride", [pytest.param(48, id="some"), ALL])
@pytest.mark.parametrize("number", [FULL, BROKEN])
@pytest.mark.parametrize("kind", SCENES)
def test_a_stream_with_any_step_failing_says_so_and_goes_on_later(
    nursery: Nursery, tmp_path: Path, kind: str, number: int, stride: int
):
    scene, template = prepared(nursery, tmp_path, kind)
    dry = scene.stream()
    for index in range(random.randrange(stride), len(dry.steps), stride):
        begin_anew(scene, template)
        run = scene.stream(fault={"raise": index, "errno": number})
        where = f"failing at {index}: {run.steps[index]}\n{run.status}: {run.output}{run.errors}"
        assert run.status not in (70, -6, -7, -11), where
        assert "Traceback" not in run.errors, where
        assert run.status == 0 or "hint" in run.output + run.errors, where
        check_stores(scene, tmp_path, where)
        check_after(scene, tmp_path, kind, where)
