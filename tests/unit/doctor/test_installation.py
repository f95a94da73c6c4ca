"""
How the configuration keeps its secrets, and what this installation lacks.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from litekeep.config.file import read_file
from litekeep.config.settings import Settings
from litekeep.dockername import parse_docker
from litekeep.doctor import installation
from litekeep.doctor.findings import Finding
from litekeep.sources import Database

STORE = '[[store]]\nname = "s3"\nurl = "s3://bucket/p"\naccess_key_id = "AK"\n'
NONE = Path("/nonexistent")


def settings(folder: Path, text: str, mode: int = 0o600) -> Settings:
    path = folder / "litekeep.toml"
    path.write_text(text)
    path.chmod(mode)
    return read_file(path, os.environ)


def secrets(given: Settings, variables: Path = NONE) -> list[Finding]:
    return [*installation.secrets(given, variables=variables)]


def test_a_secret_in_plain_text_is_told_by_its_key(tmp_path: Path):
    text = f'{STORE}secret_access_key = "hunter2"\n'

    (closed,) = secrets(settings(tmp_path, text))
    assert closed.state == "warn"
    assert "secret_access_key of s3" in closed.detail
    assert "every user" not in closed.detail
    (opened,) = secrets(settings(tmp_path, text, 0o644))
    assert "every user of this machine may read it" in opened.detail
    assert "hunter2" not in f"{opened}{closed}"
    assert "ssm" in opened.hint


def test_a_secret_that_is_kept_elsewhere_is_well(tmp_path: Path):
    key = tmp_path / "key"
    key.write_text("hunter2")
    key.chmod(0o600)
    for source in ('{ env = "X" }', f'{{ file = "{key}" }}', '{ ssm = "/x" }'):
        (found,) = secrets(settings(tmp_path, f"{STORE}secret_access_key = {source}\n", 0o644))
        assert found.state == "ok", source


def test_a_file_of_a_secret_that_all_may_read_is_told(tmp_path: Path):
    key = tmp_path / "key"
    key.write_text("hunter2")
    key.chmod(0o644)

    (found,) = secrets(settings(tmp_path, f'{STORE}secret_access_key = {{ file = "{key}" }}\n'))
    assert (found.state, str(key) in found.detail) == ("warn", True)


@pytest.mark.parametrize(
    ("text", "mode", "state"),
    [
        ("AWS_SECRET_ACCESS_KEY=x\n", 0o644, "warn"),
        ("AWS_SECRET_ACCESS_KEY=x\n", 0o600, "ok"),
        ("AWS_REGION=x\n", 0o644, "ok"),
    ],
)
def test_the_variables_of_schedules_are_looked_at(tmp_path: Path, text: str, mode: int, state: str):
    variables = tmp_path / "variables"
    variables.write_text(text)
    variables.chmod(mode)

    (found,) = secrets(Settings(), variables)
    assert found.state == state


def test_what_the_configuration_needs_and_is_not_installed_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    given = settings(tmp_path, f'{STORE}secret_access_key = {{ ssm = "/x" }}\n')
    docker = Database("app", parse_docker("docker:v/app.db"), (), None)
    assert [each.state for each in installation.library(given, [docker])] == ["ok"]

    monkeypatch.setattr(installation, "_is_installed", lambda name: False)
    monkeypatch.setattr(installation, "has_boto3", lambda: False)
    found = [*installation.library(given, [docker])]
    assert [(each.state, each.code) for each in found] == [("fail", 2), ("fail", 2)]
    assert "docker" in found[0].hint
    assert "boto3" in found[1].hint
    (well,) = installation.library(Settings(), [])
    assert well.detail.endswith("extras: none")


def test_our_own_sqlite_is_held_against_the_reset_bug(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(installation, "library_version", lambda: "3.50.4")

    (found,) = installation.library(Settings(), [])
    assert (found.state, "3.50.4" in found.detail) == ("warn", True)


def test_a_file_without_a_database_and_no_file_at_all_are_told(tmp_path: Path):
    one = Database("app", tmp_path / "app.db", (), None)
    empty = settings(tmp_path, "")

    for given, databases, state in (
        (empty, [], "warn"),
        (empty, [one], "ok"),
        (Settings(), [], "warn"),
        (Settings(), [one], "ok"),
    ):
        (found,) = installation.configuration(given, databases)
        assert found.state == state
        assert (state == "ok") == (not found.hint)
