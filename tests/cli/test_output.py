"""Standard output that cannot be written: a full disk, a closed descriptor."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import Ran, make_database

FULL = ">/dev/full"
CLOSED = ">&-"


def run_in_shell(shell, arguments: str, redirection: str) -> Ran:
    """Run a command with its streams as a POSIX shell sets them."""
    command = " ".join(shell.command())
    done = subprocess.run(
        ["sh", "-c", f"{command} {arguments} {redirection}"],
        cwd=shell.folder,
        env=shell.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    return Ran(done.returncode, done.stdout, done.stderr)


def snapshots(shell) -> list[Path]:
    return list((shell.folder / "app.db-backups").glob("*/*/*.db.gz"))


@pytest.mark.parametrize("redirection", [FULL, CLOSED, f"{FULL} 2>&1", f"{CLOSED} 2>&-"])
def test_a_backup_is_made_whatever_becomes_of_its_lines(shell, app, redirection):
    ran = run_in_shell(shell, "backup app.db", redirection)

    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert len(snapshots(shell)) == 1
    assert run_in_shell(shell, "restore app.db -o copy.db", redirection).code == 0
    assert run_in_shell(shell, "verify app.db", redirection).code == 0


@pytest.mark.parametrize(("redirection", "code"), [(FULL, 33), (CLOSED, 1)])
@pytest.mark.parametrize(
    "arguments",
    [
        "list app.db",
        "list app.db --json",
        "dump app.db",
        "verify app.db --json",
        "backup app.db --json",
        "backup app.db --dry-run",
        "init --dry-run",
        "completion bash",
    ],
)
def test_a_result_that_cannot_be_written_is_an_error(shell, app, arguments, redirection, code):
    run_in_shell(shell, "backup app.db", "")

    ran = run_in_shell(shell, arguments, redirection)

    assert ran.code == code
    message, hint = ran.err.splitlines()
    assert message.startswith("error: ")
    assert "standard output" in message
    assert hint.startswith("hint: ")


@pytest.mark.parametrize("redirection", [FULL, CLOSED])
def test_an_error_that_cannot_be_json_is_lines(shell, redirection):
    ran = run_in_shell(shell, "backup none.db --json", redirection)

    assert ran.code == 11
    assert ran.err.startswith("error: no database at ")


@pytest.mark.parametrize("arguments", ["--help", "list --help", "--version"])
def test_help_that_cannot_be_written_is_no_bug(shell, arguments):
    assert run_in_shell(shell, arguments, FULL).code == 33
    assert run_in_shell(shell, arguments, CLOSED).code == 0


def test_an_error_with_standard_error_closed_keeps_its_code(shell):
    assert run_in_shell(shell, "backup none.db", "2>&-").code == 11


def test_no_file_of_ours_takes_the_number_of_a_closed_stream(shell):
    """A line on standard error would be written into a snapshot, or into the database."""
    make_database(shell.folder / "app.db", rows=1000)
    before = (shell.folder / "app.db").read_bytes()

    assert run_in_shell(shell, "backup app.db", "<&- >&- 2>&-").code == 0

    assert run_in_shell(shell, "verify app.db --json", "").json["ok"]
    assert (shell.folder / "app.db").read_bytes() == before
    script = "import os; from litekeep.cli import output; output.occupy_closed(); "
    script += "assert os.open('x', os.O_CREAT | os.O_WRONLY) > 2"
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" -c "$1" <&- >&- 2>&-', shell.command()[0], script],
        cwd=shell.folder,
        env=shell.environ,
        check=False,
    )
    assert done.returncode == 0
