"""A path that leads nowhere, or where nobody may look, is an error of ours and no bug."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from litekeep.cli.main import run
from litekeep.errors import AccessDenied
from tests.cli.conftest import make_database


@pytest.fixture
def closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that may not be entered, whoever runs this test."""
    folder = tmp_path / "closed"
    folder.mkdir()
    (folder / "app.db").touch()
    look = os.stat

    def denied(path: Any, **arguments: Any) -> os.stat_result:
        if isinstance(path, str | Path) and folder in Path(path).parents:
            raise PermissionError(13, "Permission denied", str(path))
        return look(path, **arguments)

    monkeypatch.setattr(os, "stat", denied)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LITEKEEP_STATE", str(tmp_path / "state"))
    make_database(tmp_path / "app.db")
    return folder


@pytest.mark.parametrize(
    "arguments",
    [
        ["backup", "closed/app.db"],
        ["list", "closed/app.db"],
        ["restore", "closed/app.db"],
        ["verify", "closed/app.db"],
        ["dump", "closed/app.db"],
        ["list", "closed/bk"],
        ["dump", "app.db", "--output", "closed/x.sql"],
        ["init", "--output", "closed/x.toml"],
        ["init", "closed/below"],
        ["list", "--config", "closed/x.toml"],
        ["restore", "app.db", "--output", "closed/x.db"],
    ],
)
def test_where_nobody_may_look_access_is_denied(closed, capsys, arguments):
    run(["backup", "app.db"])
    capsys.readouterr()

    code = run(arguments)

    message, hint = capsys.readouterr().err.splitlines()
    assert code == AccessDenied.exit_code
    assert message.startswith(f"error: cannot look at {closed}")
    assert "permission denied" in message
    assert "right to enter" in hint


@pytest.mark.parametrize(
    "arguments",
    [
        ["backup", "{}"],
        ["list", "{}"],
        ["restore", "{}"],
        ["verify", "{}"],
        ["dump", "{}"],
        ["dump", "app.db", "--output", "{}"],
        ["init", "--output", "{}"],
        ["init", "{}"],
        ["list", "--config", "{}"],
        ["restore", "app.db", "--output", "{}"],
        ["backup", "app.db", "--to", "{}"],
    ],
)
@pytest.mark.parametrize("path", ["x" * 5000, "~nobody-of-this-name/x.db"])
def test_a_path_that_cannot_be_is_no_bug(shell, app, arguments, path):
    shell.run("backup", "app.db")

    ran = shell.run(*(argument.format(path) for argument in arguments))

    assert ran.code not in (0, 1, 70)
    assert "Traceback" not in ran.err
    assert ran.err.startswith("error: ")


@pytest.mark.parametrize("arguments", [["list", "app.db"], ["backup", "/app.db"], ["init"]])
def test_a_current_folder_that_was_removed_is_said(tmp_path, monkeypatch, capsys, arguments):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()

    assert run(arguments) == 2
    assert "error: the current folder is not there any more" in capsys.readouterr().err
