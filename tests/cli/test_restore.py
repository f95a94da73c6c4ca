"""`litekeep list`, `restore` and `verify`."""

from __future__ import annotations

import gzip
import shlex
import sqlite3
import subprocess

import pytest

from litekeep.documents import decode_document, encode_document
from tests.cli.conftest import count_rows, make_database


def add_rows(path, count=1):
    connection = sqlite3.connect(path)
    connection.executemany("INSERT INTO t(a) VALUES (?)", [("new",)] * count)
    connection.commit()
    connection.close()


@pytest.fixture
def names(shell, app):
    """Two snapshots: of three rows, then of four."""
    first = shell.run("backup", "app.db", "--json").json["name"]
    add_rows(app)
    second = shell.run("backup", "app.db", "--json", "--label", "second").json["name"]
    return first, second


def test_list_shows_the_newest_first(shell, names):
    head, *rows = shell.run("list", "app.db").lines

    assert head.split() == [
        *("TIME", "AGE", "KIND", "SIZE", "STORED", "STATE", "PROOF", "NAME", "LABEL")
    ]
    assert [names[1] in rows[0], "second" in rows[0], names[0] in rows[1]] == [True] * 3
    assert len(rows) == 2


def test_list_has_the_contracts_shape(shell, app, names):
    found = shell.run("list", "app.db", "--json").json

    assert (found["gaps"], found["window"]) == ([], None)
    newest, oldest = found["restore_points"]
    assert newest["name"] == names[1]
    assert newest["kind"] == "snapshot"
    assert newest["size_bytes"] == app.stat().st_size
    assert newest["store"] == f"{app}-backups"
    assert (newest["txid"], newest["held"], newest["proof"]) == (None, False, None)
    assert (newest["label"], oldest["label"]) == ("second", None)
    assert newest["state"] == "ok"
    assert newest["time"] > oldest["time"]


def test_the_time_that_list_shows_aims_at_that_snapshot(shell, names):
    """To the second for a person, to the millisecond in JSON."""
    for column in (0, 1):
        shown = shell.run("list", "app.db").lines[1 + column][:23]
        exact = shell.run("list", "app.db", "--json").json["restore_points"][column]["time"]
        for text in (shown, exact):
            ran = shell.run("restore", "app.db", "-o", "x.db", "--at", text, "--dry-run", "--json")
            point = ran.json["plan"]["restore_point"]
            assert point["time"][:19] == shown[:19].replace(" ", "T"), text
        assert point["name"] == names[1 - column]


def test_times_are_shown_and_read_in_the_configured_zone(shell, names):
    (shell.folder / "litekeep.toml").write_text('timezone = "Asia/Tokyo"\n')

    row = shell.run("list", "app.db").lines[1]
    stamp = row[:19]

    assert row[20:23] == "JST"
    plan = shell.run("restore", "app.db", "-o", "x.db", "--at", stamp, "--dry-run", "--json")
    assert plan.json["plan"]["restore_point"]["name"] == names[1]


def test_list_of_nothing_says_what_to_do(shell, app):
    ran = shell.run("list", "app.db")

    assert ran.code == 0
    place = shell.folder.resolve() / "app.db-backups"
    assert ran.lines == [f"no restore points yet in {place}; litekeep backup makes one"]
    assert f"no restore points in {place}" in shell.run("restore", "app.db").err
    assert shell.run("list", "app.db", "--json").json["restore_points"] == []


def test_list_tells_several_databases_apart(shell, names):
    make_database(shell.folder / "shop.db")
    (shell.folder / "litekeep.toml").write_text(
        '[[database]]\npath = "app.db"\n[[database]]\npath = "shop.db"\n'
    )

    assert [line for line in shell.run("list").lines if line.endswith(":")] == ["app:", "shop:"]
    found = shell.run("list", "--json").json["databases"]
    assert [item["database"] for item in found] == ["app", "shop"]


def test_restore_brings_back_what_was_and_tells_how_to_undo_it(shell, app, names):
    add_rows(app, 10)

    ran = shell.run("restore", "app.db", "--replace", "--at", names[0])

    assert ran.code == 0, ran.err
    assert count_rows(app) == 3
    (undo_line,) = [line for line in ran.lines if "To undo: " in line]
    command = shlex.split(undo_line.partition("To undo: ")[2])
    assert command[0] == "litekeep"
    assert shell.run(*command[1:]).code == 0
    assert count_rows(app) == 14


def test_restore_prints_its_plan_first(shell, app, names):
    ran = shell.run("restore", "app.db", "--replace", "--dry-run")

    assert [line.removeprefix("[sqlite-restore] ").split(" (")[0] for line in ran.lines] == [
        f"Restore {names[1]}",
        f"  from {app}-backups",
        f"  to {app}",
        "  in the place of the file there, which is kept as an undo copy",
    ]
    assert count_rows(app) == 4
    assert not list(shell.folder.glob("*.undo-*"))


def test_restore_has_the_contracts_shape(shell, app, names):
    found = shell.run("restore", "app.db", "--output", "copy.db", "--json").json

    assert found["source"] == f"{app}-backups"
    assert found["restored"]["name"] == names[1]
    assert found["output"] == str(shell.folder / "copy.db")
    assert (found["undo"], found["proved"]) == (None, True)
    assert found["bytes_fetched"] == found["restored"]["stored_size_bytes"]
    assert found["requests"] >= 1
    replaced = shell.run("restore", "app.db", "--replace", "--json").json
    assert replaced["undo"].startswith(f"{app}.undo-")


def test_an_existing_target_is_exit_3(shell, app, names):
    ran = shell.run("restore", "app.db")

    assert ran.code == 3
    assert "--replace" in ran.err
    assert count_rows(app) == 4


def test_a_target_that_is_open_is_refused_and_the_process_named(shell, app, names):
    """The file is in use by a process of its own, as an application's would be."""
    script = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT * FROM t')"
    with subprocess.Popen(
        ["python3", "-c", f"{script}; print(1, flush=True); sys.stdin.read()", app],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        try:
            assert holder.stdout is not None
            holder.stdout.readline()
            ran = shell.run("restore", "app.db", "--replace")
        finally:
            holder.kill()

    assert ran.code == 14
    assert str(holder.pid) in ran.err


def test_a_time_says_how_far_the_point_lies_from_it(shell, names):
    ran = shell.run("restore", "app.db", "-o", "x.db", "--at", "2100-01-01", "--dry-run")

    assert any("before the time asked for" in line for line in ran.lines)


def test_a_time_before_the_first_point_names_it(shell, names):
    ran = shell.run("restore", "app.db", "-o", "x.db", "--at", "1 week ago")

    assert ran.code == 11
    assert names[0] in ran.err


def test_a_name_that_is_not_there_names_the_nearest(shell, names):
    ran = shell.run("restore", "app.db", "-o", "x.db", "--at", "app_20200101_000000")

    assert ran.code == 11
    assert names[0] in ran.err


def test_a_txid_needs_a_stream(shell, names):
    ran = shell.run("restore", "app.db", "-o", "x.db", "--at", "00000000000004d2")

    assert ran.code == 11
    assert "no stream" in ran.err


def test_a_store_does_not_say_where_to_restore_to(shell, names):
    assert shell.run("restore", "app.db-backups").code in (0, 2, 3)
    ran = shell.run("restore", f"file://{shell.folder}/app.db-backups")

    assert ran.code == 2
    assert "--output" in ran.err


def test_a_folder_of_backups_restores_where_the_database_is_gone(shell, app, names):
    app.unlink()

    assert shell.run("restore", "app.db").code == 0
    assert count_rows(app) == 4


def test_a_file_of_anybodys_restores_and_is_marked_unproven(shell, app):
    (shell.folder / "found.gz").write_bytes(gzip.compress(app.read_bytes()))

    ran = shell.run("restore", "found.gz", "-o", "copy.db", "--json")

    assert ran.code == 0, ran.err
    assert (ran.json["restored"], ran.json["proved"]) == (None, False)
    assert count_rows(shell.folder / "copy.db") == 3
    assert shell.run("restore", "found.gz", "-o", "c2.db", "--at", "2h ago").code == 2


def test_verify_reads_all_and_says_so(shell, names):
    ran = shell.run("verify", "app.db")

    assert ran.code == 0
    assert ran.lines[-1].startswith("[sqlite-verify] Read 2 snapshots, ")
    found = shell.run("verify", "app.db", "--json").json
    assert (found["checked"], found["ok"], found["damaged"]) == (2, True, [])
    assert found["bytes"] > 0
    assert shell.run("verify", "app.db", "--sample", "50%", "--json").json["checked"] == 1


def test_verify_names_what_is_damaged(shell, names):
    (data,) = (shell.folder / "app.db-backups").glob(f"*/*/{names[0]}.db.gz")
    damaged = bytearray(data.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    data.write_bytes(damaged)

    ran = shell.run("verify", "app.db")
    found = shell.run("verify", "app.db", "--json")

    assert ran.code == found.code
    assert 20 <= ran.code < 24
    assert any(names[0] in line and "Damaged: " in line for line in ran.lines)
    (damage,) = found.json["damaged"]
    assert damage["object"].endswith(f"{names[0]}.db.gz")
    assert damage["code"] == ran.code
    assert not found.json["ok"]


def test_the_other_copy_is_restored_where_one_is_damaged(shell, app):
    name = shell.run("backup", "app.db", "--to", "a", "--to", "b", "--json").json["name"]
    (shell.folder / "litekeep.toml").write_text(
        '[[store]]\nname = "a"\nurl = "a"\n[[store]]\nname = "b"\nurl = "b"\n'
        '[[database]]\npath = "app.db"\n'
    )
    (data,) = (shell.folder / "a").glob(f"*/*/{name}.db.gz")
    data.write_bytes(data.read_bytes()[:-9])

    ran = shell.run("restore", "app", "-o", "copy.db")

    assert ran.code == 0, ran.err
    assert any("Warning: " in line and str(data) in line for line in ran.lines)
    assert count_rows(shell.folder / "copy.db") == 3


@pytest.fixture
def away(shell):
    """A second store that cannot be reached."""
    (shell.folder / "litekeep.toml").write_text(
        '[[store]]\nname = "disk"\nurl = "disk"\n'
        '[[store]]\nname = "away"\nurl = "s3://bucket/x"\nendpoint = "http://127.0.0.1:9"\n'
        'access_key_id = "A"\nsecret_access_key = "S"\nretry = "0s"\n'
        '[[database]]\npath = "app.db"\n'
    )


def test_a_store_that_is_away_keeps_nobody_from_the_others(shell, app, away):
    """It is said, on standard error, and what the others hold is shown and restored."""
    backup = shell.run("backup", "--json")
    assert 30 < backup.code < 40
    assert [store["ok"] for store in backup.json["stores"]] == [True, False]

    plain = shell.run("list")
    assert (plain.code, len(plain.lines)) == (0, 2)
    assert plain.err.startswith("warning: s3://bucket/x is not listed: ")
    listed = shell.run("list", "--json")
    assert [item["store"] for item in listed.json["unread"]] == ["s3://bucket/x"]

    restored = shell.run("restore", "-o", "copy.db")
    assert restored.code == 0, restored.err
    assert count_rows(shell.folder / "copy.db") == 3
    verified = shell.run("verify", "--json")
    assert 30 < verified.code < 40
    assert verified.json["checked"] == 1


def test_where_no_store_answers_the_error_is_the_stores(shell, app, away):
    text = (shell.folder / "litekeep.toml").read_text()
    (shell.folder / "litekeep.toml").write_text(text.partition('url = "disk"\n')[2])

    for command in (["list"], ["restore", "-o", "copy.db"]):
        assert 30 < shell.run(*command).code < 40
    assert not (shell.folder / "copy.db").exists()


def test_verify_of_nothing_is_not_found(shell, app):
    """A mistyped path in cron must not look like a good answer."""
    ran = shell.run("verify", "app.db")

    assert (ran.code, ran.out) == (11, "")
    assert ran.err.startswith("error: there are no snapshots to verify")
    assert shell.run("verify", "app.db", "--json").json["ok"] is False
    for command in ("verify", "list", "restore"):
        ran = shell.run(command, "ap.db")
        assert ran.code == 11
        assert f"no database at {shell.folder / 'ap.db'}" in ran.err


def test_databases_that_share_a_place_do_not_look_damaged(shell, app):
    """`latest` is the one that was backed up last, whosever it is."""
    make_database(shell.folder / "shop.db", rows=9)
    for name in ("app.db", "shop.db"):
        shell.run("backup", name, "--to", "all")

    for name in ("app", "shop"):
        ran = shell.run("verify", "all", "--database", name)
        assert ran.code == 0, ran.out
    latest = shell.folder / "all/latest.db.gz"
    latest.write_bytes(latest.read_bytes()[:-1])
    assert shell.run("verify", "all", "--database", "app").code in (21, 22)


def test_an_object_of_a_store_is_not_replaced_by_a_restore(shell, app):
    shell.run("backup", "app.db", "--format", "none")
    shell.run("backup", "app.db")
    for path in (shell.folder / "app.db-backups").rglob("*.*"):
        before = path.read_bytes()
        if path.name.startswith("."):
            continue  # of the store itself: no object

        ran = shell.run("restore", "app.db", "--output", path, "--replace")

        assert (ran.code, path.read_bytes()) == (2, before)
        assert "is an object of a store" in ran.err


@pytest.fixture
def mixed(shell):
    """Two databases of one file name in one place, the second backed up last."""
    shell.environ["LOCAL_BACKUP_DIR"] = "lb"
    make_database(shell.folder / "p1/app.db", rows=1)
    make_database(shell.folder / "p2/app.db", rows=2)
    assert shell.run("backup", "p1/app.db").code == 0
    return shell


def test_a_backup_warns_once_where_two_databases_share_a_place(mixed):
    first, second = mixed.run("backup", "p2/app.db"), mixed.run("backup", "p2/app.db")

    (warning,) = [line for line in first.lines if "Warning" in line]
    assert f"{mixed.folder}/p1/app.db on " in warning
    assert f"{mixed.folder}/p2/app.db on " in warning
    assert "a prefix or a name of its own" in first.out
    assert first.code == 0
    assert "Warning" not in second.out


def test_one_database_is_not_restored_over_another_of_its_name(mixed):
    name = mixed.run("list", "p1/app.db", "--json").json["restore_points"][0]["name"]
    mixed.run("backup", "p2/app.db")

    for arguments in (["p1/app.db", "--replace"], ["p1/app.db", "--replace", "--dry-run"]):
        ran = mixed.run("restore", *arguments)
        assert ran.code == 2
        assert f"is of {mixed.folder}/p2/app.db, not of {mixed.folder}/p1/app.db" in ran.err
        assert name in ran.err
    assert count_rows(mixed.folder / "p1/app.db") == 1
    (mixed.folder / "p1/app.db").unlink()
    assert mixed.run("restore", "p1/app.db").code == 2
    assert mixed.run("restore", "p1/app.db", "--at", name).code == 0
    assert count_rows(mixed.folder / "p1/app.db") == 1


def test_who_names_the_target_gets_the_other_database_and_is_told(mixed):
    mixed.run("backup", "p2/app.db")

    ran = mixed.run("restore", "p1/app.db", "--output", "p1/app.db", "--replace")

    assert ran.code == 0
    assert f"taken of {mixed.folder}/p2/app.db on " in ran.out
    assert count_rows(mixed.folder / "p1/app.db") == 2


def test_a_snapshot_of_another_host_is_restored_with_a_note(shell, app):
    shell.run("backup", "app.db")
    (manifest,) = (shell.folder / "app.db-backups").glob("*/*/*.json")
    fields = decode_document(manifest.read_bytes())
    fields["origin"] = {"host": "elsewhere", "path": "/srv/app.db"}
    manifest.write_bytes(encode_document(fields))

    ran = shell.run("restore", "app.db", "--replace")

    assert ran.code == 0
    assert "taken of /srv/app.db on elsewhere" in ran.out
    again = shell.run("backup", "app.db", "--quiet")
    assert again.code == 0
    assert again.err.count("/srv/app.db on elsewhere") == 1
    (point, _) = shell.run("list", "app.db", "--json").json["restore_points"]
    assert point["origin"]["path"] == str(app)


def test_a_snapshot_of_the_same_database_by_another_name_is_its_own(shell, app):
    (shell.folder / "link.db").symlink_to("app.db")
    shell.run("backup", "app.db", "--to", "there")
    shell.run("backup", "link.db", "--to", "there/link")

    assert "taken of" not in shell.run("restore", "app.db", "--replace").out
    listed = shell.run("list", "there/link", "--json").json["restore_points"]
    assert listed[0]["origin"]["path"] == str(app)


def test_a_newer_point_that_is_damaged_is_named(shell, app, names):
    """In the plan, in JSON, in the restore itself: never silently an older one."""
    (manifest,) = (shell.folder / "app.db-backups").glob(f"*/*/{names[1]}.db.gz.json")
    manifest.write_text("{}")
    restore = ["restore", "app.db", "-o", "copy.db"]

    dry = shell.run(*restore, "--dry-run")
    assert f"Warning: passing over {names[1]}: not a manifest" in dry.out
    assert f"warning: passing over {names[1]}: " in shell.run(*restore, "--dry-run", "-q").err
    planned = shell.run(*restore, "--dry-run", "--json").json["plan"]
    assert [one["name"] for one in planned["passed_over"]] == [names[1]]
    done = shell.run(*restore, "--json")
    assert [one["name"] for one in done.json["passed_over"]] == [names[1]]
    assert f"warning: passing over {names[1]}: " in done.err
    named = shell.run("restore", "app.db", "-o", "named.db", "--at", names[1])
    assert named.code == 22
    assert not (shell.folder / "named.db").exists()


def test_a_dry_run_names_the_store_that_was_not_looked_at(shell, app, away):
    shell.run("backup")

    dry = shell.run("restore", "-o", "copy.db", "--dry-run")
    assert "Warning: s3://bucket/x was not looked at: " in dry.out
    planned = shell.run("restore", "-o", "copy.db", "--dry-run", "--json").json["plan"]
    assert [item["store"] for item in planned["unread"]] == ["s3://bucket/x"]


def test_an_unset_variable_is_not_the_newest_point(shell, app, names):
    """`--at "$WHEN"` must not restore something else than was meant."""
    for command in (["restore", "app.db", "-o", "copy.db"], ["dump", "app.db"]):
        ran = shell.run(*command, "--at", "")
        assert (ran.code, ran.out) == (2, "")
    assert not (shell.folder / "copy.db").exists()


def test_a_point_within_the_named_second_says_so(shell, app, names):
    exact = shell.run("list", "app.db", "--json").json["restore_points"][0]["time"]

    ran = shell.run("restore", "app.db", "-o", "x.db", "--dry-run", "--at", f"{exact[:19]}Z")
    if exact[20:23] != "000":
        assert "after the time asked for (names show seconds)" in ran.out
    ran = shell.run("restore", "app.db", "-o", "x.db", "--dry-run", "--at", exact)
    assert "  at the time asked for" in ran.out


def hurt(path):
    """Damage a page of a table, so that it can be opened and fails its check."""
    make_database(path, rows=20_000)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2 // 4096 * 4096)
        file.write(b"\x55" * 4096)
    return path


def test_the_undo_copy_of_a_damaged_database_can_be_undone(shell, app, names):
    hurt_bytes = hurt(shell.folder / "hurt.db").read_bytes()
    app.write_bytes(hurt_bytes)
    ran = shell.run("restore", "app.db", "--replace")
    assert ran.code == 0, ran.err

    (undo_line,) = [line for line in ran.lines if "To undo: " in line]
    undone = shell.run(*shlex.split(undo_line.partition("To undo: litekeep ")[2]))
    assert undone.code == 0, undone.err
    assert "Not proved: there is no manifest to compare it with; quick_check: fail" in undone.out
    assert app.read_bytes() == hurt_bytes


def test_the_undo_copy_of_what_is_no_database_is_undone_by_mv(shell, app, names):
    garbage = b"\x55" * 10_000
    app.write_bytes(garbage)
    wal = shell.folder / "app.db-wal"
    wal.write_bytes(b"what was in the log")
    ran = shell.run("restore", "app.db", "--replace")
    assert ran.code == 0, ran.err
    assert count_rows(app) == 4

    (line,) = [line for line in ran.lines if "To undo, while no application runs: " in line]
    subprocess.run(line.partition("runs: ")[2], shell=True, check=True)
    assert (app.read_bytes(), wal.read_bytes()) == (garbage, b"what was in the log")
    assert not list(shell.folder.glob("*.undo-*"))


def test_where_only_a_log_lay_it_is_kept_and_said(shell, app, names):
    """The database was removed by hand, and what lay beside it was not."""
    app.unlink()
    wal = shell.folder / "app.db-wal"
    wal.write_bytes(b"what was in the log")

    ran = shell.run("restore", "app.db", "--replace")

    assert ran.code == 0, ran.err
    assert count_rows(app) == 4
    assert "There was no database, only what lay beside it, which is kept: -wal" in ran.out
    (kept,) = shell.folder.glob("app.db.undo-*-wal")
    assert kept.read_bytes() == b"what was in the log"


def foreign(shell, path, stamp="20250908_120001"):
    """Keep a file as an older script would: without a manifest."""
    folder = shell.folder / "store"
    folder.mkdir(exist_ok=True)
    file = folder / f"app_{stamp}.db.gz"
    file.write_bytes(gzip.compress(path.read_bytes()))
    return file.name.removesuffix(".db.gz")


def test_what_is_named_is_restored_though_its_check_fails(shell):
    name = foreign(shell, hurt(shell.folder / "hurt.db"))

    latest = shell.run("restore", "store", "-o", "copy.db")
    assert latest.code == 23
    assert "--at" in latest.err
    assert not (shell.folder / "copy.db").exists()
    named = shell.run("restore", "store", "-o", "copy.db", "--at", name, "--json")
    assert (named.code, named.json["proved"]) == (0, False)
    assert "quick_check: failed: " in named.json["unproven"]


def test_a_restore_point_that_fails_its_check_is_dumped(shell):
    """What is left of it is wanted, whatever SQLite says."""
    foreign(shell, hurt(shell.folder / "hurt.db"))

    for source in (["store", "--at", "latest"], ["store/app_20250908_120001.db.gz"]):
        ran = shell.run("dump", *source)
        assert ran.code == 20
        assert ran.out.count("INSERT INTO") > 1000
