"""
An application that starts at any step of a restore loses no committed row in silence.

Either the restore is refused, or what the application committed is in the undo copy, or
it worked on the restored database.  And whatever lies at the target in the end is whole.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.crash import intruder, scenes, veil
from tests.crash.nursery import Nursery, Run
from tests.crash.scenes import Scene

BUSY = 14


def rollback(nursery: Nursery, folder: Path) -> Scene:
    """A database in rollback mode, at rest."""
    new = scenes.begun(nursery, folder, "delete")
    return Scene(folder, new, nursery.call("read", str(folder / scenes.NAME)))


def malformed(nursery: Nursery, folder: Path) -> Scene:
    """A schema that SQLite refuses; an application with writable_schema goes on."""
    new = scenes.begun(nursery, folder, "wal")
    nursery.call("malform", str(folder / scenes.NAME))
    return Scene(folder, new, None)


def veiled(nursery: Nursery, folder: Path, journal_mode: str) -> Scene:
    """The old file is encrypted as a whole; its application has the key."""
    new = scenes.begun(nursery, folder, journal_mode)
    veil.draw(folder / scenes.NAME)
    return Scene(folder, new, None)


UNREADABLE: dict[str, Callable[[Nursery, Path], Scene]] = {
    "malformed": malformed,
    "veiled wal": lambda nursery, folder: veiled(nursery, folder, "wal"),
    "veiled rollback": lambda nursery, folder: veiled(nursery, folder, "delete"),
}

SCENES = {
    "wal": scenes.wal,
    "rollback": rollback,
    "absent": scenes.absent,
    "sidecars alone": scenes.sidecars_alone,
}


def without_visitor(found: dict[str, Any]) -> dict[str, int]:
    return {name: count for name, count in found["counts"].items() if name != "visitor"}


def check(nursery: Nursery, scene: Scene, run: Run, done: dict[str, Any], where: str) -> None:
    """Account for the row, and for what lies at the target."""
    where = f"{where}; restore: {run.status} {run.errors!r}; visitor: {done}"
    found = nursery.call("try_read", str(scene.target))
    if scene.old is None and "error" in found:
        assert run.status != 0, where
    else:
        assert found["integrity"] == "ok", f"{where}: {found}"
        # Where there was no database, the visitor cannot have made a table of rows.
        wholes = [scene.new["counts"]] + ([scene.old["counts"]] if scene.old else [])
        assert without_visitor(found) in wholes, f"{where}: {found['counts']}"
    if run.status == 0:
        assert without_visitor(found) == scene.new["counts"], where
    if done.get("committed"):
        places = [scene.target, *scene.undo_copies()]
        states = [nursery.call("try_read", str(place)) for place in places]
        holders = [state for state in states if "visitor" in state.get("counts", {})]
        assert holders, f"{where}: the row is nowhere"
    own = {f"{scene.target_name}{suffix}" for suffix in scenes.SIDECARS}
    assert set(scene.leftovers()) <= own, where


@pytest.mark.parametrize("kind", SCENES)
@pytest.mark.parametrize("action", ["visit", "stay"])
def test_an_application_that_starts_at_any_step_of_a_restore_is_not_robbed(
    nursery: Nursery, intruders: str, tmp_path: Path, kind: str, action: str
):
    template = SCENES[kind](nursery, tmp_path / "template")
    dry = template.copied(tmp_path / "dry").restore(nursery)
    statuses = set()
    for index, step in enumerate(dry.steps):
        scene = template.copied(tmp_path / "scene")
        log = tmp_path / f"log-{index}"
        enter = [action, str(scene.target), str(log)]
        fault = {"call": index, "enter": enter, "place": intruders}
        run = scene.restore(nursery, fault=fault)
        done = intruder.ended(log)
        statuses.add(run.status)
        check(nursery, scene, run, done, f"{action} at {index}: {step}")
    if action == "stay":
        assert BUSY in statuses, "no visitor was noticed"


OLD = {"new": 30, "old": 20}


def check_unreadable(
    nursery: Nursery, scene: Scene, run: Run, done: dict[str, Any], kind: str, where: str
) -> None:
    """The new database, or the old one as its application sees it; and the row is kept."""
    where = f"{where}; restore: {run.status} {run.errors!r}; visitor: {done}"
    is_veiled = kind.startswith("veiled")
    if run.status == 0:
        found = nursery.call("try_read", str(scene.target))
        assert without_visitor(found) == scene.new["counts"], f"{where}: {found}"
    else:
        assert run.status == BUSY, where
        found = nursery.call("read_apart", str(scene.target), is_veiled=is_veiled)
        assert without_visitor(found) == OLD, f"{where}: {found}"
    assert found["integrity"] == "ok", f"{where}: {found}"
    undone = [
        nursery.call("read_apart", str(undo), is_veiled=is_veiled) for undo in scene.undo_copies()
    ]
    for state in undone:
        assert state.get("integrity") == "ok", f"{where}: undo {state}"
        assert without_visitor(state) == OLD, f"{where}: undo {state}"
    if done.get("committed"):
        assert any("visitor" in s["counts"] for s in [found, *undone]), f"{where}: lost"
    own = {f"{scene.target_name}{suffix}" for suffix in scenes.SIDECARS}
    assert set(scene.leftovers()) <= own, where


@pytest.mark.parametrize("kind", UNREADABLE)
@pytest.mark.parametrize("action", ["visit", "stay", "die"])
def test_an_application_that_reads_what_sqlite_cannot_is_not_robbed(
    nursery: Nursery, intruders: str, tmp_path: Path, kind: str, action: str
):
    template = UNREADABLE[kind](nursery, tmp_path / "template")
    dry = template.copied(tmp_path / "dry").restore(nursery)
    assert dry.status == 0, dry.errors
    more = ["--veiled"] if kind.startswith("veiled") else []
    statuses = set()
    for index, step in enumerate(dry.steps):
        scene = template.copied(tmp_path / "scene")
        log = tmp_path / f"log-{index}"
        enter = [action, str(scene.target), str(log), *more]
        fault = {"call": index, "enter": enter, "place": intruders}
        run = scene.restore(nursery, fault=fault)
        done = intruder.ended(log)
        statuses.add(run.status)
        check_unreadable(nursery, scene, run, done, kind, f"{action} at {index}: {step}")
    if action == "stay":
        assert BUSY in statuses, "no visitor was noticed"


def pairs_around_the_rename(steps: tuple[str, ...]) -> list[tuple[int, int]]:
    """When the visitor comes, and when the restore is killed: at once, or about the rename."""
    first = next(i for i, step in enumerate(steps) if step.startswith("chown"))
    rename = steps.index("rename target")
    pairs = {(i, i) for i in range(first, len(steps))}
    pairs |= {(i, rename + 1) for i in range(first, rename + 1)}
    pairs |= {(rename, i) for i in range(rename, len(steps))}
    return sorted(pairs)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["wal", "rollback", "malformed"])
def test_an_application_that_waits_while_a_restore_is_killed_damages_nothing(
    nursery: Nursery, intruders: str, tmp_path: Path, kind: str
):
    """The kernel drops our locks, and the application goes on with the file that it opened."""
    template = (SCENES | UNREADABLE)[kind](nursery, tmp_path / "template")
    dry = template.copied(tmp_path / "dry").restore(nursery)
    old = template.old["counts"] if template.old else OLD
    for come, killed in pairs_around_the_rename(dry.steps):
        scene = template.copied(tmp_path / "scene")
        log = tmp_path / f"log-{come}-{killed}"
        enter = ["stay", str(scene.target), str(log)]
        fault = {"call": come, "enter": enter, "place": intruders, "kill": killed}
        run = scene.restore(nursery, fault=fault)
        done = intruder.ended(log)
        where = f"came at {come}: {dry.steps[come]}, killed at {killed}: {dry.steps[killed]}"
        where += f"; {run.status} {done}"
        places = [scene.target, *scene.undo_copies()]
        states = [nursery.call("read_apart", str(place), is_veiled=False) for place in places]
        for state in states:
            assert state.get("integrity") == "ok", f"{where}: {states}"
            assert without_visitor(state) in (scene.new["counts"], old), f"{where}: {states}"
        if done.get("committed"):
            assert any("visitor" in state["counts"] for state in states), f"{where}: lost"
        again = scene.restore(nursery)
        assert again.status == 0, f"{where}: {again.errors}"
        assert nursery.call("try_read", str(scene.target)) == scene.new, where
        assert scene.leftovers() == [], where
        for undo in scene.undo_copies():
            state = nursery.call("read_apart", str(undo), is_veiled=False)
            if kind != "rollback":
                assert undo.read_bytes()[18:20] == b"\x02\x02", f"{where}: not in WAL mode"
            assert state["integrity"] == "ok", f"{where}: {state}"


@pytest.mark.torture
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["wal", "rollback"])
def test_applications_that_start_at_random_lose_no_committed_row(
    nursery: Nursery, tmp_path: Path, kind: str
):
    """Several that come and go while a restore runs, for a minute."""
    seed = random.randrange(1 << 32)
    dice = random.Random(seed)
    template = SCENES[kind](nursery, tmp_path / "template")
    deadline = time.monotonic() + 60
    statuses = set()
    while time.monotonic() < deadline:
        scene = template.copied(tmp_path / "scene")
        pid = nursery.start("restore", scene.backups, "--output", scene.target, "--replace")
        names = [f"visitor {number}" for number in range(4)]
        started = []
        for name in names:
            time.sleep(dice.uniform(0.0, 0.08))  # the time is what is tested
            started.append(nursery.start_call("commit", str(scene.target), name, 2, 3.0))
        run = nursery.wait(pid)
        statuses.add(run.status)
        done = [json.loads(nursery.wait(visitor).output) for visitor in started]
        where = f"seed {seed}; restore: {run.status} {run.errors!r}; {done}"
        found = nursery.call("try_read", str(scene.target))
        assert found.get("integrity") == "ok", f"{where}: {found}"
        rest = {key: n for key, n in found["counts"].items() if key not in names}
        assert scene.old is not None
        wanted = scene.new if run.status == 0 else scene.old
        assert rest == wanted["counts"], f"{where}: {found}"
        places = [scene.target, *scene.undo_copies()]
        states = [nursery.call("try_read", str(place)) for place in places]
        for name, result in zip(names, done, strict=True):
            if result["committed"]:
                assert any(s.get("counts", {}).get(name) == 2 for s in states), f"{where}: {name}"
    assert {0, BUSY} <= statuses
