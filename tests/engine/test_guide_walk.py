"""
The guide, walked from its first line to its last.

The host is a machine with systemd as PID 1 (`machine.py`), in which a real Docker Engine
answers at /var/run/docker.sock and its volumes lie where the engine says. The application
runs by docker-compose; S3 is SeaweedFS, which holds us to the guide's own policy. The guide's
units are its own, byte for byte.  Its commands are typed as they stand on our page of it,
`docs/guide.ja.md`, each of them, and say what is shown there; only the snapshot's name is
that of the walk.

What is not as on the guide's host: the engine runs beside the machine, not in it; `sudo` is a
function that runs what it is given; keys and endpoint stand in the environment, for there is
no instance with a role; and `aws` is version 1. The timer fires since it believes that the
machine was off at the last full hour.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.documentation import TOP, Block, commands_of, is_as_shown, parts_of
from tests.engine.conftest import VOLUME
from tests.guide import BUCKET, CRON_LINE, policy_for
from tests.servers.docker import DATABASE, INSTANCE, USER, Engine, rows_in, wait_for_rows
from tests.servers.machine import Machine, machine, program, why_not
from tests.servers.s3 import S3Server, allow_by_bucket
from tests.test_docs_run import PAGE_OF_GUIDE

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
#: The page, by its headings.
PAGE = parts_of(PAGE_OF_GUIDE)
#: The snapshot that the page restores by hand.
NAME_SHOWN, MONTH_SHOWN = "manual_generator_20250908_120001", "2025/09"
#: Between what two commands say.
BETWEEN = "-- next --"


@dataclass(frozen=True, slots=True)
class Host:
    """The guide's host, its engine and its bucket."""

    machine: Machine
    engine: Engine
    s3: S3Server
    followed: set[str] = field(default_factory=set)

    @property
    def account(self) -> dict[str, str]:
        """What the role of an instance and its network give; the units say nothing of it."""
        key, secret = self.s3.others["guide"]
        return {
            "AWS_ENDPOINT_URL": self.s3.endpoint,
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
        }

    @property
    def file(self) -> Path:
        """The database, as the engine's volume has it."""
        return Path(self.engine.client.volumes.get(VOLUME).attrs["Mountpoint"]) / DATABASE

    def type_in(self, lines: str, **variables: str) -> str:
        """Type lines into a shell, of which each must succeed; return what they said."""
        done = self.machine.run(
            *("sh", "-ec", f'sudo() {{ env "$@"; }}\n{lines}'),
            PATH=f"{program().parent}:/usr/local/bin:/usr/bin:/usr/sbin",
            **self.account,
            **variables,
        )
        return done.stdout + done.stderr

    def follow(self, blocks: Sequence[Block], *, name: str = NAME_SHOWN, **variables: str) -> None:
        """
        Type the commands of the page's *blocks* into one shell; each must say what is shown.

        Args:
            blocks: Of which those count that are for a console.

            name: Of the snapshot that is there in place of the one shown.
        """
        script, wanted = ["exec 2>&1"], []
        for block in blocks:
            if block.language != "console":
                continue
            self.followed.add(block.place)
            commands = commands_of(block)
            for shown in commands:
                code = block.exit_code if shown is commands[-1] else 0
                command = shown.command.replace(NAME_SHOWN, name).replace(
                    MONTH_SHOWN, month_of(name)
                )
                script.append(f"code=0\n{command} || code=$?\ntest $code -eq {code}")
                script.append(f"echo '{BETWEEN}'")
                wanted.append(shown)
        said = self.type_in("\n".join(script), **variables).split(f"{BETWEEN}\n")
        for shown, output in zip(wanted, said, strict=False):
            assert not shown.output or is_as_shown(shown.output, output), (
                f"$ {shown.command}\nsays:\n{output}\nshown:\n" + "\n".join(shown.output)
            )

    def deploy(self) -> None:
        """Make the deploy folder, as each deployment does: anew."""
        folder = self.machine.root / DEPLOYED
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(TOP / "infra", folder / "infra")
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

    def newest_copy(self) -> Path:
        """Return the newest local copy."""
        return max((self.machine.root / COPIES).glob("[!.]*.db.gz"))

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
        host = Host(started, engine, seaweedfs)
        pairs = (f"{name}={value}" for name, value in host.account.items())
        started.run("systemctl", "set-environment", *pairs)
        yield host


def month_of(name: str) -> str:
    """Return the folder of a snapshot's month."""
    return f"{name[17:21]}/{name[21:23]}"


def only(blocks: Sequence[Block], language: str) -> str:
    """Return the text of the one block in a language."""
    (block,) = (block for block in blocks if block.language == language)
    return block.text


def test_the_walk_of_the_guide(host: Host):
    etc = host.machine.root / "etc"
    # The application, on its named volume; what the page wants to be there.
    host.deploy()
    host.type_in("cd /opt/chuden-demoapp\nsudo docker-compose up -d manual")
    application = host.engine.client.containers.get("manual-generator")
    wait_for_rows(application, 20)
    (etc / "litekeep.toml").write_text(only(PAGE["事前要件"], "toml"))

    # By hand.
    host.follow(PAGE["手動実行手順"])
    host.follow(PAGE["環境変数"])

    # By cron's line, which test_schedule_cron.py lets a real cron run.
    host.type_in(CRON_LINE.split(maxsplit=5)[5])
    lines = only(PAGE["Cron による自動化"], "text")
    typed = host.machine.root / "srv/typed"
    typed.write_text(lines)
    # Whether anything was changed crontab tells by the second.
    os.utime(typed, (0, 0))
    host.follow(PAGE["Cron による自動化"], EDITOR="cp --preserve=timestamps /srv/typed")
    assert host.type_in("crontab -l").endswith(lines)
    host.type_in("crontab -r; logrotate --debug /etc/logrotate.d/sqlite-backup")

    # Hourly backups, fired by the timer.
    host.follow(PAGE["ガイドのユニットを使う"])
    service, timer = (b for b in PAGE["ガイドのユニットを使う"] if b.language == "text")
    assert (etc / "systemd/system" / UNIT).read_text() == service.text
    assert (etc / "systemd/system" / TIMER).read_text() == timer.text
    said = host.fire()
    copy = host.newest_copy()
    name = copy.name.removesuffix(".db.gz")
    month = month_of(name)
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
    damaged, *well = PAGE["整合性/健全性チェック"]
    host.follow([damaged])

    # Back by the guide's commands.
    mode = host.file.stat().st_mode
    host.follow(PAGE["手作業で復元する"], name=name)
    file = host.file.stat()
    assert (file.st_uid, file.st_gid, file.st_mode) == (USER, USER, mode)
    saved = host.machine.root / "opt/chuden-demoapp_backups/before-restore"
    assert {DATABASE, f"{DATABASE}-wal"} <= {path.name for path in saved.iterdir()}
    rows = int(host.type_in(f"sqlite3 /tmp/{name}.db 'SELECT count(*) FROM entry'"))
    assert host.ask("SELECT count(*) FROM manual") == f"{MANUALS}\n"
    assert host.ask(".tables later") == "", "the log of the old file is in it"
    wait_for_rows(application, max(rows, rows_in(application)) + 20)

    # And by ours, once there was more to lose.
    assert host.fire()[0] == "[sqlite-backup] Integrity: ok"
    assert host.latest() != latest
    newest = host.newest_copy().name.removesuffix(".db.gz")
    at_backup = rows_in(application)
    host.damage()
    host.follow(PAGE["Litekeep で復元する"], name=newest)
    assert host.ask("PRAGMA integrity_check") == "ok\n"
    assert host.ask("SELECT count(*) FROM manual") == f"{MANUALS}\n"
    wait_for_rows(application, at_backup + 20)
    file = host.file.stat()
    assert (file.st_uid, file.st_gid, file.st_mode) == (USER, USER, mode)

    # What is to be looked at.
    host.follow(well)
    (host.machine.root / DEPLOYED / "Dockerfile").write_text("FROM app\nCOPY . .\n")
    (host.machine.root / DEPLOYED / ".env").write_text("SECRET_KEY=do not tell\n")
    host.follow(PAGE["注意点"])

    # A schedule of our own.
    host.follow(PAGE["litekeep install systemd を使う"])
    said = host.machine.messages("litekeep-backup.service")
    assert said[-1] == "[sqlite-backup] Backup completed successfully"
    host.machine.litekeep("uninstall", "systemd")

    consoles = {b.place for part in PAGE.values() for b in part if b.language == "console"}
    assert host.followed == consoles, "some commands of the page were not typed"
