"""
A real Docker Engine for tests, with a data folder and a socket of its own.

No registry is asked: images are made here, from programs of this machine and the
libraries that they need.  The engine has no network, so it leaves no bridge and no
firewall rules behind.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import signal
import socket as sockets
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.servers.process import running

#: Where the application of the tests has its database.
INSTANCE = "/app/instance"
DATABASE = "manual_generator.db"
#: Who it runs as.
USER = 1000

# It has the database open all the time, and writes a row every few milliseconds.
WRITER = f"""\
#!/bin/sh
{{
  echo '.timeout 5000'
  echo 'PRAGMA journal_mode=wal;'
  echo 'CREATE TABLE IF NOT EXISTS entry(id INTEGER PRIMARY KEY, text);'
  while :; do
    echo "INSERT INTO entry(text) VALUES ('an entry');"
    usleep 10000
  done
}} | exec sqlite3 "${{1:-{INSTANCE}/{DATABASE}}}"
"""


def why_not() -> str | None:
    """Say why no engine can run here; None where one can."""
    if os.geteuid() != 0:
        return "a Docker Engine of the test's own needs root"
    missing = [name for name in ("dockerd", "busybox", "sqlite3") if shutil.which(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)} (tests/servers/packages installs them)"
    return None


@dataclass(frozen=True, slots=True)
class Engine:
    """A running engine; `client` is the SDK's."""

    socket: Path
    client: Any

    @property
    def host(self) -> str:
        """What `DOCKER_HOST` is set to."""
        return f"unix://{self.socket}"

    def run(self, image: str, command: Sequence[str] | str, **options: Any) -> Any:
        """Start a container; it runs until it ends or is removed."""
        options = {"network_mode": "none", "stop_signal": "SIGKILL", **options}
        return self.client.containers.run(image, command, detach=True, **options)

    def sweep(self) -> None:
        """Remove all containers and volumes."""
        for container in self.client.containers.list(all=True):
            container.remove(force=True, v=True)
        for volume in self.client.volumes.list():
            volume.remove(force=True)

    def import_image(self, name: str, files: bytes) -> None:
        """Make an image of a tar archive."""
        self.client.api.import_image_from_data(files, repository=name, tag="latest")


@contextlib.contextmanager
def docker_engine(folder: Path) -> Iterator[Engine]:
    """
    Run an engine with the images `app` (a writing application) and `bare`.

    Args:
        folder: Where its data lies.
    """
    import docker

    # The path of a socket may have 107 characters, and those of pytest's folders are long.
    short = Path(tempfile.mkdtemp(prefix="lk-docker-"))
    socket = short / "docker.sock"
    command = [
        *("dockerd", "--data-root", str(folder / "data"), "--exec-root", str(short / "exec")),
        *("--host", f"unix://{socket}", "--pidfile", str(short / "pid")),
        *("--bridge", "none", "--iptables=false", "--ip6tables=false", "--ip-forward=false"),
    ]

    try:
        # Told to end it takes its containers with it; killed it would leave them behind.
        with running(
            command, log=folder / "log", is_ready=lambda: connectable(socket), end=signal.SIGTERM
        ):
            client = docker.DockerClient(f"unix://{socket}", timeout=60)
            with contextlib.closing(client):
                client.ping()
                engine = Engine(socket, client)
                engine.import_image("app", root_file_system(["sqlite3"], WRITER))
                engine.import_image("bare", root_file_system([], WRITER))
                try:
                    yield engine
                finally:
                    engine.sweep()
    finally:
        shutil.rmtree(short, ignore_errors=True)


def connectable(socket: Path) -> bool:
    """Say whether somebody listens at a socket."""
    with sockets.socket(sockets.AF_UNIX) as client, contextlib.suppress(OSError):
        client.connect(str(socket))
        return True
    return False


def root_file_system(programs: Sequence[str], writer: str) -> bytes:
    """Return a tar archive of busybox, *programs* of this machine and their libraries."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name in ("bin", "etc", "tmp", "app"):
            add_folder(tar, name, mode=0o1777 if name == "tmp" else 0o755)
        add_folder(tar, INSTANCE.strip("/"), owner=USER)
        add_file(
            tar, "etc/passwd", b"root:x:0:0::/:/bin/sh\napp:x:1000:1000::/app:/bin/sh\n", 0o644
        )
        add_file(tar, "bin/writer", writer.encode(), 0o755)
        busybox = shutil.which("busybox")
        assert busybox is not None
        tar.add(os.path.realpath(busybox), "bin/busybox")
        for name in ("sh", "cat", "chmod", "id", "ls", "mkdir", "rm", "sleep", "usleep"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        for program in programs:
            path = shutil.which(program)
            assert path is not None, program
            tar.add(os.path.realpath(path), f"bin/{program}")
            for library in libraries(path):
                tar.add(os.path.realpath(library), library.lstrip("/"))
    return made.getvalue()


def wait_for_rows(container: Any, count: int, *, seconds: float = 30) -> int:
    """Wait until the application has written *count* rows; return how many there are."""
    deadline = time.monotonic() + seconds
    while (found := rows_in(container)) < count:
        if time.monotonic() > deadline:
            raise AssertionError(f"{found} rows of {count}: {container.logs().decode()[-500:]}")
        time.sleep(0.05)
    return found


def wait_until(is_so: Callable[[], bool], *, seconds: float = 30) -> bool:
    """Look until *is_so*, for so long; return whether it came to be."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def rows_in(container: Any, path: str = f"{INSTANCE}/{DATABASE}") -> int:
    """Return how many rows the application sees."""
    query = ["sqlite3", "-cmd", ".timeout 5000", path, "SELECT count(*) FROM entry"]
    code, output = container.exec_run(query)
    return int(output) if code == 0 else 0


def libraries(program: str | Path) -> list[str]:
    """Return the shared libraries that a program needs."""
    told = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return sorted(set(re.findall(r"(?:=> |^\t)(/\S+)", told, re.MULTILINE)))


def add_folder(tar: tarfile.TarFile, name: str, *, mode: int = 0o755, owner: int = 0) -> None:
    """Add a folder to an archive."""
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.uid, entry.gid = tarfile.DIRTYPE, mode, owner, owner
    tar.addfile(entry)


def add_file(tar: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    """Add a file of root's to an archive."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    tar.addfile(entry, io.BytesIO(content))
