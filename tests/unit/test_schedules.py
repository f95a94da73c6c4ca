"""What a schedule takes along of the shell that it is installed from."""

from __future__ import annotations

from pathlib import Path

import pytest

from litekeep.config.keys import SecretSource
from litekeep.config.notify import NotifySettings, PingSettings, WebhookSettings
from litekeep.config.settings import (
    DatabaseSettings,
    Settings,
)
from litekeep.dockername import parse_docker
from litekeep.schedules import _environment, _files_named, _variables, when_status

HOST = "unix:///run/mine.sock"


@pytest.mark.parametrize(
    ("path", "taken"),
    [(parse_docker("docker:volume/app.db"), {"DOCKER_HOST": HOST}), (Path("/srv/app.db"), {})],
)
def test_the_engine_of_the_shell_is_asked_by_the_schedule_of_a_database_in_it(path, taken):
    settings = Settings(databases=(DatabaseSettings(path=path, name="app"),))

    found = dict(_environment(settings, Path("/state"), {"DOCKER_HOST": HOST}))
    assert found == taken


def test_the_addresses_of_who_is_told_are_found_by_the_schedule():
    hook = WebhookSettings(
        name="ops", url=SecretSource("env", "HOOK"), secret=SecretSource("file", "/etc/hook-key")
    )
    ping = PingSettings(drill=SecretSource("file", "/etc/ping"))
    settings = Settings(notify=NotifySettings(ping=ping, webhooks=(hook,)))

    assert list(_files_named(settings)) == [Path("/etc/ping"), Path("/etc/hook-key")]
    environ = {"LITEKEEP_PING_URL": "https://h/u", "LITEKEEP_OTHER": "x"}
    assert list(_variables(settings, environ)) == ["HOOK", "LITEKEEP_PING_URL"]


def test_who_is_told_by_a_variable_that_only_the_schedule_sees_is_told_too(tmp_path: Path):
    file = tmp_path / "variables"
    assert when_status(Settings(), environ={}, variables_file=file) == "off"

    file.write_text("LITEKEEP_NOTIFY_URL=json://127.0.0.1\n")
    assert when_status(Settings(), environ={}, variables_file=file) == "hourly"
