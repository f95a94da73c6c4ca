"""
Coming from Litestream, by the command line: its repositories as sources, taken over, imported.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import Shell, count_rows
from tests.writers.generations import small_replica
from tests.writers.litestream import replicating, wait_for
from tests.writers.litestream import restore as litestream_restore

SECRET = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with three rows, and what Litestream made of it: its folder is `shop`."""
    folder = tmp_path_factory.mktemp("written")
    with closing(sqlite3.connect(folder / "app.db", isolation_level=None)) as app:
        app.execute("PRAGMA journal_mode=WAL")
        app.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, a)")
        with replicating(folder / "app.db", folder / "shop"):
            for row in range(3):
                app.execute("INSERT INTO t(a) VALUES (?)", (f"row {row}",))
                wait_for(folder / "shop", row + 2)
    return folder


@pytest.fixture
def shop(shell: Shell, template: Path) -> Path:
    """Its replica, alone in a folder."""
    return Path(shutil.copytree(template / "shop", shell.folder / "shop"))


def test_a_repository_of_litestreams_is_a_source(shell, shop):
    listed = shell.run("list", "shop", "--json").json
    assert listed["database"] == "shop"
    assert [point["txid"][-1] for point in listed["restore_points"]] == ["4", "3", "2", "1"]
    assert shell.run("list", "shop").out.startswith("stream: 4 txids, 0000000000000001 to")

    latest = shell.run("restore", "shop", "--output", "latest.db", "--json").json
    assert (latest["proved"], count_rows(shell.folder / "latest.db")) == (False, 3)
    assert latest["unproven"] == "no database checksum stands beside the stream's files"
    for at, count in (("0000000000000003", 2), ("before:0000000000000003", 1)):
        assert shell.run("restore", "shop", "--at", at, "--output", f"{count}.db").code == 0
        assert count_rows(shell.folder / f"{count}.db") == count
    assert "'row 2'" in shell.run("dump", "shop").out

    verified = shell.run("verify", "shop")
    assert verified.code == 0
    assert "Unproven: txid 0000000000000004 of" in verified.out
    assert re.search(r"Read \d files of the stream, .*: ok", verified.out)
    drilled = shell.run("drill", "shop")
    assert (drilled.code, "no proof can be kept in it" in drilled.err) == (2, True)


def test_a_damaged_file_of_litestreams_is_named_with_its_code(shell, shop):
    path = sorted((shop / "ltx" / "0").iterdir())[2]
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    verified = shell.run("verify", "shop", "--json")
    assert verified.code == 21
    (damaged,) = verified.json["damaged"]
    assert (damaged["object"], damaged["code"]) == (f"ltx/0/{path.name}", 21)


def test_a_replica_of_an_older_litestreams_is_a_source(shell, tmp_path):
    replica = small_replica(tmp_path)
    root = Path(shutil.copytree(replica.root, shell.folder / "old"))
    assert shell.run("list", "old").out.startswith("Litestream 0.3: 8 moments, 0123456789abcdef-")
    points = shell.run("list", "old", "--json").json["restore_points"]
    assert {point["txid"] for point in points} == {None}

    name = list(replica.states)[2]
    assert shell.run("restore", "old", "--at", name, "--output", "o.db", "--quiet").code == 0
    assert (shell.folder / "o.db").read_bytes() == replica.states[name]
    wrong = shell.run("restore", "old", "--at", f"{name[:-1]}f", "--output", "p.db")
    assert (wrong.code, name in wrong.err) == (11, True)
    verified = shell.run("verify", "old")
    assert (verified.code, "Read 5 files of the stream" in verified.out) == (0, True)
    assert not [*root.rglob("*.json")]


def test_a_stream_is_never_mixed_with_litestreams_unless_asked_for(shell, template):
    """At its root a folder of ours lies beside it; in its place it is refused, or taken over."""
    shutil.copy(template / "app.db", shell.folder / "app.db")
    root = Path(shutil.copytree(template / "shop", shell.folder / "store" / "app"))
    before = sorted(root.rglob("*.ltx"))

    refused = shell.run("stream", "app.db", "--to", "store", "--once")
    assert refused.code == 12
    assert "a stream that Litekeep did not write" in refused.err
    assert "--take-over" in refused.err
    assert sorted(root.rglob("*.ltx")) == before

    beside = shell.run("stream", "app.db", "--to", "store/app", "--once", "--quiet")
    assert beside.code == 0
    new = set(root.rglob("*.ltx")) - set(before)
    assert {path.relative_to(root).parts[0] for path in new} == {"app"}
    both = shell.run("list", "store/app")
    assert (both.code, "Choose with --database: app, litestream." in both.err) == (2, True)
    theirs = shell.run("list", "store/app", "--database", "litestream", "--json").json
    assert len(theirs["restore_points"]) == 4
    assert litestream_restore(root, shell.folder / "beside.db") is not None
    shutil.rmtree(root / "app")

    with closing(sqlite3.connect(shell.folder / "app.db")) as app:
        app.execute("INSERT INTO t(a) VALUES ('ours')")
        app.commit()
    taken = shell.run("stream", "app.db", "--to", "store", "--once", "--take-over")
    assert taken.code == 0, taken.err
    (file,) = set(root.rglob("*.ltx")) - set(before)
    assert file.name == "0000000000000005-0000000000000005.ltx"
    # From now on it is ours, and the real Litestream still restores it.
    assert shell.run("stream", "app.db", "--to", "store", "--once").code == 0
    assert shell.run("restore", "store", "--output", "o.db", "--json").json["proved"]
    assert litestream_restore(root, shell.folder / "l.db") == (shell.folder / "o.db").read_bytes()
    assert count_rows(shell.folder / "o.db") == 4


def test_an_imported_configuration_is_one_that_we_read(shell):
    settings = shell.folder / "litestream.yml"
    settings.write_text(
        "addr: ':9090'\n"
        f"secret-access-key: {SECRET}\n"
        "dbs:\n"
        f"  - path: {shell.folder}/app.db\n"
        "    replicas:\n"
        f"      - path: {shell.folder}/replica\n"
        "        retention: 72h\n"
        "      - url: s3://bucket/app\n"
        "        access-key-id: ${KEY_OF_OURS}\n"
    )
    tried = shell.run("import", "litestream.yml", "--dry-run")
    assert tried.code == 0
    assert not (shell.folder / "litekeep.toml").exists()
    done = shell.run("import", "litestream.yml")
    assert done.code == 0, done.err
    text = (shell.folder / "litekeep.toml").read_text()
    assert text == tried.out
    assert 'access_key_id = { env = "KEY_OF_OURS" }' in text
    for shown in (text, done.out, done.err):
        assert SECRET not in shown
    assert "warning: addr: " in done.err
    assert "secret-access-key: it stands there in plain text" in done.err

    again = shell.run("import", "litestream.yml")
    assert (again.code, "exists" in again.err) == (3, True)
    assert shell.run("import", "litestream.yml", "-o", "b.toml", "--json").json["databases"] == 1
    with closing(sqlite3.connect(shell.folder / "app.db")) as app:
        app.execute("CREATE TABLE t(a)")
    backed_up = shell.run("backup", "--to", "app-local", "--config", "litekeep.toml")
    assert backed_up.code == 0, backed_up.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "line 1: it is no YAML"),
        ("- 1", "a mapping"),
        ("dbs: 1", "dbs is not what Litestream's"),
        ("dbs: []", "it lists no database"),
        ("dbs: [{path: '${NOT_SET}/app.db'}]", "NOT_SET is not set"),
        ("dbs: [{path: app.db, replica: {url: 's3://'}}]", "s3://"),
        ("&a [*a]", "a mapping"),
    ],
)
def test_what_is_no_configuration_of_litestreams_is_refused_with_a_hint(shell, text, said):
    (shell.folder / "litestream.yml").write_text(text)
    ran = shell.run("import", "litestream.yml")
    assert ran.code == 2
    assert said in ran.err
    assert "hint: " in ran.err
    assert not (shell.folder / "litekeep.toml").exists()
