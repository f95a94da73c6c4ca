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
        ("LITEKEEP_PING_URL=https://example.com/x\n", 0o644, "warn"),
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
    assert [each.state for each in installation.library(given, [docker], {})] == ["ok"]

    monkeypatch.setattr(installation, "_is_installed", lambda name: False)
    monkeypatch.setattr(installation, "has_boto3", lambda: False)
    found = [*installation.library(given, [docker], {})]
    assert [(each.state, each.code) for each in found] == [("fail", 2), ("fail", 2)]
    assert "docker" in found[0].hint
    assert "boto3" in found[1].hint
    (well,) = installation.library(Settings(), [], {})
    assert well.detail.endswith("extras: none")


def test_the_extra_by_which_mail_is_sent_is_needed_where_somebody_is_told_by_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    mail = settings(tmp_path, '[[notify.apprise]]\nname = "mail"\nurl = { env = "MAIL" }\n')
    (listed,) = installation.library(mail, [], {})
    assert listed.state == "ok"
    assert "apprise" in listed.detail.partition("extras: ")[2].split(", ")

    monkeypatch.setattr(installation, "_is_installed", lambda name: name != "apprise")
    for given, environ in ((mail, {}), (Settings(), {"LITEKEEP_NOTIFY_URL": "json://h"})):
        (found,) = installation.library(given, [], environ)
        assert (found.state, found.code) == ("fail", 2)
        assert "pip install apprise" in found.hint
    (well,) = installation.library(Settings(), [], {})
    assert well.state == "ok"


@pytest.mark.parametrize(
    ("table", "shown"),
    [
        ("[notify.ping]\nbackup = SECRET\n", "backup of notify.ping"),
        ('[[notify.webhook]]\nname = "ops"\nurl = SECRET\n', "url of notify.webhook ops"),
        (
            '[[notify.webhook]]\nname = "ops"\nurl = { env = "X" }\nsecret = SECRET\n',
            "secret of notify.webhook ops",
        ),
        ('[[notify.apprise]]\nname = "mail"\nurl = SECRET\n', "url of notify.apprise mail"),
    ],
)
def test_addresses_and_keys_of_who_is_told_are_secrets(tmp_path: Path, table: str, shown: str):
    address = "https://example.com/hunter2"
    (plain,) = secrets(settings(tmp_path, table.replace("SECRET", f'"{address}"')))
    assert plain.state == "warn"
    assert shown in plain.detail
    assert "hunter2" not in f"{plain}"

    key = tmp_path / "key"
    key.write_text(address)
    key.chmod(0o644)
    kept = settings(tmp_path, table.replace("SECRET", f'{{ file = "{key}" }}'))
    (opened,) = secrets(kept)
    assert (opened.state, str(key) in opened.detail) == ("warn", True)
    key.chmod(0o600)
    (closed,) = secrets(kept)
    assert closed.state == "ok"


def test_what_a_service_keeps_in_aws_needs_boto3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(installation, "has_boto3", lambda: False)
    text = '[[notify.apprise]]\nname = "mail"\nurl = { ssm = "/mail" }\n'

    (found,) = installation.library(settings(tmp_path, text), [], {})
    assert found.state == "fail"
    assert "url of notify.apprise mail" in found.detail


def test_our_own_sqlite_is_held_against_the_reset_bug(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(installation, "library_version", lambda: "3.50.4")

    (found,) = installation.library(Settings(), [], {})
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
