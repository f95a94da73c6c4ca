"""
A machine of its own, for tests: systemd as PID 1 in a container, up in a second.

Its `/usr` is this machine's, read-only, and so are the environment and the checkout of the
tests; all else is empty and its own.  So nothing is downloaded, and the programs in it are
the ones that are tested.  It shares the network, to reach servers on 127.0.0.1.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import litekeep
from tests.interpreter import why_private
from tests.servers.process import running

SECONDS_MAX = 90.0
SOURCE = Path(litekeep.__file__).parents[1]

_USERS = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/usr/sbin/nologin\n"
_GROUPS = "root:x:0:\nnogroup:x:65534:\nsystemd-journal:x:101:\n"
#: Of the host's, which have nothing to do here.
_MASKED = ("systemd-logind.service", "systemd-timesyncd.service", "dbus.service", "dbus.socket")
_COPIED = (
    *("os-release", "ld.so.cache", "ld.so.conf", "login.defs", "nsswitch.conf"),
    "ssl/certs/ca-certificates.crt",
)
_FOLDERS = (
    *("etc/systemd/system", "etc/cron.d", "etc/logrotate.d", "var/log/journal", "var/tmp"),
    *(
        "var/spool/cron/crontabs",
        "var/lib/logrotate",
        "tmp",
        "root",
        "home",
        "usr",
        "run",
        "proc",
        "sys",
        "dev",
        "opt",
        "srv",
    ),
)


def why_not() -> str | None:
    """Say why no such machine can run here; None where one can."""
    if os.geteuid() != 0:
        return "a machine with systemd as PID 1 needs root"
    missing = [name for name in ("systemd-nspawn", "nsenter") if shutil.which(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)} (tests/servers/packages installs them)"
    if not Path("/bin").is_symlink():
        return "the programs of this system are not all below /usr"
    return why_private()


@dataclass(frozen=True, slots=True)
class Machine:
    """A running machine; `root` is its file system, seen from here."""

    root: Path
    init: int

    def run(
        self, *command: object, code: int | None = 0, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in it, as root; *code* is what it must end with, None: anything."""
        done = subprocess.run(
            ["nsenter", "-t", str(self.init), "-m", "-u", "-i", "-p", *map(str, command)],
            env={
                "PATH": os.environ["PATH"],
                "HOME": "/root",
                "LC_ALL": "C.UTF-8",
                "PYTHONPATH": str(SOURCE),
                **variables,
            },
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
            check=False,
        )
        if code is not None:
            assert done.returncode == code, f"{command}\n{done.stdout}{done.stderr}"
        return done

    def install_for_the_guide(self) -> None:
        """Put the program where the guide's script looks for it."""
        installed = self.root / "opt/litekeep/bin/litekeep"
        installed.parent.mkdir(parents=True)
        installed.write_text(f'#!/bin/sh\nPYTHONPATH={SOURCE} exec {program()} "$@"\n')
        installed.chmod(0o755)

    def litekeep(self, *arguments: object, code: int | None = 0) -> str:
        """Run litekeep in it, and return all that it said."""
        done = self.run(program(), *arguments, code=code)
        return done.stdout + done.stderr

    def journal(self, *arguments: str) -> list[dict[str, Any]]:
        """Return the entries of its journal that *arguments* ask for."""
        self.run("journalctl", "--sync")
        said = self.run("journalctl", "--output=json", "--all", "--no-pager", *arguments).stdout
        return [json.loads(line) for line in said.splitlines()]

    def messages(self, unit: str) -> list[str]:
        """Return what a unit's programs wrote."""
        entries = self.journal(f"_SYSTEMD_UNIT={unit}")
        return [entry["MESSAGE"] for entry in entries if entry["_TRANSPORT"] == "stdout"]

    def property(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        return self.run("systemctl", "show", "--value", "-p", name, unit).stdout.strip()

    def wait(self, claim: Callable[[], bool], *, about: str = "") -> None:
        """Wait until *claim* is true."""
        deadline = time.monotonic() + SECONDS_MAX
        while not claim():
            if time.monotonic() > deadline:
                said = self.run("journalctl", "--no-pager", "-n", "60").stdout
                raise AssertionError(f"not in {SECONDS_MAX} s: {about}\n{said}")
            time.sleep(0.1)


def program() -> Path:
    """Return the program litekeep of this environment."""
    return Path(sys.executable).parent / "litekeep"


@contextlib.contextmanager
def machine(folder: Path, *, shared: Mapping[Path, str] | None = None) -> Iterator[Machine]:
    """
    Run a machine.

    Args:
        folder: Where its file system lies.

        shared: Paths of this machine that it may write to, by their paths in it.
    """
    root = folder / "root"
    _furnish(root)
    seen = dict.fromkeys((Path(sys.prefix), SOURCE))
    seen_usr = [path for path in seen if not path.is_relative_to("/usr")]
    command = [
        *("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--console=pipe", "--boot"),
        f"--directory={root}",
        "--bind-ro=/usr",
        *(f"--bind-ro={path}" for path in seen_usr),
        *(f"--bind={path}:{inside}" for path, inside in (shared or {}).items()),
    ]
    log = folder / "console"

    def is_up() -> bool:
        return (root / "run-is-up").exists()

    # It takes SIGTERM as a power button, and then leaves nothing running; SIGKILL would end
    # the container's keeper alone.
    with _alone(), running(command, log=log, is_ready=is_up, end=signal.SIGTERM) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        yield Machine(root, int(children[0]))


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Hold the only place: two machines would share one control group, and end each other's."""
    with Path("/run/litekeep-test-machine.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            # Innermost first; what is in use, or not there, stays so.
            for group in Path("/sys/fs/cgroup").glob("**/payload"):
                for folder, _, _ in os.walk(group, topdown=False):
                    with contextlib.suppress(OSError):
                        os.rmdir(folder)


def _furnish(root: Path) -> None:
    for name in _FOLDERS:
        (root / name).mkdir(parents=True)
    (root / "root").chmod(0o700)
    (root / "var/run").symlink_to("../run")
    for name in ("bin", "sbin", "lib", "lib64", "lib32"):
        if Path("/", name).exists():
            (root / name).symlink_to(f"usr/{name}")
    etc = root / "etc"
    (etc / "passwd").write_text(_USERS)
    (etc / "group").write_text(_GROUPS)
    # Without a password, but known to PAM, which cron asks.
    (etc / "shadow").write_text("root:*:20000:0:99999:7:::\n")
    (etc / "shadow").chmod(0o600)
    (etc / "machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    (etc / "hosts").write_text("127.0.0.1 localhost\n")
    for name in (
        "os-release",
        "ld.so.cache",
        "ld.so.conf",
        "ssl/certs/ca-certificates.crt",
        "login.defs",
    ):
        if Path("/etc", name).is_file():
            (etc / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(Path("/etc", name), etc / name)
    for name in ("alternatives", "pam.d", "security"):
        if Path("/etc", name).is_dir():
            shutil.copytree(Path("/etc", name), etc / name, symlinks=True)
    units = etc / "systemd/system"
    for name in _MASKED:
        (units / name).symlink_to("/dev/null")
    (units / "default.target").symlink_to("/usr/lib/systemd/system/multi-user.target")
    (units / "is-up.service").write_text(
        "[Unit]\nAfter=basic.target\n[Service]\nType=oneshot\nExecStart=touch /run-is-up\n"
    )
    wants = units / "multi-user.target.wants"
    wants.mkdir()
    (wants / "is-up.service").symlink_to("../is-up.service")
    (etc / "default").mkdir()
    # What a schedule cannot know of a checkout that is tested in place.
    (etc / "default/litekeep").write_text(f"PYTHONPATH={SOURCE}\n")
