"""
The guide's own units, byte for byte, run the drop-in script under a real systemd.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import make_database
from tests.documentation import TOP
from tests.servers.machine import SOURCE, Machine, machine, program, why_not

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]

UNIT = "sqlite-backup.service"
PLACE = "s3://chuden-demoapp/sqlite-backup"
COPIES = "opt/chuden-demoapp_backups/sqlite"
#: Names the database, in place of a volume: there is no Docker Engine in this machine.
CONFIG = f"""
[[store]]
name = "local"
url = "/{COPIES}"
layout = "flat"

[[store]]
name = "s3"
url = "s3://chuden-demoapp/sqlite-backup"
region = "us-east-1"

[[database]]
path = "/srv/volume/manual_generator.db"
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, seaweedfs: Any) -> Iterator[Machine]:
    buckets = seaweedfs.client().list_buckets()["Buckets"]
    if "chuden-demoapp" not in [bucket["Name"] for bucket in buckets]:
        seaweedfs.client().create_bucket(Bucket="chuden-demoapp")
    with machine(tmp_path_factory.mktemp("machine")) as started:
        make_database(started.root / "srv/volume/manual_generator.db")
        (started.root / "etc/guide.toml").write_text(CONFIG)
        installed = started.root / "opt/litekeep/bin/litekeep"
        installed.parent.mkdir(parents=True)
        installed.write_text(f'#!/bin/sh\nPYTHONPATH={SOURCE} exec {program()} "$@"\n')
        installed.chmod(0o755)
        # What the role of an instance and its network give; the units say nothing of it.
        started.run(
            *("systemctl", "set-environment", "LITEKEEP_CONFIG=/etc/guide.toml"),
            f"AWS_ENDPOINT_URL={seaweedfs.endpoint}",
            f"AWS_ACCESS_KEY_ID={seaweedfs.access_key}",
            f"AWS_SECRET_ACCESS_KEY={seaweedfs.secret_key}",
        )
        yield started


def deploy(host: Machine) -> Path:
    folder = host.root / "opt/chuden-demoapp"
    (folder / "infra").mkdir(parents=True)
    shutil.copytree(TOP / "infra/scripts", folder / "infra/scripts")
    return folder


def test_the_guides_timer_fires_its_service_and_a_new_deployment_costs_nothing(
    host: Machine, seaweedfs: Any
):
    folder = deploy(host)
    for name in (UNIT, "sqlite-backup.timer"):
        shutil.copy(TOP / "infra/systemd" / name, host.root / "etc/systemd/system")
    # As if the machine had been off for two hours: the timer makes up for it.
    stamp = host.root / "var/lib/systemd/timers/stamp-sqlite-backup.timer"
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.touch()
    os.utime(stamp, (time.time() - 7200,) * 2)

    host.run("systemctl", "daemon-reload")
    host.run("systemctl", "enable", "--now", "sqlite-backup.timer")
    host.wait(lambda: len(host.messages(UNIT)) >= 6, about="the guide's six lines")

    (copy,) = (host.root / COPIES).glob("*.db.gz")
    year, month = copy.name[17:21], copy.name[21:23]
    assert host.messages(UNIT) == [
        "[sqlite-backup] Integrity: ok",
        f"[sqlite-backup] Compressed size: {copy.stat().st_size} bytes",
        f"[sqlite-backup] Local saved: /{COPIES}/{copy.name}",
        f"[sqlite-backup] Uploaded to s3://chuden-demoapp/sqlite-backup/{year}/{month}/{copy.name}",
        "[sqlite-backup] Updated latest marker",
        "[sqlite-backup] Backup completed successfully",
    ]
    host.wait(lambda: host.property(UNIT, "ActiveState") == "inactive")
    assert host.property(UNIT, "Result") == "success"
    assert "sqlite-backup.timer" in host.run("systemctl", "list-timers").stdout

    # A deployment makes the folder anew.
    shutil.rmtree(folder)
    deploy(host)
    host.run("systemctl", "start", UNIT)

    copies = {path.name for path in (host.root / COPIES).glob("*.db.gz")}
    assert len(copies) == 2 and copy.name in copies
    found = seaweedfs.client().list_objects_v2(Bucket="chuden-demoapp")["Contents"]
    stored = {item["Key"].rsplit("/", 1)[1] for item in found}
    assert copies | {"latest.db.gz"} <= stored
