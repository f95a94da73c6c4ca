"""What runs of the command line tell: to real receivers on this machine."""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import signal
import socket
import sqlite3
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from litekeep.notify.channels import PING_SIZE_MAX, SIGNATURE
from tests.cli.conftest import Ran, Shell, make_database
from tests.servers.process import free_ports
from tests.servers.receiver import Mailbox, Receiver, mailbox, receiving

SECRET = "s3cr3t-4711"
SIGNAL_SECONDS_MAX = 30


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as started:
        yield started


@pytest.fixture
def box() -> Iterator[Mailbox]:
    with mailbox() as started:
        yield started


def configure(shell: Shell, text: str, *databases: str) -> None:
    listed = "".join(f'[[database]]\npath = "{name}.db"\n' for name in databases or ("app",))
    (shell.folder / "litekeep.toml").write_text(f"{text}\n{listed}")


def pinged(receiver: Receiver, *jobs: str) -> str:
    lines = [f'{job} = "{receiver.url}/{SECRET}/{job}"' for job in jobs or ("backup",)]
    return "\n".join(["[notify.ping]", *lines, ""])


def hooked(receiver: Receiver, more: str = "") -> str:
    return f'[[notify.webhook]]\nname = "ops"\nurl = "{receiver.url}/{SECRET}/hook"\n{more}\n'


def mail_url(box: Mailbox) -> str:
    return f"mailto://127.0.0.1:{box.port}?from=keeper@example.com&to=ops@example.com&mode=insecure"


def run(shell: Shell, *arguments: object, **environ: str) -> Ran:
    """Run a command, and see that it says no secret, whatever happens."""
    ran = shell.run(*arguments, **environ)
    assert SECRET not in ran.out + ran.err
    return ran


def outcomes(receiver: Receiver) -> list[tuple[str, str | None]]:
    hooks = [got.json for got in receiver.got if got.path.endswith("/hook")]
    return [(found["outcome"], found["database"]) for found in hooks]


def test_a_backup_pings_its_start_and_its_success_with_one_id(
    shell: Shell, app: Path, receiver: Receiver
):
    configure(shell, pinged(receiver))

    assert run(shell, "backup", "--verbose").code == 0

    assert receiver.paths == [f"/{SECRET}/backup/start", f"/{SECRET}/backup"]
    start, end = receiver.got
    assert start.rid == end.rid == str(uuid.UUID(end.rid))
    assert b"backup of app succeeded" in end.body
    assert run(shell, "backup").code == 0
    assert receiver.got[2].rid != start.rid


def test_each_job_pings_an_address_of_its_own(shell: Shell, app: Path, receiver: Receiver):
    jobs = ("backup", "verify", "drill", "prune", "status")
    configure(shell, pinged(receiver, *jobs))

    for job in jobs:
        assert run(shell, job).code == 0, job

    assert receiver.paths == [f"/{SECRET}/{job}{end}" for job in jobs for end in ("/start", "")]


def test_a_backup_that_fails_pings_so_with_the_reason_and_the_hint(
    shell: Shell, receiver: Receiver
):
    configure(shell, pinged(receiver))

    assert run(shell, "backup", "--verbose").code == 11

    (got,) = receiver.got
    assert got.path == f"/{SECRET}/backup/fail"
    assert b"no database at" in got.body
    assert b"NotFound" in got.body
    assert b"Check the path." in got.body


def test_a_backup_that_one_store_does_not_take_is_a_failure(
    shell: Shell, app: Path, receiver: Receiver
):
    (shell.folder / "file").touch()
    stores = '[[store]]\nname = "a"\nurl = "good"\n[[store]]\nname = "b"\nurl = "file/b"\n'
    configure(shell, pinged(receiver) + hooked(receiver) + stores)

    assert run(shell, "backup").code == 36

    assert f"/{SECRET}/backup/fail" in receiver.paths
    assert f"/{SECRET}/backup" not in receiver.paths
    assert outcomes(receiver) == [("failure", "app")]


def test_what_a_database_has_lost_is_told(shell: Shell, receiver: Receiver):
    path = make_database(shell.folder / "app.db", rows=2000)
    configure(shell, hooked(receiver))
    assert run(shell, "backup").code == 0
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM t WHERE id > 10")
    connection.commit()
    connection.close()

    assert run(shell, "backup").code == 23

    (got,) = receiver.got
    assert got.json["error"]["kind"] == "IntegrityFailed"
    assert "suspect" in got.json["error"]["message"]


def test_a_webhook_gets_the_event_signed(shell: Shell, receiver: Receiver):
    configure(shell, hooked(receiver, 'secret = { env = "HOOK_KEY" }'))

    assert run(shell, "backup", HOOK_KEY=f"{SECRET}-key").code == 11

    (got,) = receiver.got
    wanted = hmac.new(f"{SECRET}-key".encode(), got.body, hashlib.sha256).hexdigest()
    assert got.headers[SIGNATURE] == f"sha256={wanted}"
    assert got.headers["Content-Type"] == "application/json"
    found = got.json
    assert set(found) == {
        *("litekeep", "outcome", "job", "database", "error", "time", "host", "seconds", "run"),
        "subject",
    }
    assert (found["outcome"], found["job"], found["database"]) == ("failure", "backup", "app")
    assert found["error"]["kind"] == "NotFound"
    assert found["error"]["hint"] == "Check the path."
    assert found["host"] == os.uname().nodename
    assert found["time"].endswith("Z")


def test_a_failure_is_told_once_and_so_is_that_it_is_over(shell: Shell, receiver: Receiver):
    configure(shell, hooked(receiver))

    for _ in range(3):
        assert run(shell, "backup").code == 11
    make_database(shell.folder / "app.db")
    for _ in range(2):
        assert run(shell, "backup").code == 0

    assert outcomes(receiver) == [("failure", "app"), ("recovered", "app")]


def test_several_databases_are_an_event_each_and_one_ping(shell: Shell, receiver: Receiver):
    make_database(shell.folder / "b.db")
    both = '[notify]\non = ["failure", "success"]\n'
    configure(shell, both + pinged(receiver) + hooked(receiver), "app", "b", "c")

    assert run(shell, "backup").code == 11

    pings = [path for path in receiver.paths if path.endswith(("/start", "/backup", "/fail"))]
    assert pings == [f"/{SECRET}/backup/start", f"/{SECRET}/backup/fail"]
    assert outcomes(receiver) == [("failure", "app"), ("failure", "c"), ("success", "b")]


def test_status_tells_of_backups_that_are_too_old_and_still_ends_with_42(
    shell: Shell, app: Path, receiver: Receiver
):
    configure(shell, pinged(receiver, "status") + hooked(receiver))

    assert run(shell, "status").code == 42
    assert run(shell, "status").code == 42
    assert run(shell, "backup").code == 0
    assert run(shell, "status").code == 0

    assert outcomes(receiver) == [("stale", "app"), ("recovered", "app")]
    pings = [path for path in receiver.paths if not path.endswith("/hook")]
    assert pings == [
        f"/{SECRET}/status{end}" for end in ("/start", "/fail", "/start", "/fail", "/start", "")
    ]


def test_a_run_that_finds_another_at_work_tells_nothing(
    shell: Shell, app: Path, receiver: Receiver
):
    configure(shell, pinged(receiver) + hooked(receiver))
    assert run(shell, "backup").code == 0
    told = len(receiver.got)
    (lock,) = Path(shell.environ["LITEKEEP_STATE"]).glob("app-*.lock")
    with lock.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)

        assert run(shell, "backup").code == 75

    assert len(receiver.got) == told


def test_a_run_that_finds_another_at_work_on_one_database_tells_of_the_others(
    shell: Shell, app: Path, receiver: Receiver
):
    make_database(shell.folder / "b.db")
    configure(shell, "", "app", "b")
    assert run(shell, "backup").code == 0
    configure(shell, pinged(receiver), "app", "b")
    (lock,) = Path(shell.environ["LITEKEEP_STATE"]).glob("app-*.lock")
    with lock.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)

        assert run(shell, "backup").code == 75

    assert receiver.paths == [f"/{SECRET}/backup/start", f"/{SECRET}/backup"]
    assert b"backup of b succeeded" in receiver.got[1].body
    assert b"backup of app" not in receiver.got[1].body


def test_a_start_that_has_to_be_said_again_is_not_overtaken_by_the_end(
    shell: Shell, app: Path, receiver: Receiver
):
    receiver.answers = [500]
    configure(shell, pinged(receiver))

    assert run(shell, "backup").code == 0

    assert receiver.paths == [f"/{SECRET}/backup{end}" for end in ("/start", "/start", "")]


def test_a_dry_run_tells_nothing(shell: Shell, app: Path, receiver: Receiver):
    configure(shell, pinged(receiver, "backup", "prune") + hooked(receiver))

    assert run(shell, "backup", "--dry-run").code == 0
    assert run(shell, "prune", "--dry-run").code in (0, 11)

    assert receiver.got == []


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")],
)
def test_a_run_that_is_ended_by_a_signal_says_so(
    shell: Shell, app: Path, receiver: Receiver, number: int, code: int, word: str
):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # a store that never answers
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        store = f'[[store]]\nname = "s3"\nurl = "s3://b/x"\nendpoint = "{endpoint}"\n'
        keys = 'access_key_id = "a"\nsecret_access_key = "b"\ntimeout = "1s"\nretry = "0s"\n'
        configure(shell, pinged(receiver, "backup") + store + keys)
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        with shell.start("backup", **streams) as process:
            assert process.stdout is not None
            assert process.stdout.readline().startswith(b"[sqlite-backup] Integrity: ok")
            process.send_signal(number)
            said = process.communicate(timeout=SIGNAL_SECONDS_MAX)[0].decode()

    assert process.returncode == code, said
    assert SECRET not in said
    assert receiver.paths == [f"/{SECRET}/backup/start", f"/{SECRET}/backup/fail"]
    assert f"the command was {word}".encode() in receiver.got[1].body
    assert receiver.got[0].rid == receiver.got[1].rid


def test_a_receiver_that_hangs_neither_fails_a_backup_nor_delays_it_long(
    shell: Shell, app: Path, receiver: Receiver
):
    receiver.is_hanging = True
    every = '[notify]\ntimeout = "1s"\non = ["success"]\n'
    configure(shell, every + pinged(receiver) + hooked(receiver))
    begun = time.monotonic()

    ran = run(shell, "backup", "--verbose")

    assert time.monotonic() - begun < 10
    assert ran.code == 0
    assert "Backup completed successfully" in ran.out
    assert f"warning: could not notify: ping of backup: 127.0.0.1:{receiver.port}" in ran.err
    assert f"warning: could not notify: webhook ops: 127.0.0.1:{receiver.port}" in ran.err


def test_a_receiver_that_answers_byte_by_byte_is_waited_for_no_longer(
    shell: Shell, app: Path, receiver: Receiver
):
    receiver.is_dripping = True
    configure(shell, f'[notify]\ntimeout = "1s"\n{pinged(receiver)}')
    begun = time.monotonic()

    ran = run(shell, "backup")

    assert time.monotonic() - begun < 10
    assert ran.code == 0
    assert "warning: could not notify: ping of backup: it was not told in time" in ran.err


@pytest.mark.parametrize("code", [302, 404, 500])
def test_a_receiver_that_refuses_is_a_warning_that_names_the_host_alone(
    shell: Shell, app: Path, receiver: Receiver, code: int
):
    receiver.answers = [code] * 9
    with receiving() as other:
        receiver.location = f"{other.url}/{SECRET}"
        # Not long enough for a second try.
        configure(shell, f'[notify]\ntimeout = "1s"\n{pinged(receiver)}')

        ran = run(shell, "backup", "--json", "--verbose")

        assert other.got == []
    assert ran.code == 0
    assert ran.json["integrity"] == "ok"
    assert f"127.0.0.1:{receiver.port} answered {code}" in ran.err


def test_nobody_at_the_address_is_a_warning(shell: Shell, app: Path):
    (port,) = free_ports(1)
    ping = f'[notify.ping]\nbackup = "http://127.0.0.1:{port}/{SECRET}"\n'
    # Not long enough for a second try.
    configure(shell, f'[notify]\ntimeout = "1s"\n{ping}')

    ran = run(shell, "backup", "--quiet")

    assert (ran.code, ran.out) == (0, "")
    assert f"ping of backup: 127.0.0.1:{port} cannot be reached: connection refused" in ran.err
    assert ran.err.count("warning:") == 1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('backup = { env = "NOT_SET" }', "the environment variable NOT_SET"),
        ('backup = { file = "missing" }', "there is no file"),
        (f'backup = "ftp://h/{SECRET}"', "its address is no URL that can be posted to"),
    ],
)
def test_an_address_that_cannot_be_had_is_a_warning(shell: Shell, app: Path, line: str, said: str):
    configure(shell, f"[notify.ping]\n{line}\n")

    ran = run(shell, "backup")

    assert ran.code == 0
    assert "warning: could not notify: ping of backup" in ran.err
    assert said in ran.err


def test_a_container_needs_no_file(shell: Shell, app: Path, receiver: Receiver, box: Mailbox):
    variables = {
        "LITEKEEP_PING_URL": f"{receiver.url}/{SECRET}/ping",
        "LITEKEEP_PING_URL_DRILL": f"{receiver.url}/{SECRET}/drill",
        "LITEKEEP_WEBHOOK_URL": f"{receiver.url}/{SECRET}/hook",
        "LITEKEEP_NOTIFY_URL": mail_url(box),
    }

    assert run(shell, "backup", "app.db", **variables).code == 0
    assert run(shell, "drill", "app.db", **variables).code == 0
    assert run(shell, "backup", "no.db", **variables).code == 11

    pings = [path.removeprefix(f"/{SECRET}") for path in receiver.paths if "hook" not in path]
    assert pings == ["/ping/start", "/ping", "/drill/start", "/drill", "/ping/fail"]
    assert outcomes(receiver) == [("failure", "no")]
    assert len(box.mails) == 1


def test_a_long_message_is_cut_for_a_ping(shell: Shell, receiver: Receiver):
    names = [f"database-{number:03}" for number in range(200)]
    configure(shell, pinged(receiver), *names)

    assert run(shell, "backup", "--quiet").code == 11

    (got,) = receiver.got
    assert PING_SIZE_MAX < len(got.body) < 10_000


def test_mail_says_what_happened_and_what_to_do(shell: Shell, box: Mailbox):
    (shell.folder / "url").write_text(mail_url(box))
    configure(shell, '[[notify.apprise]]\nname = "mail"\nurl = { file = "url" }\n')

    ran = run(shell, "backup")

    assert ran.code == 11
    (mail,) = box.mails
    assert mail["Subject"] == f"Litekeep on {os.uname().nodename}: backup of app failed"
    assert mail["To"] == "ops@example.com"
    text = mail.get_body(("plain", "html"))
    assert text is not None
    assert "no database at" in text.get_content()
    assert "Check the path." in text.get_content()
    assert ran.err.count("\n") == 2, ran.err


def test_a_test_goes_through_every_channel(shell: Shell, receiver: Receiver, box: Mailbox):
    mail = f'[[notify.apprise]]\nname = "mail"\nurl = "{mail_url(box)}"\n'
    configure(shell, pinged(receiver, "backup", "drill") + hooked(receiver) + mail)

    ran = run(shell, "notify", "test")

    assert ran.code == 0, ran.err
    assert ran.lines == [
        "ok  ping of backup",
        "ok  ping of drill",
        "ok  webhook ops",
        "ok  apprise mail",
    ]
    assert sorted(receiver.paths) == [
        f"/{SECRET}/backup/log",
        f"/{SECRET}/drill/log",
        f"/{SECRET}/hook",
    ]
    assert outcomes(receiver) == [("test", None)]
    assert box.mails[0]["Subject"].endswith("a test message")


def test_a_test_says_which_channel_fails(shell: Shell, receiver: Receiver):
    (port,) = free_ports(1)
    url = f"mailto://me:{SECRET}@127.0.0.1:{port}?from=a@example.com&to=b@example.com"
    bad = f'[[notify.apprise]]\nname = "mail"\nurl = "{url}"\n'
    odd = f'[[notify.apprise]]\nname = "odd"\nurl = "nonsense://{SECRET}"\n'
    unset = '[[notify.webhook]]\nname = "unset"\nurl = { env = "NOT_SET" }\n'
    configure(shell, pinged(receiver) + bad + odd + unset)

    ran = run(shell, "notify", "test", "--json", "--verbose")
    shown = run(shell, "notify", "test")

    assert ran.code == shown.code == 50
    found = {item["name"]: item for item in ran.json["channels"]}
    assert [name for name, item in found.items() if item["ok"]] == ["ping of backup"]
    assert found["apprise mail"]["error"]["kind"] == "NotTold"
    assert found["apprise mail"]["error"]["message"] == "mailto did not take it"
    assert "none that Apprise knows" in found["apprise odd"]["error"]["message"]
    assert "NOT_SET" in found["webhook unset"]["error"]["message"]
    assert shown.lines == ["ok  ping of backup"]
    assert "error: webhook unset: the environment variable NOT_SET" in shown.err


def test_a_test_of_nobody_says_so(shell: Shell, app: Path):
    ran = run(shell, "notify", "test")

    assert ran.code == 2
    assert "nobody is to be notified" in ran.err


def test_without_apprise_its_services_are_a_warning_and_say_what_to_install(
    shell: Shell, app: Path, tmp_path: Path, receiver: Receiver
):
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden/apprise.py").write_text("raise ImportError('not here')\n")
    path = f"{tmp_path / 'hidden'}{os.pathsep}{shell.environ['PYTHONPATH']}"
    mail = '[notify]\non = ["success"]\n[[notify.apprise]]\nname = "mail"\nurl = "mailto://h"\n'
    configure(shell, mail)

    ran = run(shell, "backup", PYTHONPATH=path)
    test = run(shell, "notify", "test", "--json", PYTHONPATH=path)

    assert ran.code == 0
    assert "apprise mail: mail and other services need a part" in ran.err
    assert "pip install apprise" in ran.err
    assert test.code == 50
    assert test.json["channels"][0]["error"]["kind"] == "MissingExtra"


UNIT = {"LITEKEEP_UNIT": "litekeep-backup.service", "INVOCATION_ID": "0123456789abcdef" * 2}
ENDED = {
    "MONITOR_SERVICE_RESULT": "signal",
    "MONITOR_EXIT_STATUS": "KILL",
    "MONITOR_INVOCATION_ID": "0123456789abcdef" * 2,
}


def test_a_unit_that_was_killed_is_told_of_with_the_id_of_its_run(
    shell: Shell, app: Path, receiver: Receiver
):
    configure(shell, pinged(receiver) + hooked(receiver))

    assert run(shell, "notify", "failed", "litekeep-backup.service", **ENDED).code == 0
    assert run(shell, "backup").code == 0

    fail = next(got for got in receiver.got if got.path.endswith("/fail"))
    assert fail.path == f"/{SECRET}/backup/fail"
    assert fail.rid == "01234567-89ab-cdef-0123-456789abcdef"
    assert b"litekeep-backup.service ended: signal, KILL" in fail.body
    assert outcomes(receiver) == [("failure", None), ("recovered", None)]


def test_what_a_run_in_a_unit_told_itself_is_not_told_again(shell: Shell, receiver: Receiver):
    configure(shell, pinged(receiver) + hooked(receiver))
    assert run(shell, "backup", **UNIT).code == 11
    told = list(receiver.paths)

    assert run(shell, "notify", "failed", "litekeep-backup.service", **ENDED).code == 0
    assert receiver.paths == told
    other = {**ENDED, "MONITOR_INVOCATION_ID": "f" * 32}
    assert run(shell, "notify", "failed", "litekeep-backup.service", **other).code == 0
    assert len(receiver.paths) == len(told) + 2
    (own, later) = (got.rid for got in receiver.got if got.path.endswith("/fail"))
    assert own == "01234567-89ab-cdef-0123-456789abcdef"
    assert later == "ffffffff-ffff-ffff-ffff-ffffffffffff"


def test_what_a_run_in_a_unit_could_not_tell_is_told_after_it(shell: Shell, receiver: Receiver):
    configure(shell, pinged(receiver))
    receiver.answers = [404]
    assert run(shell, "backup", **UNIT).code == 11

    assert run(shell, "notify", "failed", "litekeep-backup.service", **ENDED).code == 0

    assert receiver.paths == [f"/{SECRET}/backup/fail"] * 2


def test_the_library_tells_nothing(shell: Shell, app: Path, receiver: Receiver):
    script = "import litekeep; litekeep.backup('app.db')"
    configure(shell, pinged(receiver) + hooked(receiver, 'on = ["success"]'))

    command = [*shell.command()[:1], "-c", script]
    subprocess.run(command, cwd=shell.folder, env=shell.environ, check=True)

    assert receiver.got == []


def test_where_nobody_is_told_nothing_is_remembered(shell: Shell, app: Path):
    assert run(shell, "backup", "app.db").code == 0

    assert list(Path(shell.environ["LITEKEEP_STATE"]).glob("notify*")) == []
