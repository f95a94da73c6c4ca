"""
The policy of the guide, enforced: it suffices for all but removing, and nothing else is asked.

By moto, which has AWS's IAM, and by SeaweedFS, by the policy of the bucket; a proxy between
writes down each request. docs/stores.md has the permissions of each command in a table.
"""

from __future__ import annotations

import re
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.conftest import Ran, Shell, make_database
from tests.documentation import TOP
from tests.guide import policy_for
from tests.servers.docker import wait_until
from tests.servers.iam import add_identity
from tests.servers.recorder import Recorder
from tests.servers.s3 import S3Server, allow_by_bucket

ALLOWED = frozenset({"s3:PutObject", "s3:GetObject", "s3:ListBucket"})
#: Noise, so that what is stored takes more than one part.
NOISE_SIZE = 9 << 20


@dataclass(frozen=True, slots=True)
class Account:
    """A bucket behind a recorder, and a shell that may do there what the guide allows."""

    server: S3Server
    bucket: str
    recorder: Recorder
    shell: Shell

    def as_admin(self) -> None:
        self._be(self.server.access_key, self.server.secret_key)

    def as_one(self, identity: str) -> None:
        self._be(*self.server.others[identity])

    def _be(self, key: str, secret: str) -> None:
        self.shell.environ |= {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}

    def run(self, *arguments: object, code: int = 0) -> tuple[Ran, frozenset[str]]:
        """Run a command; return what it did, and the permissions that it took."""
        self.recorder.requests.clear()
        ran = self.shell.run(*arguments)
        assert ran.code == code, ran
        return ran, self.recorder.actions


def account_at(server: S3Server, shell: Shell, *, grant: Callable[[S3Server, str], str]) -> Account:
    bucket = server.new_bucket()
    identity = grant(server, bucket)
    recorder = Recorder(server.endpoint)
    shell.environ |= {
        "S3_BUCKET": bucket,
        "LOCAL_BACKUP_DIR": "local",
        "AWS_ENDPOINT_URL": recorder.endpoint,
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    account = Account(server, bucket, recorder, shell)
    account.as_one(identity)
    return account


def by_identity(server: S3Server, bucket: str) -> str:
    add_identity(server, f"guide-of-{bucket}", policy_for(bucket))
    return f"guide-of-{bucket}"


def by_bucket(server: S3Server, bucket: str) -> str:
    allow_by_bucket(server, bucket, "guide", policy_for(bucket))
    return "guide"


@pytest.fixture(params=["moto", "seaweedfs"])
def either(request: pytest.FixtureRequest, shell: Shell) -> Iterator[Account]:
    """The guide's account at each server."""
    grant = {"moto": by_identity, "seaweedfs": by_bucket}[request.param]
    server = request.getfixturevalue({"moto": "iam_s3"}.get(request.param, request.param))
    account = account_at(server, shell, grant=grant)
    yield account
    account.recorder.close()


@pytest.fixture
def account(iam_s3: S3Server, shell: Shell) -> Iterator[Account]:
    """The guide's account at the stricter server."""
    account = account_at(iam_s3, shell, grant=by_identity)
    yield account
    account.recorder.close()


def noisy_database(path: Path) -> Path:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, a)")
        connection.executemany("INSERT INTO t(a) VALUES (?)", [(f"row {n}",) for n in range(2000)])
        connection.execute("INSERT INTO t(a) VALUES (randomblob(?))", (NOISE_SIZE,))
    connection.close()
    return path


def documented() -> dict[str, frozenset[str]]:
    """Return the table of docs/stores.md: what each command takes."""
    text = (TOP / "docs/stores.md").read_text()
    table = text.split("| command | permissions |\n| --- | --- |\n")[1].split("\n\n")[0]
    found = {}
    for row in table.splitlines():
        _, commands, needed, _ = row.split("|")
        for command in re.findall(r"`(\w+)`", commands):
            found[command] = frozenset(re.findall(r"`(s3:\w+)`", needed))
    return found


def test_the_policy_of_the_guide_suffices_and_nothing_else_is_asked(either: Account):
    database = noisy_database(either.shell.folder / "app.db")
    took: dict[str, frozenset[str]] = {}
    first, at_first = either.run("backup", "app.db")
    uploads = [request for request in either.recorder.requests if "uploads" in request.query]
    second, took["backup"] = either.run("backup", "app.db")
    for command in ("list", "status", "verify", "drill", "dump"):
        at = ("--at", "latest", "-o", "app.sql") if command == "dump" else ()
        source = f"s3://{either.bucket}/sqlite-backup"
        took[command] = either.run(command, source, *at)[1]
    restored, took["restore"] = either.run(
        *("restore", f"s3://{either.bucket}/sqlite-backup", "-o", "back.db", "--json")
    )
    name = restored.json["restored"]["name"]
    took["hold"] = either.run("hold", name, "app.db")[1]

    assert at_first == ALLOWED
    assert [request.method for request in uploads] == ["POST"], "it was not put in parts"
    for ran in (first, second):
        assert len(ran.lines) == 6, ran.out
        assert ran.err == ""
    assert restored.json["proved"] is True
    assert (either.shell.folder / "back.db").read_bytes() == database.read_bytes()
    assert took == {command: documented()[command] for command in took}


def test_what_may_not_be_removed_is_emptied_and_nothing_fails(account: Account):
    """A hold that is let go, and `latest` in a format that is no longer made."""
    noisy_database(account.shell.folder / "app.db")
    made = account.run("backup", "app.db", "--json")[0].json
    account.run("hold", made["name"], "app.db")

    _, took = account.run("unhold", made["name"], "app.db")
    other, _ = account.run("backup", "app.db", "--format", "zstd")
    again, asked = account.run("backup", "app.db", "--format", "zstd")

    assert took == documented()["unhold"] > ALLOWED
    assert not account.run("list", "app.db", "--json")[0].json["restore_points"][-1]["held"]
    for ran in (other, again):
        assert len(ran.lines) == 6, ran.out
        assert ran.err == ""
    assert asked == ALLOWED, "it is tried with each backup again"
    head = account.server.client().head_object
    key = "sqlite-backup/latest.db"
    assert head(Bucket=account.bucket, Key=f"{key}.gz")["ContentLength"] == 0
    assert head(Bucket=account.bucket, Key=f"{key}.zst")["ContentLength"] > NOISE_SIZE


def test_who_may_only_read_restores_and_drills_and_no_proof_is_recorded(
    account: Account,
):
    make_database(account.shell.folder / "app.db")
    account.run("backup", "app.db")
    policy = policy_for(account.bucket)
    policy["Statement"][0]["Action"].remove("s3:PutObject")
    add_identity(account.server, f"reader-of-{account.bucket}", policy)
    account.as_one(f"reader-of-{account.bucket}")
    source = f"s3://{account.bucket}/sqlite-backup"

    account.run("restore", source, "-o", "back.db")
    account.run("verify", source)
    drilled, _ = account.run("drill", source)

    assert "Warning: the proof was not recorded: " in drilled.out
    assert f"Allow s3:PutObject on arn:aws:s3:::{account.bucket}/sqlite-backup/* " in drilled.out
    assert drilled.lines[-1].startswith("[sqlite-drill] Drill: pass")


def test_what_is_suspect_is_accepted_with_the_policy_of_the_guide(account: Account):
    path = noisy_database(account.shell.folder / "app.db")
    account.run("backup", "app.db")
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM t")
    connection.close()
    account.run("backup", "app.db", code=23)

    _, took = account.run("accept", "app.db")

    assert took == documented()["accept"] == ALLOWED


def configure(account: Account) -> None:
    """Let one snapshot of several be enough, in the bucket, as from the next backup."""
    (account.shell.folder / "litekeep.toml").write_text(
        f'[[store]]\nname = "s3"\nurl = "s3://{account.bucket}/sqlite-backup"\n'
        "[retention]\nminimum = 1\nundelete_days = 0\nkeep = { last = 1 }\n"
        'after_backup = true\n[[database]]\npath = "app.db"\n'
    )


def test_pruning_says_what_it_lacks_and_fails_no_backup(account: Account):
    make_database(account.shell.folder / "app.db")
    configure(account)
    account.run("backup", "app")
    after, _ = account.run("backup", "app")
    denied, took = account.run("prune", "app", code=32)
    account.server.client().create_multipart_upload(
        Bucket=account.bucket, Key="sqlite-backup/2020/01/app_20200101_000000.db.gz"
    )
    account.as_admin()
    pruned, needed = account.run("prune", "app", "--json")

    where = f"on arn:aws:s3:::{account.bucket}"
    said = "[sqlite-backup] Warning: nothing was pruned: "
    assert any(line.startswith(said) for line in after.lines), after.out
    assert after.lines[-1] == "[sqlite-backup] Backup completed successfully"
    assert f"hint: Allow s3:DeleteObject {where}/sqlite-backup/* " in denied.err
    assert "Warning: uploads left open in s3://" in denied.out
    assert f"Hint: Allow s3:ListBucketMultipartUploads {where} " in denied.out
    assert len(pruned.json["stores"][0]["pruned"]) == 1
    assert needed == documented()["prune"] > took
    assert account.server.open_uploads(account.bucket) == []


def test_what_was_pruned_comes_back_though_its_tombstone_may_not_be_removed(account: Account):
    make_database(account.shell.folder / "app.db")
    configure(account)
    identity = next(name for name in account.server.others if account.bucket in name)
    for _ in range(2):
        account.run("backup", "app.db", "--to", f"s3://{account.bucket}/sqlite-backup")
    config = account.shell.folder / "litekeep.toml"
    config.write_text(config.read_text().replace("undelete_days = 0", "undelete_days = 7"))
    account.as_admin()
    (name,) = account.run("prune", "app", "--json")[0].json["stores"][0]["pruned"]
    account.as_one(identity)

    _, took = account.run("undelete", name.rpartition("/")[2].removesuffix(".db.gz"), "app")

    assert took == documented()["undelete"]
    assert len(account.run("list", "app", "--json")[0].json["restore_points"]) == 2


def test_a_backup_behind_a_killed_one_says_what_it_may_not_tidy(account: Account):
    noisy_database(account.shell.folder / "app.db")
    account.recorder.throttle(1 << 20)
    process = account.shell.start("backup", "app.db", stdout=subprocess.DEVNULL)
    assert wait_until(lambda: any("uploads" in one.query for one in account.recorder.requests))
    process.kill()
    process.wait()
    account.recorder.heal()

    ran, _ = account.run("backup", "app.db")

    assert ran.lines[-1] == "[sqlite-backup] Backup completed successfully"
    *_, withdrawn, refused = [line for line in ran.lines if "Warning" in line]
    assert f"from s3://{account.bucket}/sqlite-backup, left by a killed run" in withdrawn
    assert "could not clean up in" in refused
    assert "Hint: Allow s3:ListBucketMultipartUploads on" in ran.out
    listed, _ = account.run("list", f"s3://{account.bucket}/sqlite-backup", "--json")
    assert len(listed.json["restore_points"]) == 1
