"""What a schedule takes along of the shell that it is installed from."""

from __future__ import annotations

from pathlib import Path

import pytest

from litekeep.config.keys import SecretSource
from litekeep.config.settings import (
    DatabaseSettings,
    NotifySettings,
    PingSettings,
    Settings,
    WebhookSettings,
)
from litekeep.dockername import parse_docker
from litekeep.schedules import _environment, _files_named, _variables

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
