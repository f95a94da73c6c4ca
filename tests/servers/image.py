"""
What the Dockerfile starts from, made here: this machine's Python, busybox, and the wheels.

It stands in for `python:3.13-slim`, which no test can fetch.  pip in it is configured to look
at the wheels and nowhere else, so the Dockerfile itself is built as it is.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from tests.servers.docker import add_file, add_folder, libraries

TOP = Path(__file__).parents[2]
PYTHON = Path("/usr/bin/python3")
_VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
_WHEELS_OF_VENV = Path("/usr/share/python-wheels")
#: Of wheels that are no pure Python.
_LIBRARIES = ("libstdc++.so.6", "libgcc_s.so.1", "libdl.so.2", "libpthread.so.0", "librt.so.1")
_PIP = b"[global]\nno-index = true\nfind-links = /wheels\n"


def wheels() -> Path:
    """Return the folder of the wheels, which `install` beside this file fills."""
    return Path(os.environ.get("LITEKEEP_SERVERS") or TOP / ".servers") / "wheels"


def why_not() -> str | None:
    """Say why no such image can be made here; None where it can."""
    if not PYTHON.exists() or PYTHON.resolve().name != _VERSION:
        return f"{PYTHON} is not the {_VERSION} that the tests run with"
    if not wheels().is_dir():
        return "the wheels are not here: run tests/servers/install"
    if not _WHEELS_OF_VENV.is_dir():
        return "python3-venv is not installed"
    return None


def base_file_system() -> bytes:
    """Return the tar archive of the base image."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name in ("bin", "etc", "usr", "usr/bin", "usr/lib", "var", "var/lib"):
            add_folder(tar, name)
        add_folder(tar, "tmp", mode=0o1777)
        add_file(tar, "etc/pip.conf", _PIP, 0o644)
        _add_busybox(tar)
        real = PYTHON.resolve()
        tar.add(real, f"usr/bin/{real.name}")
        _add_link(tar, "usr/bin/python3", real.name)
        library = Path("/usr/lib", real.name)
        tar.add(library, str(library).lstrip("/"), filter=_wanted)
        tar.add(_WHEELS_OF_VENV, str(_WHEELS_OF_VENV).lstrip("/"))
        tar.add(wheels(), "wheels")
        needed = {*libraries(real)}
        for module in library.glob("lib-dynload/*.so"):
            needed |= {*libraries(module)}
        needed |= _found(_LIBRARIES)
        for path in sorted(needed):
            tar.add(os.path.realpath(path), path.lstrip("/"))
    return made.getvalue()


def _found(names: tuple[str, ...]) -> set[str]:
    told = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True)
    lines = (line.split() for line in told.stdout.splitlines())
    return {line[-1] for line in lines if line and line[0] in names and "x86-64" in str(line)}


def _add_busybox(tar: tarfile.TarFile) -> None:
    busybox = shutil.which("busybox")
    assert busybox is not None
    tar.add(os.path.realpath(busybox), "bin/busybox")
    told = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True)
    for name in told.stdout.split():
        if name != "busybox":
            _add_link(tar, f"bin/{name}", "busybox")


def _add_link(tar: tarfile.TarFile, name: str, target: str) -> None:
    link = tarfile.TarInfo(name)
    link.type, link.linkname = tarfile.SYMTYPE, target
    tar.addfile(link)


def _wanted(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    is_needless = {"__pycache__", "test", "dist-packages"} & set(entry.name.split("/"))
    return None if is_needless else entry
