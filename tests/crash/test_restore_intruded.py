"""
An application that starts at any step of a restore loses no committed row in silence.

Either the restore is refused, or what the application committed is in the undo copy, or
it worked on the restored database.  And whatever lies at the target in the end is whole.
"""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.crash import intruder, scenes
from tests.crash.nursery import Nursery, Run
from tests.crash.scenes import Scene

BUSY = 14


def rollback(nursery: Nursery, folder: Path) -> Scene:
    """A database in rollback mode, at rest."""
    new = scenes.begun(nursery, folder, "delete")
    return Scene(folder, new, nursery.call("read", str(folder / scenes.NAME)))


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
    nursery: Nursery, tmp_path: Path, kind: str, action: str
):
    template = SCENES[kind](nursery, tmp_path / "template")
    dry = template.copied(tmp_path / "dry").restore(nursery)
    statuses = set()
    for index, step in enumerate(dry.steps):
        scene = template.copied(tmp_path / "scene")
        log = tmp_path / f"log-{index}"
        command = [sys.executable, "-m", "tests.crash.intruder"]
        command += [action, str(scene.target), str(log)]
        run = scene.restore(nursery, fault={"call": index, "command": command})
        done = intruder.ended(log)
        statuses.add(run.status)
        check(nursery, scene, run, done, f"{action} at {index}: {step}")
    if action == "stay":
        assert BUSY in statuses, "no visitor was noticed"


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
