"""
Podman's service for tests: the API of Docker, from an engine of another make.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.servers.docker import WRITER, Engine, connectable, root_file_system
from tests.servers.process import running

# Podman asks for limits that not every machine lets it raise; without them runc does the same.
_RUNC = """\
#!{python}
import json, os, sys
for flag, value in zip(sys.argv, sys.argv[1:]):
    if flag in ("--bundle", "-b", "--process", "-p"):
        path = os.path.join(value, "config.json") if flag in ("--bundle", "-b") else value
        with open(path) as file:
            found = json.load(file)
        found.get("process", found).pop("rlimits", None)
        with open(path, "w") as file:
            json.dump(found, file)
os.execv("{runc}", ["runc", *sys.argv[1:]])
"""
_CONTAINERS = """\
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = "{short}/tmp"
[engine.runtimes]
runc = ["{folder}/runc"]
"""
_STORAGE = """\
[storage]
driver = "{driver}"
graphroot = "{folder}/data"
runroot = "{short}/run"
"""


def why_not() -> str | None:
    """Say why Podman cannot run here; None where it can."""
    if os.geteuid() != 0:
        return "Podman as the tests run it needs root"
    missing = [
        name for name in ("podman", "runc", "busybox", "sqlite3") if shutil.which(name) is None
    ]
    if missing:
        return f"not installed: {', '.join(missing)} (tests/servers/packages installs them)"
    return None


@contextlib.contextmanager
def podman_engine(folder: Path) -> Iterator[Engine]:
    """
    Run Podman's service with the image `app`.

    Args:
        folder: Where its data lies.
    """
    import docker

    short = Path(tempfile.mkdtemp(prefix="lk-podman-"))
    socket = short / "podman.sock"
    runc = folder / "runc"
    runc.write_text(_RUNC.format(python=sys.executable, runc=shutil.which("runc")))
    runc.chmod(0o755)
    (folder / "containers.conf").write_text(_CONTAINERS.format(folder=folder, short=short))
    storage = _STORAGE.format(folder=folder, short=short, driver="overlay")
    (folder / "storage.conf").write_text(storage)
    environment = {
        **os.environ,
        "CONTAINERS_CONF": str(folder / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
    }
    command = ["podman", "system", "service", "--time=0", f"unix://{socket}"]
    try:
        with running(
            command,
            log=folder / "log",
            is_ready=lambda: connectable(socket),
            environment=environment,
            end=signal.SIGTERM,
        ):
            client = docker.DockerClient(f"unix://{socket}", timeout=60)
            with contextlib.closing(client):
                engine = Engine(socket, client)
                engine.import_image("app", root_file_system(["sqlite3"], WRITER))
                try:
                    yield engine
                finally:
                    engine.sweep()
    finally:
        _end_monitors(folder)
        for place in (folder / "data/overlay", short / "run"):
            subprocess.run(["umount", "--quiet", place], check=False, capture_output=True)
        shutil.rmtree(short, ignore_errors=True)


def _end_monitors(folder: Path) -> None:
    """End the monitors of commands that ran in containers: they would stay for minutes."""
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if process.name.isdecimal() and (process / "comm").read_text() == "conmon\n":
                if str(folder).encode() in (process / "cmdline").read_bytes():
                    os.kill(int(process.name), signal.SIGKILL)
