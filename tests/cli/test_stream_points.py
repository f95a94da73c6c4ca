"""
Streaming from the command line, and what the other commands say of a stream.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest


@pytest.fixture
def app(shell):
    with closing(sqlite3.connect(shell.folder / "app.db")) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE t(a)")
        connection.commit()
        yield connection


def commit(app, value):
    app.execute("INSERT INTO t VALUES (?)", (value,))
    app.commit()


def count_in(path):
    with closing(sqlite3.connect(path)) as restored:
        ((count,),) = restored.execute("SELECT count(*) FROM t").fetchall()
    return count


def test_list_shows_both_roads_and_the_window(shell, app):
    for value in range(3):
        commit(app, value)
        assert shell.run("stream", "app.db", "--once", "--quiet").code == 0
    assert shell.run("backup", "app.db", "--quiet").code == 0

    shown = shell.run("list", "app.db", "--json").json
    kinds = [one["kind"] for one in shown["restore_points"]]
    assert kinds == ["snapshot", "sync", "sync", "base"]
    txids = [one["txid"] for one in shown["restore_points"][1:]]
    assert txids == [f"{txid:016x}" for txid in (3, 2, 1)]
    assert shown["gaps"] == []
    assert shown["window"]["from"] < shown["window"]["to"]

    (third,) = shell.folder.rglob("*-0000000000000002.ltx")
    third.unlink()
    lines = shell.run("list", "app.db").lines
    assert lines[0].startswith("stream: 1 txid, 0000000000000001")


def test_a_store_that_holds_a_stream_alone_is_a_source(shell, app):
    commit(app, 1)
    assert shell.run("stream", "app.db", "--once", "--to", "kept", "--quiet").code == 0

    assert shell.run("list", "kept").code == 0
    ran = shell.run("restore", "kept", "--output", "out.db")
    assert ran.code == 0, ran.err
    assert count_in(shell.folder / "out.db") == 1


def test_a_restore_over_the_live_file_by_txid_keeps_an_undo_copy(shell, app):
    for value in range(3):
        commit(app, value)
        assert shell.run("stream", "app.db", "--once", "--quiet").code == 0
    app.close()

    ran = shell.run("restore", "app.db", "--at", "0000000000000002", "--replace")
    assert ran.code == 0, ran.err
    assert "Proved: every checksum of the stream" in ran.out
    assert count_in(shell.folder / "app.db") == 2
    assert len(list(shell.folder.glob("app.db.undo-*"))) == 1

    # And the stream goes on from there: what was undone is part of its history.
    ran = shell.run("stream", "app.db", "--once", "--json")
    assert ran.json["txid"] == "0000000000000004"
    assert shell.run("restore", "app.db", "--at", "0000000000000003", "--output", "o.db").code == 0
    assert count_in(shell.folder / "o.db") == 3


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("stream", "none.db", "--once"), 11, "no database at"),
        (("stream", "app.db", "--sync-interval", "1ms"), 2, "50ms to 1h"),
        (("stream", "app.db", "--sync-interval", "soon"), 2, "soon"),
        (("stream", "app.db", "--once", "--exec", "true"), 2, "exclude"),
        (("stream", "app.db", "--exec", "no-such-program"), 11, "no-such-program"),
        (("restore", "app.db", "--at", "00000000000000ff", "--output", "o.db"), 11, "00000000"),
    ],
)
def test_what_cannot_be_is_said_with_a_hint(shell, app, arguments, code, said):
    assert shell.run("stream", "app.db", "--once", "--quiet").code == 0
    ran = shell.run(*arguments)
    assert ran.code == code, ran.err
    assert said in ran.err
    assert "hint: " in ran.err


def test_an_application_run_by_exec_ends_the_stream_and_gives_its_code(shell, app):
    script = "import sqlite3; c = sqlite3.connect('app.db'); c.execute('INSERT INTO t VALUES (5)')"
    ran = shell.run("stream", "app.db", "--exec", f'python3 -c "{script}; c.commit(); exit(7)"')
    assert ran.code == 7
    assert shell.run("restore", "app.db", "--output", "o.db").code == 0
    assert count_in(shell.folder / "o.db") == 1


def test_a_drill_proves_the_stream_too_and_any_txid(shell, app):
    for value in range(2):
        commit(app, value)
        assert shell.run("stream", "app.db", "--once", "--quiet").code == 0
    assert shell.run("drill", "app.db", "--json").json["restore_point"]["txid"] == f"{2:016x}"
    assert shell.run("backup", "app.db", "--quiet").code == 0

    both = shell.run("drill", "app.db", "--json").json
    assert (both["result"], both["restore_point"]["kind"]) == ("pass", "snapshot")
    assert (both["stream"]["result"], both["stream"]["recorded"]) == ("pass", True)
    assert both["stream"]["restore_point"]["txid"] == f"{2:016x}"
    assert shell.run("drill", "app.db", "--at", f"{1:016x}").code == 0

    shown = shell.run("list", "app.db", "--json").json["restore_points"]
    proofs = {one["txid"]: one["proof"] for one in shown}
    assert all(proofs[f"{txid:016x}"]["result"] == "pass" for txid in (1, 2))


def test_a_drill_of_a_damaged_stream_fails(shell, app):
    commit(app, 1)
    assert shell.run("stream", "app.db", "--once", "--quiet").code == 0
    (file,) = shell.folder.rglob("*.ltx")
    data = bytearray(file.read_bytes())
    data[-30] ^= 1
    file.write_bytes(data)

    ran = shell.run("drill", "app.db")
    assert ran.code == 41, ran.err
    assert "checksums: FAILED" in ran.out


def test_status_is_well_with_a_stream_alone_and_says_how_far_it_is(shell, app):
    commit(app, 1)
    assert shell.run("stream", "app.db", "--once", "--quiet").code == 0
    ran = shell.run("status", "app.db", "--json")
    (found,) = ran.json["databases"]
    assert (ran.code, found["health"]) == (0, "ok")
    assert [one["txid"] for one in found["streams"]] == [f"{1:016x}"]
    assert found["local"] == {
        "killed": {"count": 0, "since": None},
        "spooled": {"count": 0, "size_bytes": 0, "since": None},
    }


def test_two_databases_of_one_name_and_host_never_share_a_stream(shell, app):
    """Else each would go on from the other, and a restore would give the one or the other."""
    commit(app, 1)
    assert shell.run("stream", "app.db", "--once", "--to", "kept", "--quiet").code == 0
    (shell.folder / "other").mkdir()
    with closing(sqlite3.connect(shell.folder / "other" / "app.db")) as other:
        other.execute("CREATE TABLE t(a)")
        other.commit()

    ran = shell.run("stream", "other/app.db", "--once", "--to", "kept")
    assert ran.code == 12
    assert f"the stream of {shell.folder / 'app.db'}" in ran.err
    assert "--take-over" in ran.err
    assert len(list((shell.folder / "kept").rglob("*.ltx"))) == 1

    assert shell.run("stream", "other/app.db", "--once", "--to", "kept", "--take-over").code == 0
    assert shell.run("restore", "kept", "--output", "o.db").code == 0
    assert count_in(shell.folder / "o.db") == 0


def test_status_counts_what_a_stream_could_not_ship(shell, app):
    commit(app, 1)
    assert shell.run("stream", "app.db", "--once", "--quiet").code == 0
    store = shell.folder / "app.db-backups"
    away = store.rename(shell.folder / "away")
    store.write_text("")
    commit(app, 2)
    assert shell.run("stream", "app.db", "--once", "--quiet").code != 0
    store.unlink()
    away.rename(store)

    (found,) = shell.run("status", "app.db", "--json").json["databases"]
    assert found["local"]["spooled"]["count"] == 1
    assert found["local"]["spooled"]["since"] is not None


def test_two_links_to_a_database_are_one_stream(shell, app):
    commit(app, 1)
    (shell.folder / "links").mkdir()
    (shell.folder / "links" / "app.db").symlink_to(shell.folder / "app.db")
    state = {"LITEKEEP_STATE": str(shell.folder / "state")}
    for path in ("app.db", "links/app.db"):
        ran = shell.run("stream", path, "--once", "--to", "kept", "--json", **state)
        assert ran.code == 0, ran.err
    assert len(list((shell.folder / "state" / "stream").iterdir())) == 1
