"""
The library's public functions, where they differ from the commands.
"""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

import litekeep
from litekeep.codec.formats import codec_named
from litekeep.engine import events
from litekeep.errors import AccessDenied, DatabaseUnusable
from litekeep.store.directory import DirectoryStore


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "app.db"
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE t(a); INSERT INTO t VALUES (1), (2)")
    connection.close()
    return path


def test_a_bucket_of_the_application_is_not_the_library_s(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`S3_BUCKET` in an application's environment does not send its database there."""
    monkeypatch.setenv("S3_BUCKET", "the-applications-own")
    monkeypatch.setenv("LOCAL_BACKUP_DIR", str(database.parent / "elsewhere"))

    result = litekeep.backup(database, state_dir=database.parent / "state")

    assert [outcome.url for outcome in result.stores] == [f"{database}-backups"]
    assert [point.name for point in litekeep.restore_points(database).points] == [result.name]


def test_latest_of_another_database_is_left_alone(database: Path) -> None:
    """Of two databases in one place the second does not take the first one's latest."""
    other = database.with_name("other.db")
    connection = apsw.Connection(str(other))
    connection.execute("CREATE TABLE u(a)")
    connection.close()
    folder, state = database.parent / "backups", database.parent / "state"
    litekeep.backup(database, to=[str(folder)], state_dir=state)
    before = (folder / "latest.db.gz").read_bytes()
    heard: list[events.Event] = []

    result = litekeep.backup(other, to=[str(folder)], state_dir=state, report=heard.append)

    assert (folder / "latest.db.gz").read_bytes() == before
    assert [outcome.latest for outcome in result.stores] == [False]
    assert [e.message for e in heard if isinstance(e, events.Warned)] == [
        f"latest in {folder} belongs to another database and did not move"
    ]
    assert litekeep.backup(database, to=[str(folder)], state_dir=state).stores[0].latest is True


@pytest.mark.parametrize("may_delete", [True, False])
def test_there_is_one_latest_whatever_the_format(
    database: Path, monkeypatch: pytest.MonkeyPatch, may_delete: bool
) -> None:
    """A `latest` of the format before would be restored for ever, and grow old."""

    def denied(self: DirectoryStore, name: str) -> None:
        raise AccessDenied("deleting is not allowed")

    folder, state = database.parent / "backups", database.parent / "state"
    if not may_delete:
        monkeypatch.setattr(DirectoryStore, "delete", denied)
    for format_name in ("gzip", "zstd", "none", "gzip"):
        litekeep.backup(database, to=[str(folder)], state_dir=state, format=format_name)

        (latest,) = (path for path in folder.glob("latest.db*") if path.stat().st_size > 0)
        assert latest.name == f"latest.db{codec_named(format_name).suffix}"
    assert litekeep.verify(folder, state_dir=state).damaged == ()


def test_verify_names_a_stale_latest(database: Path) -> None:
    folder, state = database.parent / "backups", database.parent / "state"
    first = litekeep.backup(database, to=[str(folder)], state_dir=state)
    stale = (folder / "latest.db.gz").read_bytes()
    second = litekeep.backup(database, to=[str(folder)], state_dir=state, format="zstd")
    (folder / "latest.db.gz").write_bytes(stale)

    (damage,) = litekeep.verify(folder, state_dir=state).damaged

    assert damage.object == "latest.db.gz"
    assert first.name in damage.error.message
    assert "latest.db.zst is newer" in damage.error.message
    assert second.name != first.name


def test_a_latest_of_another_database_stays_when_the_format_differs(database: Path) -> None:
    other = database.with_name("other.db")
    connection = apsw.Connection(str(other))
    connection.execute("CREATE TABLE u(a)")
    connection.close()
    folder, state = database.parent / "backups", database.parent / "state"
    litekeep.backup(database, to=[str(folder)], state_dir=state)
    before = (folder / "latest.db.gz").read_bytes()

    litekeep.backup(other, to=[str(folder)], state_dir=state, format="zstd")

    assert (folder / "latest.db.gz").read_bytes() == before


@pytest.mark.parametrize("is_first", [False, True], ids=["the far store", "the nearest store"])
def test_what_stands_is_told_with_the_error(database: Path, is_first: bool) -> None:
    """Where one store fails, the error carries the result of the other."""
    folder = database.parent / "backups"
    in_the_way = database.parent / "file"
    in_the_way.write_text("no folder")
    stores = [str(folder), str(in_the_way / "below")]

    with pytest.raises(litekeep.LitekeepError) as raised:
        litekeep.backup(
            database,
            to=stores[::-1] if is_first else stores,
            state_dir=database.parent / "state",
        )

    result = raised.value.result
    assert isinstance(result, litekeep.BackupResult)
    assert [outcome.error is None for outcome in result.stores] == [not is_first, is_first]
    assert [point.name for point in litekeep.restore_points(folder).points] == [result.name]


def test_a_backup_does_not_run_over_a_restore_that_was_cut_short(database: Path) -> None:
    """While an intent waits, the file is neither the old nor the new database."""
    intent, ready = (database.with_name(f"app.db.restoring{end}") for end in ("", ".db"))
    intent.write_text("{}")
    ready.write_bytes(database.read_bytes())

    with pytest.raises(DatabaseUnusable, match="was cut short"):
        litekeep.backup(database, state_dir=database.parent / "state")

    ready.unlink()  # it has taken the database's name: all that is left is to forget it
    assert litekeep.backup(database, state_dir=database.parent / "state").integrity == "ok"
