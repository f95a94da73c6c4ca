"""
The drop-in script of the guide: its variables, its defaults, its lines, its environment.
"""

from __future__ import annotations

import os
import pty
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import litekeep
from tests.cli.conftest import Ran, make_database
from tests.documentation import TOP
from tests.guide import SERVICE, TIMER

SCRIPT = TOP / "infra/scripts/backup_sqlite_to_s3.sh"
SOURCE = Path(litekeep.__file__).parents[1]
#: Says what it was started with, in place of Litekeep.
FAKE = '#!/bin/sh\necho "$*"\nenv | grep -E "^(S3_|LOCAL_|RETAIN_|SQLITE_|DB_|LITEKEEP_CONFIG)"\n'


def deploy(folder: Path) -> Path:
    """Make a deploy folder with the script, as each deployment does; return the script."""
    script = folder / "infra/scripts/backup_sqlite_to_s3.sh"
    script.parent.mkdir(parents=True)
    shutil.copy(SCRIPT, script)
    return script


def install(home: Path, text: str = "") -> Path:
    """Make an environment with a program litekeep: the one that is tested, or *text*."""
    program = home / "bin/litekeep"
    program.parent.mkdir(parents=True)
    program.write_text(
        text or f'#!/bin/sh\nPYTHONPATH={SOURCE} exec {sys.executable} -m litekeep "$@"\n'
    )
    program.chmod(0o755)
    return program


def run(
    script: Path,
    *arguments: str,
    folder: Path | None = None,
    seconds_max: float = 60.0,
    **environ: str,
) -> Ran:
    done = subprocess.run(
        [script, *arguments],
        cwd=folder or script.parent,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds_max,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def told(ran: Ran) -> dict[str, str]:
    return dict(line.split("=", 1) for line in ran.lines if "=" in line)


def test_the_units_of_the_guide_are_those_of_the_guide():
    assert (TOP / "infra/systemd/sqlite-backup.service").read_text() == SERVICE
    assert (TOP / "infra/systemd/sqlite-backup.timer").read_text() == TIMER


def test_its_variables_have_the_defaults_of_the_guide(tmp_path: Path):
    script = deploy(tmp_path / "chuden-demoapp")
    install(tmp_path / "home", FAKE)

    ran = run(script, LITEKEEP_HOME=str(tmp_path / "home"))

    assert ran.lines[0] == "backup"
    assert told(ran) == {
        "S3_BUCKET": "chuden-demoapp",
        "LOCAL_BACKUP_DIR": f"{tmp_path}/chuden-demoapp_backups/sqlite",
        "LITEKEEP_CONFIG": "/dev/null",
    }


def test_what_is_set_wins_over_its_defaults(tmp_path: Path):
    script = deploy(tmp_path / "app")
    install(tmp_path / "home", FAKE)
    mine = {
        "S3_BUCKET": "mine",
        "LOCAL_BACKUP_DIR": "/srv/mine",
        "RETAIN_LOCAL_DAYS": "30",
        "SQLITE_VOLUME_NAME": "volume",
        "DB_FILE_NAME": "mine.db",
        "LITEKEEP_CONFIG": "/etc/mine.toml",
    }

    ran = run(script, "--label", "x", LITEKEEP_HOME=str(tmp_path / "home"), **mine)

    assert ran.lines[0] == "backup --label x"
    assert told(ran) == mine


def test_a_link_to_the_newest_release_is_the_deploy_folder(tmp_path: Path):
    deploy(tmp_path / "releases/42")
    (tmp_path / "app").symlink_to("releases/42")
    install(tmp_path / "home", FAKE)

    ran = run(
        tmp_path / "app/infra/scripts/backup_sqlite_to_s3.sh", LITEKEEP_HOME=str(tmp_path / "home")
    )

    assert told(ran)["LOCAL_BACKUP_DIR"] == f"{tmp_path}/app_backups/sqlite"


def test_its_exit_code_is_that_of_the_backup(tmp_path: Path):
    script = deploy(tmp_path / "app")
    install(tmp_path / "home", "#!/bin/sh\nexit 75\n")

    assert run(script, LITEKEEP_HOME=str(tmp_path / "home")).code == 75


def test_without_an_environment_it_says_what_to_do(tmp_path: Path):
    script = deploy(tmp_path / "app")

    ran = run(script, LITEKEEP_HOME=str(tmp_path / "home"))

    assert ran.code == 2
    assert f"error: Litekeep is not installed in {tmp_path}/home\n" in ran.err
    assert "hint: Install it there, or set LITEKEEP_SOURCE" in ran.err


def test_a_deploy_folder_that_is_lost_costs_nothing_and_the_six_lines_are_the_guides(
    tmp_path: Path, seaweedfs: Any
):
    bucket = seaweedfs.new_bucket()
    database = make_database(tmp_path / "volume/manual_generator.db")
    install(tmp_path / "home")
    environ = {
        "LITEKEEP_HOME": str(tmp_path / "home"),
        "LITEKEEP_STATE": str(tmp_path / "state"),
        "S3_BUCKET": bucket,
        "AWS_ENDPOINT_URL": seaweedfs.endpoint,
        "AWS_ACCESS_KEY_ID": seaweedfs.access_key,
        "AWS_SECRET_ACCESS_KEY": seaweedfs.secret_key,
        "AWS_REGION": "us-east-1",
    }
    folder = tmp_path / "chuden-demoapp"
    local = tmp_path / "chuden-demoapp_backups/sqlite"
    first = run(deploy(folder), str(database), **environ)
    stored = {path.name for path in local.glob("*.gz")}
    shutil.rmtree(folder)

    second = run(deploy(folder), str(database), **environ)

    assert (first.code, second.code, first.err, second.err) == (0, 0, "", "")
    assert len(second.lines) == 6, second.out
    name = second.lines[2].rsplit("/", 1)[1]
    year, month = name[17:21], name[21:23]
    size = (local / name).stat().st_size
    assert second.lines == [
        "[sqlite-backup] Integrity: ok",
        f"[sqlite-backup] Compressed size: {size} bytes",
        f"[sqlite-backup] Local saved: {local}/{name}",
        f"[sqlite-backup] Uploaded to s3://{bucket}/sqlite-backup/{year}/{month}/{name}",
        "[sqlite-backup] Updated latest marker",
        "[sqlite-backup] Backup completed successfully",
    ]
    assert stored < {path.name for path in local.glob("*.gz")}


def test_on_a_terminal_it_says_the_same_lines(tmp_path: Path):
    database = make_database(tmp_path / "app.db")
    install(tmp_path / "home")
    ours, theirs = pty.openpty()
    code = subprocess.call(
        [deploy(tmp_path / "app"), database, "--to", tmp_path / "copies"],
        env={"PATH": os.environ["PATH"], "LITEKEEP_HOME": str(tmp_path / "home"),
             "LITEKEEP_STATE": str(tmp_path / "state")},
        stdin=theirs, stdout=theirs, stderr=theirs, timeout=60,
    )  # fmt: skip
    os.close(theirs)
    said = os.read(ours, 65536).decode().splitlines()
    os.close(ours)

    assert code == 0
    assert said[0] == "[sqlite-backup] Integrity: ok"
    assert said[-1] == "[sqlite-backup] Backup completed successfully"


def test_a_configuration_of_the_machine_does_not_stand_in_its_way(tmp_path: Path):
    folder = tmp_path / "app"
    script = deploy(folder)
    (folder / "litekeep.toml").write_text('[[database]]\npath = "/srv/other.db"\n')
    database = make_database(tmp_path / "app.db")
    install(tmp_path / "home")

    ran = run(
        script,
        *(str(database), "--dry-run"),
        folder=folder,
        LITEKEEP_HOME=str(tmp_path / "home"),
        LITEKEEP_STATE=str(tmp_path / "state"),
        AWS_REGION="us-east-1",
        AWS_ACCESS_KEY_ID="a",
        AWS_SECRET_ACCESS_KEY="b",
    )

    assert ran.code == 0, ran.err
    assert "s3://chuden-demoapp/sqlite-backup" in ran.out
    assert f"{folder}_backups/sqlite" in ran.out


def test_it_may_be_run_as_it_lies_there():
    assert stat.S_IMODE(SCRIPT.stat().st_mode) & 0o111 == 0o111


@pytest.mark.engine
@pytest.mark.timeout(300)
def test_it_makes_its_environment_from_a_checkout(tmp_path: Path):
    """Every package held to its hash, from the registry; what is made outlives the checkout."""
    checkout = tmp_path / "checkout"
    for name in ("src", "requirements"):
        shutil.copytree(TOP / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(TOP / name, checkout / name)
    database = make_database(tmp_path / "app.db")
    script = deploy(tmp_path / "app")
    # With the settings and the cache that pip has here: `make` has just filled it.
    environ = {**os.environ, "LITEKEEP_HOME": str(tmp_path / "home"), "PIP_NO_COMPILE": "1"}
    environ |= {"LITEKEEP_STATE": str(tmp_path / "state"), "LITEKEEP_SOURCE": str(checkout)}
    environ.pop("PYTHONPATH", None)
    arguments = (str(database), "--to", str(tmp_path / "copies"))

    first = run(script, *arguments, seconds_max=280.0, **environ)
    shutil.rmtree(checkout)
    second = run(script, *arguments, **environ)

    assert first.code == 0, first.err
    assert "Making the environment" in first.err
    assert (second.code, second.err) == (0, "")
    assert second.lines[-1] == "[sqlite-backup] Backup completed successfully"
