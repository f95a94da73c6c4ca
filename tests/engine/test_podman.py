"""Databases in Podman's volumes: the same, by its socket."""

from __future__ import annotations

import pytest

from tests.engine.conftest import VOLUME, new_shell, start_application
from tests.servers.docker import DATABASE, INSTANCE, rows_in, wait_for_rows

pytestmark = pytest.mark.engine


def test_the_main_road_goes_by_the_socket_of_podman_too(podman, tmp_path):
    shell = new_shell(podman, tmp_path)
    application = start_application(podman)
    wait_for_rows(application, 20)
    backed_up = shell.run("backup", f"docker:{VOLUME}/{DATABASE}")
    in_use = shell.run("restore", f"docker:{VOLUME}/{DATABASE}", "--replace")
    missing = shell.run("backup", "docker:nothing/a.db")
    by_container = shell.run("backup", f"docker:manual-generator:{INSTANCE}/{DATABASE}")
    ran = shell.run(
        *("restore", f"docker:{VOLUME}/{DATABASE}", "--replace"),
        *("--stop", "manual-generator", "--json"),
    )

    assert backed_up.code == 0, backed_up.err
    assert by_container.code == 0, by_container.err
    assert in_use.code == 14
    assert "--stop manual-generator" in in_use.err
    assert missing.code == 11
    assert VOLUME in missing.err
    assert ran.code == 0, ran.err
    assert ran.json["in_place"]["where"] == "in container manual-generator"
    assert ran.json["in_place"]["result"] == "ok"
    wait_for_rows(application, rows_in(application) + 10)
