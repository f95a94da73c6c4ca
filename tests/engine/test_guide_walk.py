"""
The guide, walked from its first line to its last.

The host is a machine with systemd as PID 1 (`machine.py`), in which a real Docker Engine
answers at /var/run/docker.sock and its volumes lie where the engine says. The application
runs by docker-compose; S3 is SeaweedFS, which holds us to the guide's own policy. The guide's
units are its own, byte for byte, and its commands are typed as they stand there.

What is not as on the guide's host: the engine runs beside the machine, not in it; `sudo` is a
function that runs what it is given; keys and endpoint stand in the environment, for there is
no instance with a role; and `aws` is version 1. The timer fires since it believes that the
machine was off at the last full hour.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.documentation import TOP
from tests.engine.conftest import VOLUME
from tests.guide import BUCKET, policy_for
from tests.servers.docker import DATABASE, INSTANCE, USER, Engine, rows_in, wait_for_rows
from tests.servers.machine import Machine, machine, program, why_not
from tests.servers.s3 import S3Server, allow_by_bucket

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
    pytest.mark.skipif(
        shutil.which("docker-compose") is None, reason="not installed: docker-compose"
    ),
]

DEPLOYED = "opt/chuden-demoapp"
COPIES = "opt/chuden-demoapp_backups/sqlite"
UNIT = "sqlite-backup.service"
TIMER = "sqlite-backup.timer"
MANUALS = 2000
#: It begins with manuals, so that the middle of its file is theirs, and then goes on writing.
COMPOSE = f"""\
version: "3.4"
services:
  manual:
    image: app
    container_name: manual-generator
    user: "{USER}:{USER}"
    network_mode: none
    stop_signal: SIGKILL
    volumes: ["{VOLUME}:{INSTANCE}"]
    command:
      - sh
      - -ec
      - |
        sqlite3 -cmd '.timeout 5000' {INSTANCE}/{DATABASE} "
          PRAGMA journal_mode=wal;
          CREATE TABLE IF NOT EXISTS manual(id INTEGER PRIMARY KEY, text);
          INSERT INTO manual SELECT value, hex(randomblob(300)) FROM generate_series(1, {MANUALS})
            WHERE NOT EXISTS (SELECT 1 FROM manual);"
        exec writer
volumes:
  {VOLUME}:
    name: {VOLUME}
"""
#: The guide's section on restoring, but for the names, and for the log of the old file, which
#: the guide forgets: it would be replayed over the new one.
RESTORE = """\
aws s3 ls s3://chuden-demoapp/sqlite-backup/{month}/
aws s3 cp s3://chuden-demoapp/sqlite-backup/{month}/{name}.db.gz /tmp/
cd /tmp && gunzip {name}.db.gz
cd /opt/chuden-demoapp
sudo docker-compose stop manual
VOL_PATH=$(sudo docker volume inspect manual_instance --format '{{{{ .Mountpoint }}}}')
sudo rm -f "$VOL_PATH/manual_generator.db-wal" "$VOL_PATH/manual_generator.db-shm"
sudo cp /tmp/{name}.db "$VOL_PATH/manual_generator.db"
sudo docker-compose up -d manual
"""
CHECK = (
    "sudo docker exec manual-generator sqlite3 /app/instance/manual_generator.db "
    "'PRAGMA integrity_check;'"
)
LITEKEEP = "litekeep restore docker:manual_instance/manual_generator.db --replace --stop manual"


@dataclass(frozen=True, slots=True)
class Host:
    """The guide's host, its engine and its bucket."""

    machine: Machine
    engine: Engine
    s3: S3Server

    @property
    def account(self) -> dict[str, str]:
        """What the role of an instance and its network give; the units say nothing of it."""
        key, secret = self.s3.others["guide"]
        return {
            "AWS_ENDPOINT_URL": self.s3.endpoint,
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_REGION": "us-east-1",
        }

    @property
    def file(self) -> Path:
        """The database, as the engine's volume has it."""
        return Path(self.engine.client.volumes.get(VOLUME).attrs["Mountpoint"]) / DATABASE

    def type_in(self, lines: str, **variables: str) -> str:
        """Type lines into a shell, of which each must succeed; return what they said."""
        done = self.machine.run(
            *("sh", "-ec", f'sudo() {{ "$@"; }}\n{lines}'),
            PATH=f"{program().parent}:/usr/local/bin:/usr/bin:/usr/sbin",
            **self.account,
            **variables,
        )
        return done.stdout + done.stderr

    def deploy(self) -> None:
        """Make the deploy folder, as each deployment does: anew."""
        folder = self.machine.root / DEPLOYED
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(TOP / "infra/scripts", folder / "infra/scripts")
        (folder / "docker-compose.yml").write_text(COMPOSE)

    def fire(self) -> list[str]:
        """Let the timer see that it missed the last hour; return what the service says."""
        before = len(self.machine.messages(UNIT))
        self.machine.run("systemctl", "stop", TIMER)
        stamp = self.machine.root / f"var/lib/systemd/timers/stamp-{TIMER}"
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.touch()
        os.utime(stamp, (time.time() - 7200,) * 2)
        self.machine.run("systemctl", "enable", "--now", TIMER)

        def is_over() -> bool:
            state = self.machine.property(UNIT, "ActiveState")
            return state in ("inactive", "failed") and len(self.messages_since(before)) > 0

        self.machine.wait(is_over, about="a run of the service")
        return self.messages_since(before)

    def messages_since(self, count: int) -> list[str]:
        return self.machine.messages(UNIT)[count:]

    def damage(self) -> None:
        """Overwrite the middle of the file, while the application has it open."""
        with self.file.open("r+b") as file:
            file.seek(self.file.stat().st_size // 2)
            file.write(b"\xa5" * 20_000)

    def latest(self) -> tuple[str, object]:
        """Return what tells `latest` from any other."""
        head = self.s3.client().head_object(Bucket=BUCKET, Key="sqlite-backup/latest.db.gz")
        return head["ETag"], head["LastModified"]

    def ask(self, query: str) -> str:
        """Ask the database, in the application's container."""
        sqlite3 = f"sqlite3 -cmd '.timeout 5000' {INSTANCE}/{DATABASE}"
        return self.type_in(f'docker exec manual-generator {sqlite3} "{query}"')


@pytest.fixture
def host(tmp_path: Path, engine: Engine, seaweedfs: S3Server) -> Iterator[Host]:
    seaweedfs.empty(BUCKET)
    allow_by_bucket(seaweedfs, BUCKET, "guide", policy_for(BUCKET))
    volumes = Path(engine.client.info()["DockerRootDir"]) / "volumes"
    shared = {engine.socket: "/run/docker.sock", volumes: str(volumes)}
    with machine(tmp_path, shared=shared) as started:
        started.install_for_the_guide()
        for name in (UNIT, TIMER):
            shutil.copy(TOP / "infra/systemd" / name, started.root / "etc/systemd/system")
        host = Host(started, engine, seaweedfs)
        pairs = (f"{name}={value}" for name, value in host.account.items())
        started.run("systemctl", "set-environment", *pairs)
        started.run("systemctl", "daemon-reload")
        yield host


def test_the_walk_of_the_guide(host: Host):
    # The application, on its named volume.
    host.deploy()
    host.type_in("cd /opt/chuden-demoapp\nsudo docker-compose up -d manual")
    application = host.engine.client.containers.get("manual-generator")
    wait_for_rows(application, 20)

    # Hourly backups, fired by the timer.
    said = host.fire()
    (copy,) = (host.machine.root / COPIES).glob("*.db.gz")
    name = copy.name.removesuffix(".db.gz")
    month = f"{name[17:21]}/{name[21:23]}"
    assert said == [
        "[sqlite-backup] Integrity: ok",
        f"[sqlite-backup] Compressed size: {copy.stat().st_size} bytes",
        f"[sqlite-backup] Local saved: /{COPIES}/{copy.name}",
        f"[sqlite-backup] Uploaded to s3://chuden-demoapp/sqlite-backup/{month}/{copy.name}",
        "[sqlite-backup] Updated latest marker",
        "[sqlite-backup] Backup completed successfully",
    ]
    assert host.machine.property(UNIT, "Result") == "success"
    listed = host.type_in("systemctl list-timers | grep sqlite-backup")
    assert TIMER in listed and UNIT in listed

    # Damage, while the application runs; a deployment takes its folder away meanwhile.
    latest = host.latest()
    host.ask("CREATE TABLE later(a)")
    host.damage()
    host.deploy()
    first, again = host.fire(), host.fire()
    for said in (first, again):
        assert said[0] == "[sqlite-backup] Integrity: failed"
        assert "[sqlite-backup] Updated latest marker" not in said
        assert host.machine.property(UNIT, "ExecMainStatus") == "23"
    assert f"litekeep restore brings back {name}, " in again[-1]
    assert "litekeep dump saves" in again[-1]
    assert host.latest() == latest

    # Back by the guide's commands.
    typed = host.type_in(RESTORE.format(month=month, name=name))
    assert f" {name}.db.gz\n" in typed
    assert host.type_in(CHECK) == "ok\n"
    rows = int(host.type_in(f"sqlite3 /tmp/{name}.db 'SELECT count(*) FROM entry'"))
    assert host.ask("SELECT count(*) FROM manual") == f"{MANUALS}\n"
    assert host.ask(".tables later") == "", "the log of the old file is in it"
    wait_for_rows(application, max(rows, rows_in(application)) + 20)

    # And by ours, once there was more to lose.
    assert host.fire()[0] == "[sqlite-backup] Integrity: ok"
    assert host.latest() != latest
    at_backup = rows_in(application)
    host.damage()
    typed = host.type_in(
        f"PATH=/opt/litekeep/bin:$PATH\n{LITEKEEP}",
        S3_BUCKET=BUCKET,
        LOCAL_BACKUP_DIR=f"/{COPIES}",
    )
    newest = max(path.name for path in (host.machine.root / COPIES).glob("[!.]*.db.gz"))
    assert f"[sqlite-restore] Restore {newest.removesuffix('.db.gz')} (" in typed
    for line in ("Stopped", "Started"):
        assert f"[sqlite-restore] {line} container manual-generator\n" in typed
    assert "integrity_check in container manual-generator: ok" in typed
    assert host.type_in(CHECK) == "ok\n"
    assert host.ask("SELECT count(*) FROM manual") == f"{MANUALS}\n"
    wait_for_rows(application, at_backup + 20)
    file = host.file.stat()
    assert (file.st_uid, file.st_gid) == (USER, USER)
