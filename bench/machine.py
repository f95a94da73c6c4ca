"""
This module is where and with what it was measured: the machine and the versions.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import apsw

from bench.server import is_installed, program

PACKAGES = ("litekeep", "isal", "obstore", "awscli")
PROGRAMS: tuple[tuple[str, Sequence[str]], ...] = (
    ("sqlite3", ("--version",)),
    ("gzip", ("--version",)),
    ("restic", ("version",)),
    ("rclone", ("version",)),
    ("weed", ("version",)),
)
VERSION = re.compile(r"\d+\.\d+(\.\d+)?")


def machine() -> dict[str, str]:
    """Return what a reader must know to compare: processor, cores, memory, system."""
    processor = _first(Path("/proc/cpuinfo"), "model name") or platform.machine()
    memory_kib = int((_first(Path("/proc/meminfo"), "MemTotal") or "0 kB").split()[0])
    return {
        "processor": processor,
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory_kib / 2**20:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release().split('-')[0]}",
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", "unknown"),
    }


def versions() -> dict[str, str]:
    """Return the version of everything that takes part."""
    found = {"Python": platform.python_version(), "SQLite in Litekeep": apsw.sqlite_lib_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "from the source tree"
    for name, arguments in PROGRAMS:
        found[name] = _version_of(name, arguments) if is_installed(name) else "not installed"
    return found


def _version_of(name: str, arguments: Sequence[str]) -> str:
    answer = subprocess.run(
        [program(name), *arguments], capture_output=True, text=True, check=False
    ).stdout
    match = VERSION.search(answer)
    return match[0] if match else "unknown"


def _first(path: Path, key: str) -> str | None:
    for line in path.read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return None
