"""
The schedule, and the guide's own line, under a real cron, and a real logrotate.

Cron fires at the minute. The guide's line wants a full hour: cron lives in a time zone in
which the next minute is one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.cli.conftest import make_database
from tests.documentation import TOP
from tests.guide import CRON_LINE
from tests.servers.machine import Machine, machine, why_not

_MISSING = [
    name for name in ("/usr/sbin/cron", "/usr/sbin/logrotate") if shutil.which(name) is None
]
pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
    pytest.mark.skipif(bool(_MISSING), reason=f"not installed: {', '.join(_MISSING)}"),
]


#: Names the database, in place of a volume: there is no Docker Engine in this machine.
GUIDE_CONFIG = """
[[store]]
name = "local"
url = "/opt/chuden-demoapp_backups/sqlite"
layout = "flat"

[[database]]
path = "/srv/volume/manual_generator.db"
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine(tmp_path_factory.mktemp("machine")) as started:
        (started.root / "etc/litekeep.toml").write_text('[[database]]\npath = "/srv/app/app.db"\n')
        (started.root / "etc/logrotate.conf").write_text("include /etc/logrotate.d\n")
        make_database(started.root / "srv/app/app.db")
        _deploy(started)
        _begin_before_a_full_hour(started)
        yield started


def _deploy(host: Machine) -> None:
    """Let the guide's script lie where the guide's line has it; a file names the database."""
    shutil.copytree(TOP / "infra/scripts", host.root / "opt/chuden-demoapp/infra/scripts")
    make_database(host.root / "srv/volume/manual_generator.db")
    (host.root / "etc/guide.toml").write_text(GUIDE_CONFIG)
    host.install_for_the_guide()


def _begin_before_a_full_hour(host: Machine) -> None:
    """Set up cron, not started yet, so that the first minute from in ten seconds is its :00."""
    first = datetime.now(UTC) + timedelta(seconds=70)
    folder = host.root / "etc/systemd/system/cron.service.d"
    folder.mkdir()
    zone = f"FULL+0:{first.minute:02}"
    (folder / "zone.conf").write_text(f"[Service]\nEnvironment=TZ={zone}\n")
    host.run("systemctl", "daemon-reload")
    typed = host.root / "srv/typed"
    typed.write_text(f"LITEKEEP_CONFIG=/etc/guide.toml\n{CRON_LINE}\n")
    # Whether anything was changed crontab tells by the second.
    os.utime(typed, (0, 0))
    host.run("crontab", "-e", EDITOR="cp --preserve=timestamps /srv/typed")


def lines_of(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def test_cron_fires_at_the_minute_and_its_log_is_rotated(host: Machine):
    before = sorted(str(path) for path in (host.root / "etc").rglob("*"))
    log = host.root / "var/log/litekeep.log"
    host.litekeep("install", "cron", "--backup", "* * * * *")
    host.run("systemctl", "start", "cron.service")

    host.wait(
        lambda: (
            {"backup", "verify"} <= {line.split()[-1] for line in lines_of(log)[::1]}
            or sum(": ok" in line or "successfully" in line for line in lines_of(log)) >= 2
        ),
        about="two runs in the log",
    )
    host.wait(lambda: "[sqlite-backup] Backup completed successfully" in lines_of(log))

    said = lines_of(log)
    assert "[sqlite-backup] Integrity: ok" in said
    heads = [line for line in said if line.endswith("litekeep backup")]
    assert heads and heads[0][:3] == "202", said
    assert list((host.root / "srv/app/app.db-backups").glob("*/*/app_*.db.gz"))
    host.run("logrotate", "--force", "/etc/logrotate.conf")
    assert (host.root / "var/log/litekeep.log.1").exists()

    host.litekeep("uninstall", "cron")
    assert sorted(str(path) for path in (host.root / "etc").rglob("*")) == before


def test_the_guides_own_line_fires_at_the_full_hour(host: Machine):
    log = host.root / "var/log/sqlite_backup.log"

    host.run("systemctl", "start", "cron.service")
    host.wait(lambda: len(lines_of(log)) >= 4, about="the guide's lines")

    (copy,) = (host.root / "opt/chuden-demoapp_backups/sqlite").glob("[!.]*.db.gz")
    assert lines_of(log) == [
        "[sqlite-backup] Integrity: ok",
        f"[sqlite-backup] Compressed size: {copy.stat().st_size} bytes",
        f"[sqlite-backup] Local saved: /opt/chuden-demoapp_backups/sqlite/{copy.name}",
        "[sqlite-backup] Backup completed successfully",
    ]
    assert CRON_LINE in host.run("crontab", "-l").stdout.splitlines()
