"""
A database that only its own application can read, as SQLCipher makes them.

Every byte of the main file, the log and the journal is another one on the disk.  To SQLite
without this VFS the file is noise, so Litekeep cannot bring it to rest; names, locks and
shared memory are those of any other database.
"""

from __future__ import annotations

from pathlib import Path

import apsw

VFS = "tests-veil"
_TABLE = bytes(byte ^ 0x5A for byte in range(256))


class _File(apsw.VFSFile):
    def __init__(self, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__("", name, flags)

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802 (apsw's name)
        return super().xRead(amount, offset).translate(_TABLE)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 (apsw's name)
        super().xWrite(bytes(data).translate(_TABLE), offset)


class _Veil(apsw.VFS):
    def __init__(self) -> None:
        super().__init__(VFS, "")

    def xOpen(  # noqa: N802 (apsw's name)
        self, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> _File:
        return _File(name, flags)


_veil: list[_Veil] = []


def connect(path: str, timeout_seconds: float) -> apsw.Connection:
    """Open as the application that has the key does."""
    if not _veil:
        _veil.append(_Veil())
    connection = apsw.Connection(path, vfs=VFS)
    connection.set_busy_timeout(int(timeout_seconds * 1000))
    return connection


def draw(path: Path) -> None:
    """Encrypt the file at *path* in its place; or decrypt it."""
    data = path.read_bytes().translate(_TABLE)
    with path.open("r+b") as file:
        file.write(data)
