"""A store that cannot be opened fails alone, as one that does not answer does."""

from __future__ import annotations

import pytest

from tests.cli.conftest import count_rows, make_database

DISK = '[[store]]\nname = "disk"\nurl = "backups"\n'
DATABASES = '[[database]]\npath = "app.db"\n[[database]]\npath = "shop.db"\n'
BAD = {
    "secret": 'url = "s3://bucket/x"\naccess_key_id = "me"\nsecret_access_key = { env = "NONE" }\n',
    "scheme": 'url = "ftp://host/x"\n',
    "account": 'url = "az://container/x"\n',
    "password": 'url = "s3://me:tattle@bucket/x"\n',
}


@pytest.fixture(params=BAD)
def configured(shell, request):
    """Two databases, a disk, and a store that cannot be opened."""
    for name in ("app.db", "shop.db"):
        make_database(shell.folder / name)
    bad = f'[[store]]\nname = "bad"\n{BAD[request.param]}'
    (shell.folder / "litekeep.toml").write_text(f"{DISK}{bad}{DATABASES}")
    return shell


def test_the_other_stores_get_their_snapshots(configured):
    ran = configured.run("backup")

    assert ran.code == 2
    assert len(list((configured.folder / "backups").glob("*/*/*/*.db.gz"))) == 2
    assert ran.out.count("[sqlite-backup] Failed: ") == 2
    assert "error: app: " in ran.err
    assert "error: shop: " in ran.err
    assert "tattle" not in ran.out + ran.err
    for found in configured.run("backup", "--json").json["backups"]:
        disk, bad = found["stores"]
        assert (disk["ok"], bad["ok"], bad["error"]["code"]) == (True, False, 2)
    assert "could not clean up" not in configured.run("backup").out


def test_what_the_others_hold_is_listed_verified_and_restored(configured):
    configured.run("backup")

    listed = configured.run("list", "--json").json["databases"]
    assert [len(item["restore_points"]) for item in listed] == [1, 1]
    assert [item["unread"][0]["error"]["code"] for item in listed] == [2, 2]
    plain = configured.run("list")
    assert plain.code == 0
    assert plain.err.count(" is not listed: ") == 2
    assert "tattle" not in plain.err
    verified = configured.run("verify", "app", "--json")
    assert (verified.code, verified.json["checked"]) == (2, 1)
    restored = configured.run("restore", "app", "--output", "copy.db")
    assert restored.code == 0
    assert " was not looked at: " in restored.out
    assert count_rows(configured.folder / "copy.db") == 3


def test_a_dry_run_says_that_a_store_cannot_be_opened(configured):
    ran = configured.run("backup", "--dry-run")

    assert ran.code == 2
    assert ran.err.count("error: app: ") == 1
    assert "tattle" not in ran.out + ran.err


def test_where_no_store_opens_nothing_is_done(shell, app):
    (shell.folder / "litekeep.toml").write_text(f'[[store]]\nname = "bad"\n{BAD["secret"]}')

    ran = shell.run("backup", "app.db")

    assert ran.code == 2
    assert ran.out == ""
    assert "NONE" in ran.err
    assert shell.run("list", "app.db").code == 2


def test_a_database_whose_stores_do_not_open_does_not_hide_the_others(shell, app):
    make_database(shell.folder / "shop.db")
    (shell.folder / "litekeep.toml").write_text(
        f'{DISK}[[store]]\nname = "bad"\n{BAD["secret"]}'
        '[[database]]\npath = "app.db"\nstores = ["bad"]\n'
        '[[database]]\npath = "shop.db"\nstores = ["disk"]\n'
    )

    backed_up = shell.run("backup", "--quiet")
    assert backed_up.code == 2
    assert backed_up.err.startswith("error: app: ")
    listed = shell.run("list", "--json")
    assert listed.code == 2
    app_found, shop_found = listed.json["databases"]
    assert app_found["error"]["code"] == 2
    assert len(shop_found["restore_points"]) == 1


def test_quiet_says_which_database_an_error_and_a_warning_are_about(shell, app):
    (shell.folder / "litekeep.toml").write_text(
        f'{DISK}[[database]]\npath = "app.db"\n[[database]]\npath = "none.db"\n'
    )

    ran = shell.run("backup", "--quiet")

    assert ran.code == 11
    assert ran.err.startswith("error: none: no database at ")
