"""
The schedule under a real cron, which fires at the minute, and a real logrotate.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import make_database
from tests.servers.machine import Machine, machine, why_not

_MISSING = [
    name for name in ("/usr/sbin/cron", "/usr/sbin/logrotate") if shutil.which(name) is None
]
pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
    pytest.mark.skipif(bool(_MISSING), reason=f"not installed: {', '.join(_MISSING)}"),
]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine(tmp_path_factory.mktemp("machine")) as started:
        (started.root / "etc/litekeep.toml").write_text('[[database]]\npath = "/srv/app/app.db"\n')
        (started.root / "etc/logrotate.conf").write_text("include /etc/logrotate.d\n")
        make_database(started.root / "srv/app/app.db")
        yield started


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
