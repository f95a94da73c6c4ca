"""
Whether a file is open anywhere, as the kernel knows it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from litekeep.host.leases import is_open_elsewhere
from litekeep.host.processes import openers

NOBODY = 65534


@pytest.fixture
def path() -> Iterator[Path]:
    """A file in a folder that other users may enter: pytest closes its own to them."""
    with tempfile.TemporaryDirectory(prefix="litekeep-test-") as folder:
        Path(folder).chmod(0o777)
        path = Path(folder, "app.db")
        path.write_bytes(bytes(4096))
        if is_open_elsewhere(path) is None:
            pytest.skip("no leases on this file system")
        yield path


@contextlib.contextmanager
def holding(path: Path, statement: str) -> Iterator[None]:
    """Run a process that executes *statement* and waits."""
    script = (
        f"import mmap, os, sys\npath = sys.argv[1]\n{statement}\nprint(flush=True)\n"
        "sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield
    finally:
        process.communicate()


def test_a_file_that_nobody_has_open_is_said_to_be_free(path):
    assert is_open_elsewhere(path) is False


@pytest.mark.parametrize("flags", ["O_RDONLY", "O_RDWR"])
def test_a_file_that_is_open_anywhere_is_said_to_be(path, flags):
    with holding(path, f"descriptor = os.open(path, os.{flags})"):
        assert is_open_elsewhere(path) is True
    assert is_open_elsewhere(path) is False


def test_who_has_a_file_mapped_and_closed_counts(path):
    """/proc/PID/fd does not show such a process."""
    statement = (
        "descriptor = os.open(path, os.O_RDWR)\nmemory = mmap.mmap(descriptor, 4096)\n"
        "os.close(descriptor)"
    )
    with holding(path, statement):
        assert is_open_elsewhere(path) is True


def as_nobody(path: Path) -> str:
    """Ask as a user without rights; the answers of both ways."""
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            found = openers(path)
            text = f"{is_open_elsewhere(path)} {bool(found.processes)} {bool(found.unseen_count)}"
            path.with_name("answer").write_text(text)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    return path.with_name("answer").read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
@pytest.mark.parametrize(("owner", "answer"), [(NOBODY, "True False True"), (0, "None False True")])
def test_the_owner_learns_of_other_users_processes_and_others_learn_nothing(path, owner, answer):
    path.chmod(0o666)
    os.chown(path, owner, owner)
    with holding(path, "descriptor = os.open(path, os.O_RDWR)"):
        assert as_nobody(path) == answer


def test_who_opens_the_file_meanwhile_does_it_no_harm(path):
    """The kernel signals to who holds the lease; by default that signal kills."""
    script = "import sys\nprint(flush=True)\nwhile True: open(sys.argv[1]).close()"
    process = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        for _ in range(5000):
            is_open_elsewhere(path)
    finally:
        process.kill()
        process.communicate()
