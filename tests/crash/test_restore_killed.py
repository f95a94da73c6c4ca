"""
A restore that is killed at any of its steps leaves the whole old database or the whole
new one, and the next run tidies up.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.crash.nursery import Nursery, Run
from tests.crash.scenes import SCENES, SIDECARS, Scene


def bytes_of(scene: Scene) -> dict[str, bytes]:
    """
    Return the target and what belongs to it, by the end of the name.

    But for the -shm: it holds nothing that the -wal does not, and SQLite rewrites it.
    """
    return {
        suffix: path.read_bytes()
        for suffix in ("", "-wal", "-journal")
        if (path := Path(f"{scene.target}{suffix}")).exists()
    }


def keeps_set(scene: Scene, old: dict[str, bytes]) -> bool:
    """Tell whether some undo name holds all the files of *old*, byte for byte."""
    names = {p.name for p in scene.folder.iterdir() if ".undo-" in p.name}
    stems = {name.removesuffix(s) for name in names for s in ("", *SIDECARS) if name.endswith(s)}
    return any(
        all(
            (path := scene.folder / f"{stem}{suffix}").exists() and path.read_bytes() == data
            for suffix, data in old.items()
        )
        for stem in stems
    )


def read(nursery: Nursery, path: Path) -> dict[str, Any]:
    return dict(nursery.call("try_read", str(path)))


def check_as_application(nursery: Nursery, scene: Scene, where: str) -> None:
    """An application comes before the next run: it finds one whole database, and is kept."""
    found = read(nursery, scene.target)
    if scene.old is not None:
        assert found in (scene.old, scene.new), where
    else:
        assert "error" in found or found == scene.new, where
    is_readable = "error" not in found
    if is_readable:
        done = nursery.call("commit", str(scene.target), "after", 3)
        assert done == {"committed": True}, where
    run = scene.restore(nursery)
    assert run.status == 0, f"{where}: {run.errors}"
    assert read(nursery, scene.target) == scene.new, where
    if is_readable:
        counts = [read(nursery, undo).get("counts", {}) for undo in scene.undo_copies()]
        assert any(count.get("after") == 3 for count in counts), where


def check_next_run(nursery: Nursery, scene: Scene, old: dict[str, bytes], where: str) -> None:
    """The next run succeeds, keeps what was there, and leaves nothing behind."""
    run = scene.restore(nursery)
    assert run.status == 0, f"{where}: {run.errors}"
    assert scene.leftovers() == [], where
    assert read(nursery, scene.target) == scene.new, where
    files = [path.stat().st_ino for path in (scene.target, *scene.undo_copies())]
    assert len(set(files)) == len(files), f"{where}: two names of one file"
    if scene.old is not None:
        undo_states = [read(nursery, undo) for undo in scene.undo_copies()]
        assert scene.old in undo_states, where
        assert all(state in (scene.old, scene.new) for state in undo_states), where
    elif old:
        assert keeps_set(scene, old), where


@pytest.mark.parametrize("kind", SCENES)
def test_a_restore_killed_at_any_step_leaves_old_or_new(
    nursery: Nursery, tmp_path: Path, kind: str
):
    template = SCENES[kind](nursery, tmp_path / "template")
    old = bytes_of(template)
    dry = template.copied(tmp_path / "dry").restore(nursery)
    assert dry.status == 0, dry.errors
    assert len(dry.steps) > 5

    for index, step in enumerate(dry.steps):
        where = f"killed at {index}: {step}"
        scene = template.copied(tmp_path / "killed")
        run: Run = scene.restore(nursery, fault={"kill": index})
        assert run.was_killed, where
        check_as_application(nursery, scene.copied(tmp_path / "opened"), where)
        check_next_run(nursery, scene, old, where)


@pytest.mark.parametrize("kind", ["wal", "damaged"])
def test_without_undo_a_kill_leaves_old_or_new_and_no_second_copy(
    nursery: Nursery, tmp_path: Path, kind: str
):
    template = SCENES[kind](nursery, tmp_path / "template")
    dry = template.copied(tmp_path / "dry").restore(nursery, "--no-undo")
    assert dry.status == 0, dry.errors
    # The steps before the swap are those of the test above.
    first = next(i for i, step in enumerate(dry.steps) if step.startswith("chown"))
    for index, step in list(enumerate(dry.steps))[first:]:
        where = f"killed at {index}: {step}"
        scene = template.copied(tmp_path / "killed")
        assert scene.restore(nursery, "--no-undo", fault={"kill": index}).was_killed, where
        found = read(nursery, scene.copied(tmp_path / "opened").target)
        assert found in (scene.old, scene.new) or (scene.old is None and "error" in found), where
        again = scene.restore(nursery, "--no-undo")
        assert again.status == 0, f"{where}: {again.errors}"
        assert scene.leftovers() == [], where
        assert scene.undo_copies() == [], where
        assert read(nursery, scene.target) == scene.new, where
