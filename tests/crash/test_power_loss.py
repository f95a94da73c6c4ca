"""
What survives a power failure: data is on the disk before the name that leads to it, and a
name before what relies on it.  Read from the system calls of real runs.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash import scenes
from tests.crash.nursery import Nursery

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")

CALLS = (
    "rename,link,linkat,unlink,mkdir,fchown,"
    "fsync,fdatasync,write,pwrite64,ftruncate,copy_file_range"
)
SYNCS = ("fsync", "fdatasync")
LINE = re.compile(r"(?P<call>\w+)\((?P<rest>.*?)\)? += \d+")
DESCRIPTOR = re.compile(r"\d+<([^>]*)>")
NAMES = re.compile(r'"([^"]*)"')


def recorded(folder: Path, *words: str | Path) -> list[tuple[str, list[str]]]:
    """Return the calls of a run of Litekeep and the paths that each is about, in order."""
    log = folder.parent / "strace"
    command = ["strace", "-f", "-yy", "-s", "0", "-e", f"trace={CALLS}", "-o", str(log)]
    run = subprocess.run(
        [*command, os.path.realpath(sys.executable), "-m", "litekeep", *map(str, words)],
        env=os.environ
        | {
            "LITEKEEP_STATE": str(folder / "state"),
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if "PTRACE" in run.stderr or "ptrace" in run.stderr:
        pytest.skip("this machine does not let us trace")
    assert run.returncode == 0, run.stderr
    calls = []
    started: dict[str, str] = {}
    for line in log.read_text().splitlines():
        process, _, text = line.partition(" ")
        text = text.strip()
        if text.endswith("<unfinished ...>"):
            started[process] = text.removesuffix("<unfinished ...>")
            continue
        if text.startswith("<..."):
            text = started.pop(process, "") + text.partition("resumed>")[2]
        if (match := LINE.match(text)) and str(folder) in text:
            call, rest = match["call"], match["rest"]
            names = call in ("rename", "link", "linkat", "unlink", "mkdir")
            paths = NAMES.findall(rest) if names else DESCRIPTOR.findall(rest)
            calls.append((call, paths))
    return calls


def check_order(calls: list[tuple[str, list[str]]], named: dict[str, str]) -> None:
    """Each of *named* (a pattern of a final name, by what it is) is durable in its turn."""
    positions = []
    for what, pattern in named.items():
        at = next(
            index
            for index, (call, paths) in enumerate(calls)
            if call in ("rename", "link", "linkat") and re.search(pattern, paths[1])
        )
        source, target = calls[at][1]
        writes = [
            i
            for i, (call, paths) in enumerate(calls[:at])
            if call in ("write", "pwrite64", "copy_file_range") and paths[-1] == source
        ]
        syncs = [i for i, (call, p) in enumerate(calls[:at]) if call in SYNCS and source in p]
        assert not writes or (syncs and syncs[-1] > writes[-1]), f"{what}: named before its data"
        folder = os.path.dirname(target)
        after = [i for i, c in enumerate(calls) if i > at and c == ("fsync", [folder])]
        assert after, f"{what}: its name is not made durable"
        positions.append((what, at, after[0]))
    for (first, _, durable), (second, at, _) in itertools.pairwise(positions):
        assert durable < at, f"{second} is named before {first} is durable"


def test_a_snapshot_is_durable_in_the_order_in_which_it_is_relied_on(
    nursery: Nursery, tmp_path: Path
):
    folder = tmp_path / "work"
    folder.mkdir()
    nursery.call("make", str(folder / "app.db"), "wal", "rows", 50)
    calls = recorded(folder, "backup", folder / "app.db", "--no-check")
    check_order(
        calls,
        {
            "the record": r"/state/app-.*\.json$",
            "the claim": r"/app_\d+_\d+\.db\.gz$",
            "the manifest": r"/app_\d+_\d+\.db\.gz\.json$",
            "latest": r"/latest\.db\.gz$",
        },
    )
    at = [i for i, (c, p) in enumerate(calls) if c == "rename" and re.search(r"\d\.db\.gz$", p[1])]
    check_order(
        calls[at[0] - 12 :],
        {"the data": r"/app_\d+_\d+\.db\.gz$", "the manifest": r"\.db\.gz\.json$"},
    )
    for index, (call, paths) in enumerate(calls):
        if call == "mkdir" and not paths[0].startswith(str(folder / "state")):
            parent = os.path.dirname(paths[0])
            assert ("fsync", [parent]) in calls[index:], f"{paths[0]} is not durable"


def test_a_restore_is_durable_before_the_old_file_loses_its_name(nursery: Nursery, tmp_path: Path):
    scene = scenes.wal(nursery, tmp_path / "work")
    calls = recorded(
        scene.folder,
        *("restore", scene.backups, "--output", scene.target, "--replace"),
    )
    check_order(calls, {"the undo copy": r"\.undo-[\d_]+$", "the target": r"/app\.db$"})
    target, wal = str(scene.target), f"{scene.target}-wal"
    emptied = next(i for i, (c, p) in enumerate(calls) if c == "ftruncate" and p == [wal])
    copied = [i for i, (c, p) in enumerate(calls[:emptied]) if c == "pwrite64" and p == [target]]
    synced = [i for i, (c, p) in enumerate(calls[:emptied]) if "sync" in c and p == [target]]
    assert copied, "the log was copied back"
    assert synced[-1] > copied[-1], "the log goes once its pages are durable in the old file"
    unlinked = next(i for i, (c, p) in enumerate(calls) if c == "unlink" and p == [wal])
    assert unlinked > emptied


def test_what_is_captured_is_durable_before_it_is_sent_and_the_map_before_it_is_forgotten(
    nursery: Nursery, tmp_path: Path
):
    folder = tmp_path / "work"
    folder.mkdir()
    nursery.call("make", str(folder / "app.db"), "wal", "rows", 50)
    calls = recorded(folder, "stream", folder / "app.db", "--to", folder / "store", "--once")
    ltx = r"-0{15}1\.ltx$"
    spooled = next(
        i for i, (c, p) in enumerate(calls) if c == "rename" and re.search(rf"/state/.*{ltx}", p[1])
    )
    note = next(i for i, (c, p) in enumerate(calls) if c == "rename" and p[1].endswith(".json"))
    for at in (note, spooled):
        source = calls[at][1][0]
        written = max(i for i, c in enumerate(calls[:at]) if c == ("write", [source]))
        assert ("fdatasync", [source]) in calls[written:at], "named before its data"
    assert note < spooled, "the note stands before the file that it is about"
    name = calls[spooled][1][1]
    durable = calls.index(("fsync", [os.path.dirname(name)]), spooled)
    header = max(i for i, (c, p) in enumerate(calls) if c == "pwrite64" and "pages.map" in p[-1])
    assert durable < header, "the page map stands for what is durable"
    sent = next(
        i for i, (c, p) in enumerate(calls) if c == "write" and str(folder / "store") in p[-1]
    )
    assert durable < sent, "it is sent once it is durable here"
    forgotten = calls.index(("unlink", [name]))
    flushed = [i for i, (c, p) in enumerate(calls) if c == "fdatasync" and "pages.map" in p[0]]
    assert header < flushed[-1] < forgotten, "the map is durable before the file goes"
    stored = max(i for i, (c, p) in enumerate(calls) if c == "fsync" and p[0].endswith("/ltx/0"))
    assert stored < forgotten, "so is the object in the store"
