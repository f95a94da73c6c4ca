"""
What only a directory has: modes, links, locks, companions, crashes between any two steps.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from litekeep import faults
from litekeep.documents import encode_document
from litekeep.errors import (
    AccessDenied,
    BlobNotFound,
    FormatError,
    LitekeepError,
    NoSpace,
    StoreError,
)
from litekeep.store.companion import companion_path
from litekeep.store.directory import DirectoryStore
from litekeep.store.files import LOCK_NAME, translated
from litekeep.store.temporary import TEMPORARY_NAME, remove_dead, temporary_file, temporary_name

NAME = "2025/09/app.db.gz"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(root: Path) -> DirectoryStore:
    return DirectoryStore(root)


@pytest.fixture
def steps() -> Iterator[list[str]]:
    heard: list[str] = []
    faults.listen(heard.append)
    yield heard
    faults.listen(None)


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_files_are_private(store: DirectoryStore, root: Path):
    store.put(NAME, b"data", metadata={"a": "1"})

    for path in root.rglob("*"):
        wanted = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path
    assert stat.S_IMODE(root.stat().st_mode) == 0o700


def test_a_blob_without_metadata_is_one_file(store: DirectoryStore, root: Path):
    store.put(NAME, b"data")

    assert files(root) == [NAME]


def test_the_steps_of_a_put_are_in_order(store: DirectoryStore, steps: list[str]):
    """The bytes are durable before they have their name, and the name before put returns."""
    store.put("a/name", b"data", metadata={"a": "1"})
    temporary = next(step.split()[1] for step in steps if step.startswith("create"))
    companion = [step.split()[1] for step in steps if step.startswith("create")][1]
    assert store.staging is not None

    assert [step.replace(temporary, "T").replace(companion, "C") for step in steps] == [
        *("mkdir store", f"fsync {store.staging.parent.name}/", "mkdir a", "fsync store/"),
        *("create T", "write a/name", "fsync a/name"),
        *("create C", "write .name.meta", "fsync .name.meta", "rename .name.meta", "fsync a/"),
        *("rename a/name", "fsync a/"),
    ]


def test_a_folder_of_a_killed_run_is_flushed_once(
    store: DirectoryStore, root: Path, steps: list[str]
):
    """It may have been made, and its name not be durable yet."""
    (root / "2025/09").mkdir(parents=True)
    store.put(NAME, b"data")
    assert {"fsync 2025/", "fsync store/"} <= set(steps[: steps.index(f"fsync {NAME}")])

    steps.clear()
    store.put(NAME, b"data")
    assert "fsync store/" not in steps


def test_a_staged_file_is_linked_and_ends_with_one_name(store: DirectoryStore, root: Path):
    """gunzip refuses a file with several links."""
    root.mkdir()
    with temporary_file(root) as (path, file):
        file.write(b"data" * 1000)
        inode = path.stat().st_ino
        for _ in range(2):  # a rename of two names of one inode does nothing
            store.take(path, NAME)
        assert files(root) == sorted([NAME, path.name])
        assert [blob.name for blob in store.list()] == [NAME]

    status = (root / NAME).stat()
    assert (status.st_ino, status.st_nlink) == (inode, 1)
    assert files(root) == [NAME]


def test_a_file_of_another_file_system_is_copied(store: DirectoryStore, root: Path):
    shared_memory = Path("/dev/shm")
    if not shared_memory.is_dir() or shared_memory.stat().st_dev == root.parent.stat().st_dev:
        pytest.skip("there is no second file system here")
    with temporary_file(shared_memory) as (path, file):
        file.write(b"data")
        store.take(path, NAME, metadata={"a": "1"})

    assert store.read(NAME, size_max=4) == b"data"
    assert store.head(NAME).metadata == {"a": "1"}


def test_a_copy_is_a_file_of_its_own(store: DirectoryStore, root: Path):
    store.put(NAME, b"data")
    store.copy(NAME, "latest.db.gz")

    assert (root / NAME).stat().st_nlink == 1
    assert (root / NAME).stat().st_ino != (root / "latest.db.gz").stat().st_ino


def test_symbolic_links_are_no_blobs(store: DirectoryStore, root: Path, tmp_path: Path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    store.put("real", b"data")
    (root / "link").symlink_to(outside / "secret")
    (root / "folder").symlink_to(outside)

    assert [blob.name for blob in store.list()] == ["real"]
    with pytest.raises(BlobNotFound):
        store.head("link")
    with pytest.raises(BlobNotFound):
        list(store.get("link"))
    for ask in (
        lambda: store.head("folder/secret"),
        lambda: list(store.get("folder/secret")),
        lambda: store.put("folder/new", b""),
        lambda: store.delete("folder/secret"),
    ):
        with pytest.raises(AccessDenied, match="symbolic link"):
            ask()
    store.put("link", b"replaces the link itself")
    assert (outside / "secret").read_bytes() == b"secret"


def test_the_root_may_be_a_link(tmp_path: Path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "backups").symlink_to(tmp_path / "disk")
    DirectoryStore(tmp_path / "backups").put(NAME, b"data")

    assert (tmp_path / "disk" / NAME).read_bytes() == b"data"


def test_a_folder_is_no_blob_and_a_blob_no_folder(store: DirectoryStore):
    store.put("a/b", b"data")
    with pytest.raises(BlobNotFound):
        store.head("a")
    with pytest.raises(StoreError, match="is a folder"):
        store.put("a", b"data")
    with pytest.raises(StoreError, match="is a file"):
        store.put("a/b/c", b"data")
    store.delete("a/b/c")


def test_metadata_survives_a_copy_of_the_tree(store: DirectoryStore, root: Path, tmp_path: Path):
    store.put(NAME, b"data", metadata={"a": "1"})
    copied = tmp_path / "copied"
    subprocess.run(["cp", "-r", root, copied], check=True)

    assert DirectoryStore(copied).head(NAME).metadata == {"a": "1"}


def test_metadata_of_a_file_that_was_replaced_by_others_does_not_count(
    store: DirectoryStore, root: Path
):
    store.put(NAME, b"data", metadata={"a": "1"})
    (root / NAME).write_bytes(b"other data")

    assert store.head(NAME).metadata == {}


def test_damaged_metadata_is_an_error_that_names_its_file(store: DirectoryStore, root: Path):
    store.put("name", b"data", metadata={"a": "1"})
    entries: list[Any] = [[{}], [{"inode": 1}], 1]
    documents = [encode_document({"entries": each}) for each in entries]
    for text in (b"", b"[]", b'{"entries": []}', b"x" * 70000, encode_document({}), *documents):
        (root / ".name.meta").write_bytes(text)
        with pytest.raises(LitekeepError, match=r"\.name\.meta cannot be read") as caught:
            store.head("name")
        assert "Remove it" in (caught.value.hint or "")


def test_every_flipped_bit_of_the_metadata_is_seen(store: DirectoryStore, root: Path):
    store.put("name", b"data", metadata={"a": "1"})
    companion = root / ".name.meta"
    data = companion.read_bytes()
    for place in range(len(data)):
        for bit in range(8):
            companion.write_bytes(
                data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]
            )
            with pytest.raises(FormatError):
                store.head("name")


@pytest.mark.parametrize("step", ["write", "fsync", "rename", "link", "create", "mkdir"])
@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (errno.ENOSPC, NoSpace, "no space left"),
        (errno.EDQUOT, NoSpace, "no space left"),
        (errno.EACCES, AccessDenied, "permission denied"),
        (errno.EROFS, AccessDenied, "read-only"),
        (errno.EIO, StoreError, "input/output error"),
    ],
)
def test_an_error_of_any_step_is_told_and_changes_nothing(
    store: DirectoryStore, root: Path, step: str, number: int, kind: type, words: str
):
    store.put("name", b"old")

    def fail(reached: str) -> None:
        if reached.startswith(f"{step} "):
            raise OSError(number, os.strerror(number))

    faults.listen(fail)
    try:
        with pytest.raises(StoreError, match=f"(?i){words}") as caught:
            put_both(store)
    finally:
        faults.listen(None)
    assert type(caught.value) is kind
    assert kind is StoreError or caught.value.hint
    assert store.read("name", size_max=9) == b"old"
    assert all(not TEMPORARY_NAME.fullmatch(Path(name).name) for name in files(root))


def put_both(store: DirectoryStore) -> None:
    """Put in the two ways that together reach every step."""
    store.put("new/name", b"new", create=True)
    store.put("name", b"new")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_folder_of_somebody_else_is_refused_by_the_kernel(tmp_path: Path):
    program = (
        "import os, sys; from pathlib import Path\n"
        "from litekeep.errors import AccessDenied\n"
        "from litekeep.store.directory import DirectoryStore\n"
        "os.setuid(65534)\n"
        "try: DirectoryStore(Path(sys.argv[1])).put('a/b', b'x')\n"
        "except AccessDenied as error: print(error.message, '|', error.hint)\n"
    )
    folder = Path("/var/lib")
    out = subprocess.run(
        [sys.executable, "-c", program, folder / "litekeep-test"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert "permission denied | Give user id 65534 the right" in out


def test_temporary_files_of_the_living_stay_and_of_the_dead_go(store: DirectoryStore, root: Path):
    root.mkdir()
    dead = root / temporary_name()
    dead.write_bytes(b"x")
    foreign = root / ".somebody.tmp"
    foreign.write_bytes(b"x")
    (root / temporary_name()).mkdir()
    (root / temporary_name()).symlink_to(foreign)
    with temporary_file(root) as (living, _):
        lines = store.clean()
        assert (living.exists(), dead.exists(), foreign.exists()) == (True, False, True)
    assert len(lines) == 1 and str(dead) in lines[0]
    assert list(store.clean()) == []


def test_hidden_files_of_other_programs_stay(store: DirectoryStore, root: Path):
    """A store may lie in a folder with files of names like those of our companions."""
    store.put("gone", b"data", metadata={"a": "1"})
    (root / "gone").unlink()
    others = [root / ".notes.meta", root / "project/.list.meta", root / ".pipe.meta"]
    others[1].parent.mkdir()
    others[0].write_text("precious")
    others[1].write_text("[]")
    os.mkfifo(others[2])

    assert [str(root / ".gone.meta") in line for line in store.clean()] == [True]
    assert all(path.exists() for path in others)


def test_without_locks_only_age_tells_dead_from_living(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr("fcntl.flock", no_locks)
    path = tmp_path / temporary_name()
    path.write_bytes(b"x")
    assert not remove_dead(path)
    assert remove_dead(path, clock=lambda: datetime.now(UTC) + timedelta(days=2))


def test_without_locks_a_put_works_and_a_replace_refuses(
    store: DirectoryStore, root: Path, monkeypatch: pytest.MonkeyPatch
):
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr("fcntl.flock", no_locks)
    version = store.put("name", b"data", metadata={"a": "1"}).version
    assert store.head("name").metadata == {"a": "1"}
    with pytest.raises(StoreError, match="without locks"):
        store.replace("name", b"new", version=version)
    assert [blob.name for blob in store.list()] == ["name"]
    assert (root / LOCK_NAME).exists()


def test_a_cleaner_and_writers_at_once_lose_nothing(store: DirectoryStore, root: Path):
    """New temporary files are taken for dead for an instant; their owners begin again."""
    stop = threading.Event()

    def clean() -> None:
        while not stop.is_set():
            store.clean()

    cleaner = threading.Thread(target=clean)
    cleaner.start()
    try:
        for index in range(100):
            store.put(f"n{index % 7}", b"%d" % index, metadata={"n": str(index)})
            assert store.head(f"n{index % 7}").metadata == {"n": str(index)}
    finally:
        stop.set()
        cleaner.join()
    assert all(not TEMPORARY_NAME.fullmatch(name) for name in files(root))


CRASHER = """
import os, signal, sys
from pathlib import Path
from litekeep import faults
from litekeep.store.directory import DirectoryStore
root, work, crash_at = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
store, count = DirectoryStore(root), 0
def hear(step):
    global count
    count += 1
    if count == crash_at:
        os.kill(os.getpid(), signal.SIGKILL)
faults.listen(hear)
if work == "put": store.put("name", b"new!", metadata={"is": "new"})
if work == "plain": store.put("name", b"new!")
if work == "create": store.put("made", b"new!", create=True, metadata={"is": "new"})
if work == "delete": store.delete("name")
if work == "copy": store.copy("other", "name")
if work == "take": store.take(root / "staged", "name", metadata={"is": "new"})
"""


@pytest.mark.parametrize("work", ["put", "plain", "create", "delete", "copy", "take"])
def test_killed_at_any_step_a_blob_is_old_or_new_with_its_own_metadata(tmp_path: Path, work: str):
    """SIGKILL at each step in turn; then the next run tidies up."""
    choices: dict[str, list[Any]] = {
        "put": [(b"old", {"is": "old"}), (b"new!", {"is": "new"})],
        "plain": [(b"old", {"is": "old"}), (b"new!", {})],
        "create": [None, (b"new!", {"is": "new"})],
        "delete": [(b"old", {"is": "old"}), None],
        "copy": [(b"old", {"is": "old"}), (b"same", {"is": "other"})],
        "take": [(b"old", {"is": "old"}), (b"new!", {"is": "new"})],
    }
    allowed = choices[work]
    name = "made" if work == "create" else "name"
    seen = []
    for crash_at in range(1, 60):
        root = tmp_path / f"{work}-{crash_at}"
        store = DirectoryStore(root)
        store.put("name", b"old", metadata={"is": "old"})
        store.put("other", b"same", metadata={"is": "other"})
        (root / "staged").write_bytes(b"new!")
        command = [sys.executable, "-c", CRASHER, str(root), work, str(crash_at)]
        process = subprocess.run(command, check=False)
        found = state(store, name)
        assert found in allowed, crash_at
        seen.append(found)
        store.clean()
        assert state(store, name) == found
        hidden = [file for file in files(root) if file.startswith(".")]
        assert all(store.head(file[1:-5]) for file in hidden), hidden
        store.put(name, b"after", metadata={"is": "after"})
        assert state(store, name) == (b"after", {"is": "after"})
        if process.returncode == 0:
            break
    assert process.returncode == 0
    assert seen[0] == allowed[0]
    assert seen[-1] == allowed[1]


def state(store: DirectoryStore, name: str) -> tuple[bytes, dict[str, str]] | None:
    if name not in [blob.name for blob in store.list()]:
        return None
    return store.read(name, size_max=99), dict(store.head(name).metadata)


def test_the_companion_is_plain_json(store: DirectoryStore, root: Path):
    store.put("name", b"data", metadata={"litestream-timestamp": "2025-09-08T12:00:01Z"})
    (entry,) = json.loads((root / ".name.meta").read_text())["entries"]

    assert entry["metadata"] == {"litestream-timestamp": "2025-09-08T12:00:01Z"}
    assert entry["size"] == 4


def test_a_folder_of_somebody_else_stops_no_list(
    store: DirectoryStore, root: Path, monkeypatch: pytest.MonkeyPatch
):
    """lost+found, most often.  One that is asked for, or of a year, is an error."""
    scandir = os.scandir

    def refusing(path: Path) -> Any:
        if Path(path).stat().st_mode & 0o777 == 0:  # root, who runs tests, is refused nothing
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    store.put(NAME, b"data")
    store.put("other/name", b"data")
    for closed in (root / "lost+found", root / "other/deep"):
        closed.mkdir(mode=0)
    assert [blob.name for blob in store.list()] == [NAME, "other/name"]
    assert [blob.name for blob in store.list("lost")] == []
    with pytest.raises(AccessDenied, match=r"lost\+found"):
        list(store.list("lost+found/a"))

    (root / "2026").mkdir(mode=0)
    with pytest.raises(AccessDenied, match="2026"):
        list(store.list())


@pytest.mark.parametrize(
    "text",
    [
        '{"entries": [{"inode": 1e999, "mtime_ns": 1, "size": 1, "metadata": {}}]}',
        "[" * 60_000,
        '{"entries": [{"inode": ' + "9" * 5000 + ', "mtime_ns": 1, "size": 1, "metadata": {}}]}',
    ],
    ids=["endless number", "deep", "long number"],
)
def test_a_metadata_file_of_any_content_is_an_error_and_no_crash(
    store: DirectoryStore, root: Path, text: str
):
    store.put(NAME, b"data")
    companion = companion_path(root / NAME)
    companion.write_text(text)
    with pytest.raises(FormatError, match="cannot be read"):
        store.head(NAME)

    companion.rename(companion_path(root / "2025/09/gone"))
    assert store.clean() == []


@pytest.mark.parametrize("kind", ["pipe", "link", "socket"])
def test_what_is_no_file_keeps_nobody_waiting(store: DirectoryStore, root: Path, kind: str):
    """In the place of a metadata file, and of a blob."""
    store.put(NAME, b"data")
    for path in (companion_path(root / NAME), root / "2025/09/odd"):
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "link":
            path.symlink_to("/dev/zero")
        else:
            with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as listener:
                listener.bind(path.name)
    with pytest.raises(FormatError, match="is not a file"):
        store.head(NAME)
    with pytest.raises(BlobNotFound):
        list(store.get("2025/09/odd"))
    assert [blob.name for blob in store.list()] == [NAME]
    assert store.clean() == []


@pytest.mark.parametrize(
    ("work", "right"),
    [
        (lambda store: list(store.list()), "the right to read there"),
        (lambda store: store.head("a"), "the right to read there"),
        (lambda store: store.read("a", size_max=9), "the right to read there"),
        (lambda store: store.put("a", b"x"), "the right to read and write there"),
    ],
)
def test_the_right_that_is_missing_is_named_and_no_more(tmp_path, monkeypatch, work, right):
    """Who only reads is not told to let himself write."""
    store = DirectoryStore(tmp_path)
    store.put("a", b"x")

    def refused(path: object, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "refused", str(path))

    monkeypatch.setattr(os, "open", refused)
    monkeypatch.setattr(os, "scandir", refused)
    monkeypatch.setattr(Path, "lstat", refused)
    with pytest.raises(AccessDenied) as caught:
        work(store)

    assert right in (caught.value.hint or "")


def test_a_name_of_our_own_is_in_no_error(tmp_path):
    name = temporary_name()

    with pytest.raises(BlobNotFound) as caught, translated(tmp_path):
        (tmp_path / "none" / name).touch()

    assert str(tmp_path / "none") in caught.value.message
    assert name not in caught.value.message


def test_a_file_is_no_store(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(BlobNotFound, match="file is no folder"):
        list(DirectoryStore(tmp_path / "file").list())


def test_a_file_that_is_named_as_a_store_is_told(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BlobNotFound, match="is no folder"):
        list(DirectoryStore(tmp_path / "file").list("2025/09/app_20250908_120001.db"))
