"""`litekeep install` and `uninstall`: plans, what is in the way, what is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import SOURCE, Ran, Shell, make_database

CONFIG = """
[[store]]
name = "local"
url = "backups"

[[database]]
path = "app.db"
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The root of a system that has systemd, cron and logrotate."""
    for name in ("systemd/system", "cron.d", "logrotate.d"):
        (tmp_path / "root/etc" / name).mkdir(parents=True)
    return tmp_path / "root"


@pytest.fixture
def config(shell: Shell) -> Path:
    make_database(shell.folder / "app.db")
    path = shell.folder / "litekeep.toml"
    path.write_text(CONFIG)
    return path


def tree(top: Path) -> dict[str, str]:
    return {
        str(path.relative_to(top)): os.readlink(path) if path.is_symlink() else path.read_text()
        for path in sorted(top.rglob("*"))
        if not path.is_dir()
    }


UNITS = {
    *(f"etc/systemd/system/litekeep-{task}.{kind}"
      for task in ("backup", "verify", "prune", "drill") for kind in ("service", "timer")),
    *(f"etc/systemd/system/timers.target.wants/litekeep-{task}.timer"
      for task in ("backup", "verify", "prune", "drill")),
    "etc/systemd/system/litekeep-failed@.service",
}  # fmt: skip
FILES = {"systemd": UNITS, "cron": {"etc/cron.d/litekeep", "etc/logrotate.d/litekeep"}}


@pytest.mark.parametrize("kind", FILES)
def test_install_writes_and_uninstall_leaves_nothing(
    shell: Shell, config: Path, root: Path, kind: str
):
    done = shell.run("install", kind, "--root", root)

    assert done.code == 0, done.err
    assert set(tree(root)) == FILES[kind]
    for name, text in tree(root).items():
        assert (root / name).is_symlink() or str(config) in text
        assert f"Wrote {root / name}" in done.out or f"Linked {root / name}" in done.out
    assert shell.run("uninstall", kind, "--root", root).code == 0
    assert tree(root) == {}


@pytest.mark.parametrize("kind", FILES)
def test_a_second_install_changes_nothing(shell: Shell, config: Path, root: Path, kind: str):
    shell.run("install", kind, "--root", root)
    before = {name: (root / name).lstat().st_ino for name in tree(root)}

    again = shell.run("install", kind, "--root", root)

    assert "Nothing had to be changed." in again.lines
    assert {name: (root / name).lstat().st_ino for name in tree(root)} == before


@pytest.mark.parametrize("kind", FILES)
def test_a_dry_run_shows_each_file_and_touches_nothing(
    shell: Shell, config: Path, root: Path, kind: str
):
    shown = shell.run("install", kind, "--root", root, "--dry-run")

    assert shown.code == 0
    assert tree(root) == {}
    assert not (shell.folder / "backups").exists()
    shell.run("install", kind, "--root", root)
    for name, text in tree(root).items():
        assert text in shown.out or f"{root / name} -> {text}" in shown.out
    removal = shell.run("uninstall", kind, "--root", root, "--dry-run")
    assert removal.out.count("# would remove") == len(FILES[kind])
    assert set(tree(root)) == FILES[kind]


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize(
    ("told", "environ", "is_asked"),
    [
        ('[notify.ping]\nstatus = "https://127.0.0.1/s"\n', {}, True),
        ('[[notify.webhook]]\nname = "ops"\nurl = "https://127.0.0.1/w"\n', {}, True),
        ('[[notify.apprise]]\nname = "mail"\nurl = { env = "MAIL" }\n', {}, True),
        ("", {"LITEKEEP_WEBHOOK_URL": "https://127.0.0.1/w"}, True),
        ("", {"LITEKEEP_PING_URL_STATUS": "https://127.0.0.1/s"}, True),
        # A ping of another job does not hear of this one.
        ('[notify.ping]\nbackup = "https://127.0.0.1/b"\n', {}, False),
        ("", {"LITEKEEP_PING_URL": "https://127.0.0.1/b"}, False),
    ],
)
def test_backups_that_are_too_old_are_looked_for_each_hour_where_anybody_is_told_of_them(
    shell: Shell, config: Path, root: Path, kind: str, told: str, environ, is_asked: bool
):
    config.write_text(CONFIG + told)

    shown = shell.run("install", kind, "--root", root, "--dry-run", **environ)
    done = shell.run("install", kind, "--root", root, **environ)

    assert done.code == 0, done.err
    text = "".join(tree(root).values())
    assert ("status" in text) == ("status" in shown.out) == is_asked
    shell.run("uninstall", kind, "--root", root)
    assert tree(root) == {}


def test_when_backups_that_are_too_old_are_looked_for_can_be_said(
    shell: Shell, config: Path, root: Path
):
    shell.run("install", "systemd", "--root", root, "--status", "daily")
    assert "OnCalendar=*-*-* 05:00:00\n" in tree(root)["etc/systemd/system/litekeep-status.timer"]

    config.write_text(CONFIG + '[notify.ping]\nstatus = "https://127.0.0.1/s"\n')
    shell.run("install", "systemd", "--root", root, "--status", "off")
    assert not [name for name in tree(root) if "status" in name]


def test_the_folder_of_a_store_is_made_because_a_sandbox_opens_only_what_is_there(
    shell: Shell, config: Path, root: Path
):
    shell.run("install", "systemd", "--root", root)

    assert (shell.folder / "backups").is_dir()


@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_is_not_ours_is_left_alone(shell: Shell, config: Path, root: Path, kind: str):
    name = min(FILES[kind])
    (root / name).write_text("# mine\n")

    refused = shell.run("install", kind, "--root", root)

    assert refused.code == 3
    assert "was not written by litekeep install" in refused.err
    assert shell.run("uninstall", kind, "--root", root).out == f"Nothing of {kind} is installed.\n"
    assert tree(root) == {name: "# mine\n"}


@pytest.mark.parametrize("kind", FILES)
def test_a_schedule_for_another_configuration_is_not_overwritten(
    shell: Shell, config: Path, root: Path, kind: str
):
    shell.run("install", kind, "--root", root)
    before = tree(root)
    other = shell.folder / "other.toml"
    other.write_text(CONFIG)

    refused = shell.run("install", kind, "--root", root, "--config", other)

    assert refused.code == 3
    assert f"was installed for the configuration {config}" in refused.err
    assert tree(root) == before


def test_a_task_that_is_off_goes(shell: Shell, config: Path, root: Path):
    shell.run("install", "systemd", "--root", root)

    changed = shell.run("install", "systemd", "--root", root, "--drill", "off", "--json").json

    removed = {Path(f["path"]).name for f in changed["files"] if f["action"] == "remove"}
    assert removed == {"litekeep-drill.service", "litekeep-drill.timer"}
    assert not [name for name in tree(root) if "drill" in name]


@pytest.mark.parametrize(
    ("kind", "when", "said"),
    [
        ("systemd", "whenever", "no time that systemd knows"),
        ("cron", "*-*-* 02:30", "no time that cron knows"),
    ],
)
def test_a_time_that_the_scheduler_does_not_know_is_refused(
    shell: Shell, config: Path, root: Path, kind: str, when: str, said: str
):
    refused = shell.run("install", kind, "--root", root, "--backup", when)

    assert refused.code == 2
    assert said in refused.err
    assert tree(root) == {}


def test_a_schedule_needs_a_configuration_with_databases(shell: Shell, root: Path):
    refused = shell.run("install", "cron", "--root", root, "--config", "/dev/null")
    (shell.folder / "litekeep.toml").write_text('timezone = "UTC"\n')
    empty = shell.run("install", "cron", "--root", root)

    assert (refused.code, empty.code) == (2, 2)
    assert "a schedule needs a configuration file, and there is none" in refused.err
    assert "lists no database" in empty.err
    assert "litekeep init" in empty.err


@pytest.mark.parametrize(("kind", "folder"), [("systemd", "systemd"), ("cron", "cron.d")])
def test_where_there_is_no_such_scheduler_it_says_so(
    shell: Shell, config: Path, tmp_path: Path, kind: str, folder: str
):
    (tmp_path / "bare").mkdir()

    refused = shell.run("install", kind, "--root", tmp_path / "bare")

    assert refused.code == 11
    assert f"there is no {kind} here: no folder {tmp_path}/bare/etc/{folder}" in refused.err


def test_variables_that_the_schedule_will_not_see_are_named_without_their_values(
    shell: Shell, config: Path, root: Path
):
    config.write_text(
        CONFIG + '[[store]]\nname = "s3"\nurl = "s3://b"\naccess_key_id = { env = "MY_ID" }\n'
        'secret_access_key = { env = "MY_KEY" }\nregion = "eu-west-1"\n'
    )

    warned = shell.run(
        "install", "cron", "--root", root, MY_ID="whose", MY_KEY="hush", AWS_ENDPOINT_URL="there"
    )

    assert "AWS_ENDPOINT_URL, MY_ID, MY_KEY" in ", ".join(
        sorted(warned.err.split("this shell: ")[1].splitlines()[0].split(", "))
    )
    assert "/etc/default/litekeep" in warned.err
    for value in ("whose", "hush", "there\n"):
        assert value not in warned.err + warned.out + "".join(tree(root).values())


def test_an_engine_that_is_not_asked_is_not_written_in(shell: Shell, config: Path, root: Path):
    shell.run("install", "systemd", "--root", root, DOCKER_HOST="unix:///run/mine.sock")

    assert "DOCKER_HOST" not in "".join(tree(root).values())


def test_a_database_that_is_not_there_yet_is_named(shell: Shell, config: Path, root: Path):
    (shell.folder / "app.db").unlink()

    warned = shell.run("install", "cron", "--root", root)

    assert warned.code == 0
    assert f"warning: there is no database at {shell.folder}/app.db yet" in warned.err


def test_both_schedulers_at_once_are_warned_of(shell: Shell, config: Path, root: Path):
    shell.run("install", "systemd", "--root", root)

    assert "systemd has a schedule too" in shell.run("install", "cron", "--root", root).err


def test_the_state_folder_of_the_shell_is_written_in(shell: Shell, config: Path, root: Path):
    shell.run("install", "systemd", "--root", root)

    state = shell.environ["LITEKEEP_STATE"]
    unit = tree(root)["etc/systemd/system/litekeep-backup.service"]
    assert f"Environment=LITEKEEP_STATE={state}\n" in unit
    assert f"-{state}" in unit


def test_json_says_what_was_done(shell: Shell, config: Path, root: Path):
    first = shell.run("install", "cron", "--root", root, "--json").json
    second = shell.run("install", "cron", "--root", root, "--json").json
    gone = shell.run("uninstall", "cron", "--root", root, "--json").json

    assert (first["changed"], second["changed"], gone["changed"]) == (True, False, True)
    assert {file["action"] for file in second["files"]} == {"keep"}
    assert [file["action"] for file in gone["files"]] == ["remove", "remove"]


def as_nobody(folder: Path, *arguments: str) -> Ran:
    """Run litekeep as a user without rights; skip where that cannot be."""
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCE), "HOME": "/nonexistent",
               "LITEKEEP_STATE": "/srv/my state"}  # fmt: skip
    program = [sys.executable, "-m", "litekeep"]
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can become another user")
    if subprocess.run([*nobody, *program, "--version"], env=environ, check=False).returncode != 0:
        pytest.skip("the environment of the tests may not be entered by other users")
    done = subprocess.run(
        [*nobody, *program, *arguments],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder with a configuration that all may read, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    (folder / "litekeep.toml").write_text('[[database]]\npath = "/srv/app.db"\n')
    yield folder
    shutil.rmtree(folder)


def test_who_is_not_root_is_shown_a_crontab_of_their_own(public: Path):
    shown = as_nobody(public, "install", "cron", "--dry-run")

    assert shown.code == 0, shown.err
    lines = [line for line in shown.lines if "litekeep.toml backup" in line]
    assert len(lines) == 1
    assert " root " not in shown.out
    assert ">> '/srv/my state/litekeep.log' 2>&1" in lines[0]


@pytest.mark.skipif(not Path("/etc/cron.d").is_dir(), reason="no cron here")
def test_who_is_not_root_may_not_change_the_machine(public: Path):
    before = sorted(os.listdir("/etc/cron.d"))

    refused = as_nobody(public, "install", "cron")

    assert refused.code == 32
    assert "user id 65534 may not change the schedule of this machine" in refused.err
    assert "sudo" in refused.err
    assert sorted(os.listdir("/etc/cron.d")) == before
