"""Finding databases in a folder."""

from __future__ import annotations

import os
import sqlite3

import pytest

from litekeep.host.databases import find_databases


def make_database(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t(a)")
    connection.commit()
    connection.close()


def names(search, folder):
    return [str(item.path.relative_to(folder)) for item in search.found]


def test_databases_are_known_by_their_first_bytes_nearest_first(tmp_path):
    make_database(tmp_path / "var/lib/deep.bin")
    make_database(tmp_path / "instance/app")
    (tmp_path / "fake.db").write_bytes(b"no database, whatever the name" * 100)
    (tmp_path / "empty.db").touch()

    search = find_databases(tmp_path)

    assert names(search, tmp_path) == ["instance/app", "var/lib/deep.bin"]
    assert search.is_whole


def test_backups_undo_copies_and_tools_are_passed_over(tmp_path):
    for name in (
        "app.db",
        "app.db.undo-20250908_120001",
        "app.db.restoring.db",
        "app.db-backups/copy.db",
        "app_backups/sqlite/copy.db",
        ".cache/tool.db",
        "node_modules/pkg/x.db",
    ):
        make_database(tmp_path / name)

    assert names(find_databases(tmp_path), tmp_path) == ["app.db"]


def test_links_pipes_and_locked_folders_do_no_harm(tmp_path):
    make_database(tmp_path / "real.db")
    (tmp_path / "link.db").symlink_to(tmp_path / "real.db")
    (tmp_path / "loop").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe.db")
    (tmp_path / "locked").mkdir(mode=0)

    assert names(find_databases(tmp_path), tmp_path) == ["real.db"]


@pytest.mark.parametrize("bounds", [{"depth_max": 1}, {"entries_max": 2}])
def test_a_search_that_met_its_bound_says_so(tmp_path, bounds):
    make_database(tmp_path / "a/b/c/deep.db")

    search = find_databases(tmp_path, **bounds)

    assert search.found == ()
    assert not search.is_whole
