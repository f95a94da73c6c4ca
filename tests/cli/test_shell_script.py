"""
What the guide does by hand, with stock tools: `aws`, `gzip`, `gunzip`, `sqlite3`.

They read what Litekeep stored, and Litekeep takes up what a script made of them had stored.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.cli.conftest import Shell, count_rows, make_database
from tests.guide import policy_for
from tests.servers.s3 import S3Server, allow_by_bucket

#: As the guide has it: a copy, its check, gzip, a local file, two uploads.
SCRIPT = """\
set -eu
work=$(mktemp -d)
cp "$DATABASE" "$work/copy.db"
sqlite3 "$work/copy.db" 'PRAGMA quick_check;'
mkdir -p local
gzip -c "$work/copy.db" > "local/manual_generator_$STAMP.db.gz"
prefix="s3://$S3_BUCKET/sqlite-backup"
month="$(expr substr "$STAMP" 1 4)/$(expr substr "$STAMP" 5 2)"
aws s3 cp --only-show-errors "local/manual_generator_$STAMP.db.gz" "$prefix/$month/"
aws s3 cp --only-show-errors "local/manual_generator_$STAMP.db.gz" "$prefix/latest.db.gz"
"""
Type = Callable[..., str]


@pytest.fixture
def database(shell: Shell, seaweedfs: S3Server) -> Path:
    """The guide's database; the shell may do what the guide's policy allows."""
    bucket = seaweedfs.new_bucket()
    allow_by_bucket(seaweedfs, bucket, "guide", policy_for(bucket))
    key, secret = seaweedfs.others["guide"]
    shell.environ |= {
        # `aws` lies beside the interpreter, as the servers do.
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "S3_BUCKET": bucket,
        "LOCAL_BACKUP_DIR": "local",
        "DATABASE": "volume/manual_generator.db",
        "AWS_ENDPOINT_URL": seaweedfs.endpoint,
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_REGION": "us-east-1",
    }
    return make_database(shell.folder / "volume/manual_generator.db")


@pytest.fixture
def type_in(shell: Shell) -> Type:
    """Type lines into a shell, of which each must succeed; return what they said."""

    def type_in(lines: str, **variables: str) -> str:
        done = subprocess.run(
            ["sh", "-ec", lines],
            cwd=shell.folder,
            env={**shell.environ, **variables},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return type_in


def stamp(**ago: float) -> str:
    return (datetime.now(UTC) - timedelta(**ago)).strftime("%Y%m%d_%H%M%S")


def test_aws_and_gunzip_restore_what_is_stored(shell, database, type_in):
    name = shell.run("backup", database, "--json").json["name"]
    month = f"s3://{shell.environ['S3_BUCKET']}/sqlite-backup/{name[17:21]}/{name[21:23]}"

    listed = type_in(f"aws s3 ls {month}/")
    said = type_in(
        f"aws s3 cp {month}/{name}.db.gz ./\ngunzip {name}.db.gz\n"
        f"sqlite3 {name}.db 'PRAGMA integrity_check;'"
    )
    type_in(f"aws s3 cp {month[:-8]}/latest.db.gz - | gunzip > latest.db")

    assert f" {name}.db.gz\n" in listed
    assert said.endswith("ok\n")
    restored = (shell.folder / f"{name}.db").read_bytes()
    assert restored == database.read_bytes() == (shell.folder / "latest.db").read_bytes()


def test_snapshots_of_a_script_are_listed_restored_and_marked_as_unproven(shell, database, type_in):
    old = f"manual_generator_{stamp(days=2)}"
    type_in(SCRIPT, STAMP=old.removeprefix("manual_generator_"))
    stored = shell.folder / f"local/{old}.db.gz"
    source = f"s3://{shell.environ['S3_BUCKET']}/sqlite-backup"

    (point,) = shell.run("list", source, "--json").json["restore_points"]
    shown = shell.run("list", source).out
    restored = shell.run("restore", source, "-o", "back.db", "--json")
    verified = shell.run("verify", source)
    drilled = shell.run("drill", source)

    assert (point["name"], point["state"], point["proof"]) == (old, "foreign", None)
    assert (point["stored_size_bytes"], point["size_bytes"]) == (stored.stat().st_size, None)
    assert ["foreign", "none", old] == shown.split()[-3:]
    assert restored.code == 0, restored.err
    assert restored.json["proved"] is False
    assert count_rows(shell.folder / "back.db") == 3
    assert "Unproven: " in verified.out
    assert drilled.code == 40
    assert "there is no manifest to compare it with" in drilled.err


def test_snapshots_of_a_script_go_by_the_same_rules(shell, database, type_in, seaweedfs):
    """By age on this disk, as the script's own `find -mtime` had it; by `keep` in the bucket."""
    names = [f"manual_generator_{stamp(days=days)}" for days in (30, 9, 2)]
    for name in names:
        type_in(SCRIPT, STAMP=name.removeprefix("manual_generator_"))
    source = f"s3://{shell.environ['S3_BUCKET']}/sqlite-backup"

    ran = shell.run("backup", database)
    # Who may delete.
    admin = {
        "AWS_ACCESS_KEY_ID": seaweedfs.access_key,
        "AWS_SECRET_ACCESS_KEY": seaweedfs.secret_key,
    }
    pruned = shell.run("prune", source, "--keep", "within=7d", "--json", **admin)
    left = shell.run("list", source, "--json").json["restore_points"]

    assert len(ran.lines) == 6, ran.out
    ours = ran.lines[2].rpartition("/")[2].removesuffix(".db.gz")
    kept = {path.name for path in (shell.folder / "local").glob("[!.]*.gz")}
    assert kept == {f"{name}.db.gz" for name in (names[2], ours)}
    (store,) = pruned.json["stores"]
    assert sorted(path.rpartition("/")[2] for path in store["pruned"]) == [
        f"{name}.db.gz" for name in names[:2]
    ]
    assert [point["name"] for point in left] == [ours, names[2]]
