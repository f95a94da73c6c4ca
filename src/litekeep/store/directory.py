"""
A store in a directory: one file per blob, readable with any tool.

    <root>/2025/09/app_20250908_120001.db.gz          a blob
    <root>/2025/09/.app_20250908_120001.db.gz.meta    its metadata, if it has some
    <root>/2025/09/.litekeep-0123456789abcdef.tmp     a put in progress
    <root>/.litekeep.lock                             only where a folder cannot be locked

A put writes a temporary file in the folder of its name, fsyncs it, renames it
over the name (a create links it instead, which fails if the name is taken), and
fsyncs the folder and the parents of every folder it made.

INVARIANTS

  1. What `take` links is one inode with the staged file, so that file has two
     names until the caller removes its own: gunzip refuses a file with several
     links.  A copy is therefore a copy, never a link.
  2. Symbolic links are no blobs and are not followed below the root.
  3. Whatever changes a name does so under the lock of the root, so that a
     companion, a comparison of versions and the rename belong together.  Where
     nothing can be locked a put goes on without, and `replace` refuses.
  4. Every put gives its file a time of its own, so that no two versions are equal.
  5. A folder that may not be read (lost+found, another program's) is passed over as far as
     `is_passed_over` says.

What is done to single files stands in `files.py`, `temporary.py`, `companion.py`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace as changed
from pathlib import Path
from typing import BinaryIO

from litekeep import faults
from litekeep.clock import Clock, now
from litekeep.errors import AccessDenied, BlobChanged, BlobNotFound, NameTaken, StoreError
from litekeep.store.base import (
    PIECE_SIZE_MAX,
    Blob,
    Body,
    FileBody,
    Store,
    check_metadata,
    check_name,
    is_name,
    is_own_blob,
    is_passed_over,
)
from litekeep.store.companion import (
    COMPANION_NAME,
    companion_path,
    entry_of,
    is_companion,
    read_entry,
    write_entries,
)
from litekeep.store.files import (
    NO_LINKS,
    blob_of,
    copy_bytes,
    finish,
    fsync_folder,
    locked,
    make_folders,
    status_of,
    translated,
    version_of,
    write_all,
)
from litekeep.store.temporary import (
    TEMPORARY_NAME,
    remove_dead,
    temporary_file,
    temporary_name,
)


class DirectoryStore(Store):
    """Blobs as files below a folder, which is made when it is first needed."""

    def __init__(self, root: Path, *, clock: Clock = now) -> None:
        # The root itself may be reached through a symbolic link.
        self._root = Path(os.path.realpath(root))
        self._clock = clock
        self.url = str(self._root)
        self.staging = self._root
        self._durable: set[Path] = set()  # folders whose names outlive a crash

    def put(
        self,
        name: str,
        body: Body,
        *,
        create: bool = False,
        metadata: Mapping[str, str] | None = None,
        size_max: int | None = None,
    ) -> Blob:
        check_metadata(metadata)
        path = self._path(name)
        assert isinstance(body, bytes) or not create, "a create takes bytes"
        with self._translated(name):
            self._make_folders(path.parent)
        with self._temporary(path) as (temporary, file):
            # The body's own errors come out as they are: only the writes are ours.
            for piece in [body] if isinstance(body, bytes) else body:
                with self._translated(name):
                    write_all(file, piece, name)
            with self._translated(name):
                faults.reach(f"fsync {name}")
                finish(file, self._clock)
                with locked(self._root):
                    try:
                        return self._commit(temporary, path, name, metadata, create=create)
                    except FileExistsError:
                        pass
        if isinstance(body, bytes) and (own := is_own_blob(self, name, body, metadata)):
            return own
        raise NameTaken(f"{path} exists already, with other content")

    def replace(
        self,
        name: str,
        body: bytes,
        *,
        version: str,
        metadata: Mapping[str, str] | None = None,
    ) -> Blob:
        check_metadata(metadata)
        path = self._path(name)
        with self._translated(name):
            self._make_folders(path.parent)
        with self._temporary(path) as (temporary, file), self._translated(name):
            write_all(file, body, name)
            faults.reach(f"fsync {name}")
            finish(file, self._clock)
            with locked(self._root) as is_locked:
                if not is_locked:
                    raise StoreError(
                        f"{self._root} lies on a file system without locks",
                        hint="Keep what several hosts write to on another file system.",
                    )
                try:
                    found = version_of(status_of(path))
                except FileNotFoundError:
                    found = ""
                if found != version:
                    raise BlobChanged(f"{path} was changed by somebody else")
                return self._commit(temporary, path, name, metadata)

    def take(self, path: Path, name: str, *, metadata: Mapping[str, str] | None = None) -> Blob:
        check_metadata(metadata)
        target = self._path(name)
        with self._translated(name):
            self._make_folders(target.parent)
            with path.open("rb") as file:
                faults.reach(f"fsync {name}")
                finish(file, self._clock)
            temporary = target.with_name(temporary_name())
            try:
                faults.reach(f"link {temporary.name}")
                os.link(path, temporary)
                with locked(self._root):
                    return self._commit(temporary, target, name, metadata)
            except OSError as error:
                if error.errno not in NO_LINKS or os.path.lexists(temporary):
                    raise
            finally:
                # rename() of two names of one inode does nothing: both are still there.
                temporary.unlink(missing_ok=True)
        return self.put(name, FileBody(path), metadata=metadata)

    def get(
        self, name: str, *, offset: int = 0, size: int | None = None, version: str | None = None
    ) -> Iterator[bytes]:
        path = self._path(name)
        with self._translated(name, "read"):
            # Nonblocking: a pipe in the blob's place is none, and nobody may write to it.
            flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(path, flags)
        try:
            with self._translated(name, "read"):
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    raise FileNotFoundError(errno.ENOENT, "not a file", str(path))
            if version is not None and version != version_of(status):
                raise BlobChanged(f"{path} was changed by somebody else")
            while size is None or size > 0:
                wanted = PIECE_SIZE_MAX if size is None else min(size, PIECE_SIZE_MAX)
                with self._translated(name, "read"):
                    piece = os.pread(descriptor, wanted, offset)
                if not piece:
                    return
                yield piece
                offset += len(piece)
                size = None if size is None else size - len(piece)
        finally:
            os.close(descriptor)

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[Blob]:
        with self._translated(prefix, "read"):
            yield from self._walk("", prefix, start_after)

    def head(self, name: str) -> Blob:
        path = self._path(name)
        with self._translated(name, "read"):
            while True:
                status = status_of(path)
                entry = read_entry(path, status)
                # A put between the two looks: what was read may describe either.
                if version_of(status_of(path)) == version_of(status):
                    blob = blob_of(name, status)
                    return changed(blob, metadata=entry.metadata) if entry else blob

    def delete(self, name: str) -> None:
        path = self._path(name)
        with self._translated(name), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            if not path.parent.is_dir():
                return
            with locked(self._root):
                status_of(path)
                faults.reach(f"unlink {name}")
                path.unlink()
                write_entries(path, [])
                fsync_folder(path.parent)

    def copy(self, source: str, target: str) -> None:
        origin, path = self._path(source), self._path(target)
        metadata = self.head(source).metadata
        with self._translated(source), origin.open("rb") as reader:
            self._make_folders(path.parent)
            with temporary_file(path.parent) as (temporary, file):
                faults.reach(f"write {target}")
                copy_bytes(reader, file, target)
                faults.reach(f"fsync {target}")
                finish(file, self._clock)
                with locked(self._root):
                    self._commit(temporary, path, target, metadata)

    def clean(self, unfinished: Iterable[str] = ()) -> Sequence[str]:
        removed = []
        with self._translated(""):
            for folder, _, files in os.walk(self._root):
                for file in files:
                    path = Path(folder, file)
                    if TEMPORARY_NAME.fullmatch(file) and remove_dead(path, clock=self._clock):
                        removed.append(f"removed {path}, left by a run that was killed")
                    elif COMPANION_NAME.fullmatch(file) and self._remove_orphan(path):
                        removed.append(f"removed {path}, which belongs to no object")
        return removed

    def _remove_orphan(self, companion: Path) -> bool:
        match = COMPANION_NAME.fullmatch(companion.name)
        assert match is not None
        with locked(self._root) as is_locked:
            if not is_locked or os.path.lexists(companion.with_name(match[1])):
                return False
            if not is_companion(companion):
                return False
            faults.reach(f"unlink {companion.name}")
            companion.unlink(missing_ok=True)
            return True

    def _commit(
        self,
        temporary: Path,
        path: Path,
        name: str,
        metadata: Mapping[str, str] | None,
        *,
        create: bool = False,
    ) -> Blob:
        """Steps 2 to 4 of `companion.py`, under the lock that the caller holds."""
        if path.is_dir():
            raise StoreError(
                f"{path} is a folder, so it cannot be an object",
                hint="Move it away, or choose another folder for the store.",
            )
        status = temporary.stat()
        new = entry_of(status, metadata)
        old = None
        has_companion = bool(new.metadata) or os.path.lexists(companion_path(path))
        if has_companion:
            with contextlib.suppress(FileNotFoundError):
                present = status_of(path)
                if create:
                    raise FileExistsError(path)
                old = read_entry(path, present) or entry_of(present, None)
            write_entries(path, [entry for entry in (old, new) if entry is not None])
            fsync_folder(path.parent)
        if create:
            self._link_new(temporary, path, name)
        else:
            faults.reach(f"rename {name}")
            temporary.replace(path)
        fsync_folder(path.parent)
        if old is not None:
            write_entries(path, [new])
        return changed(blob_of(name, status), metadata=new.metadata)

    def _link_new(self, temporary: Path, path: Path, name: str) -> None:
        """Give the file its name unless that is taken."""
        faults.reach(f"link {name}")
        try:
            os.link(temporary, path)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            # No hard links here.  The lock makes the look and the rename one step.
            if os.path.lexists(path):
                raise FileExistsError(path) from error
            temporary.replace(path)
        else:
            temporary.unlink(missing_ok=True)

    def _walk(self, folder: str, prefix: str, start_after: str) -> Iterator[Blob]:
        """Yield blobs below *folder*, which is "" or ends in a slash, in order."""
        try:
            with os.scandir(self._root / folder) as found:
                entries = [
                    (f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name, entry)
                    for entry in found
                    if is_name(entry.name)
                ]
        except FileNotFoundError:
            return  # removed meanwhile, or nothing was ever stored
        except NotADirectoryError as error:
            if folder:
                return  # it became something else meanwhile
            raise BlobNotFound(
                f"{self.url} is no folder", hint="Give the folder that holds the backups."
            ) from error
        except PermissionError:
            if is_passed_over(folder, prefix):
                return
            raise
        # With its slash a folder sorts where the names below it belong.
        for part, entry in sorted(entries, key=lambda pair: pair[0]):
            name = folder + part
            if part.endswith("/"):
                is_wanted = name.startswith(prefix) or prefix.startswith(name)
                is_behind = name > start_after or start_after.startswith(name)
                if is_wanted and is_behind:
                    yield from self._walk(name, prefix, start_after)
            elif name.startswith(prefix) and name > start_after and is_name(name):
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(status.st_mode):
                        yield blob_of(name, status)

    def _make_folders(self, folder: Path) -> None:
        """
        Make *folder* and its parents, durably.

        One that is there already may have been made by a run that was killed before
        its name was durable.  So each is flushed once.
        """
        made = make_folders(folder)
        while folder != self._root and folder not in self._durable:
            if folder not in made:
                fsync_folder(folder.parent)
            self._durable.add(folder)
            folder = folder.parent

    def _path(self, name: str) -> Path:
        check_name(name)
        path = self._root / name
        parent = os.path.realpath(path.parent)
        if parent != str(path.parent):
            raise AccessDenied(
                f"{path.parent} leads through a symbolic link to {parent}",
                hint="Give the folder it leads to as the store's own path instead.",
            )
        return path

    @contextlib.contextmanager
    def _translated(self, name: str, right: str = "read and write") -> Iterator[None]:
        missing = f"no object {name!r} in {self.url}" if name else f"{self.url} is no folder"
        with translated(self._root / name, missing=missing, right=right):
            yield

    @contextlib.contextmanager
    def _temporary(self, path: Path) -> Iterator[tuple[Path, BinaryIO]]:
        """Open a temporary file beside *path*; only the opening is translated."""
        with contextlib.ExitStack() as stack:
            with self._translated(path.name):
                opened = stack.enter_context(temporary_file(path.parent))
            yield opened
