"""What a person sees: the commands on a real pseudo-terminal."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import time
from pathlib import Path

import pytest

from tests.cli.conftest import make_database

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, shell, *arguments):
        self._master, slave = pty.openpty()
        environ = {"TERM": "xterm-256color"}
        shell.environ.update(environ)
        self._process = shell.start(*arguments, stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        self._shown = b""

    def until(self, text: str) -> str:
        """Read until *text* was shown since the last call."""
        start = len(self._shown)
        deadline = time.monotonic() + 30
        while text.encode() not in self._shown[start:]:
            ready, _, _ = select.select([self._master], [], [], deadline - time.monotonic())
            assert ready, f"{text!r} did not come: {self._shown[start:]!r}"
            if not self._read():
                break
        assert text.encode() in self._shown[start:]
        return self._shown[start:].decode()

    def answer(self, text: str) -> None:
        os.write(self._master, text.encode() + b"\n")

    def interrupt(self) -> None:
        """Press Ctrl-C, as far as the command can tell."""
        self._process.send_signal(signal.SIGINT)

    def end(self) -> tuple[int, str]:
        """Read all that is left; return the exit code and what was shown in all."""
        while self._read():
            pass
        os.close(self._master)
        return self._process.wait(30), self._shown.decode()

    def _read(self) -> bool:
        try:
            data = os.read(self._master, 65536)
        except OSError:  # how Linux says that the other end is closed
            return False
        self._shown += data
        return bool(data)


@pytest.fixture
def big(shell) -> Path:
    return make_database(shell.folder / "big.db", rows=400_000)


def plain(text: str) -> str:
    return _CONTROL.sub("", text)


def test_a_backup_shows_a_bar_with_its_rate_and_then_a_summary(shell, big):
    code, shown = Terminal(shell, "backup", "big.db").end()

    assert code == 0
    assert re.search(r"read [━╸╺ ]+ +[\d.]+/[\d.]+ MiB", plain(shown))
    assert re.search(r"[\d.]+ [KM]iB/s", plain(shown))
    assert "[sqlite-backup]" not in shown
    saved, summary = plain(shown).strip().splitlines()[-2:]
    assert re.search(r"saved /.*/big_\d{8}_\d{6}\.db\.gz$", saved)
    assert re.search(r"big_\d{8}_\d{6}: .* kept in .* \(gzip, \d+%\) in .*, integrity ok", summary)
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h")


def test_a_restore_shows_its_plan_a_bar_and_how_to_undo(shell, big):
    shell.run("backup", "big.db")

    code, shown = Terminal(shell, "restore", "big.db", "--replace").end()

    assert code == 0
    lines = [line.strip() for line in plain(shown).splitlines() if line.strip()]
    assert lines[0].startswith("Restore big_")
    assert any(line.startswith("To undo: litekeep restore ") for line in lines)
    assert lines[-1].startswith(f"Restored {big}: ")


def test_a_narrow_or_dumb_terminal_does_no_harm(shell, big):
    for environ in ({"COLUMNS": "20"}, {"TERM": "dumb"}, {"NO_COLOR": "1"}):
        shell.environ.update(environ)
        code, shown = Terminal(shell, "backup", "big.db").end()
        assert code == 0
        assert "integrity ok" in plain(shown)


def test_ctrl_c_on_a_terminal_is_one_line_and_gives_the_cursor_back(shell, big):
    terminal = Terminal(shell, "dump", "big.db")
    terminal.until("CREATE TABLE")

    terminal.interrupt()
    code, shown = terminal.end()

    assert code == 130
    assert "interrupted; tidying up" in plain(shown)
    assert "Traceback" not in shown


def test_init_asks_which_and_where(shell):
    make_database(shell.folder / "a.db")
    make_database(shell.folder / "b.db")
    terminal = Terminal(shell, "init")
    terminal.until("Which of them shall be kept?")
    terminal.answer("7")
    terminal.until("Please write numbers from 1 to 2, or all.")
    terminal.answer("2")
    terminal.until("Where shall backups go?")
    terminal.answer("s3://bucket/x")
    code, _ = terminal.end()

    assert code == 0
    text = (shell.folder / "litekeep.toml").read_text()
    assert f'path = "{shell.folder / "b.db"}"' in text
    assert "a.db" not in text
    assert 'url = "s3://bucket/x"' in text


def test_a_question_without_an_answer_is_wrong_usage(shell):
    make_database(shell.folder / "a.db")
    terminal = Terminal(shell, "init")
    terminal.until("Which of them shall be kept?")
    terminal.answer("\x04")
    code, shown = terminal.end()

    assert code == 2
    assert "error: a question had no answer" in plain(shown)
