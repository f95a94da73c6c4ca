"""What a schedule takes along of the shell that it is installed from."""

from __future__ import annotations

from pathlib import Path

import pytest

from litekeep.config.settings import DatabaseSettings, Settings
from litekeep.dockername import parse_docker
from litekeep.schedules import _environment

HOST = "unix:///run/mine.sock"


@pytest.mark.parametrize(
    ("path", "taken"),
    [(parse_docker("docker:volume/app.db"), {"DOCKER_HOST": HOST}), (Path("/srv/app.db"), {})],
)
def test_the_engine_of_the_shell_is_asked_by_the_schedule_of_a_database_in_it(path, taken):
    settings = Settings(databases=(DatabaseSettings(path=path, name="app"),))

    found = dict(_environment(settings, Path("/state"), {"DOCKER_HOST": HOST}))
    assert found == taken
