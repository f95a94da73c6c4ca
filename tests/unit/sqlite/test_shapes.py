"""
Databases of every shape, and files that are none.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from pathlib import Path

import apsw
import pytest

from litekeep.errors import CorruptionError, DatabaseUnusable, LitekeepError, NotADatabase, NotFound
from litekeep.ltx.checksum import DatabaseChecksum
from litekeep.sqlite.checking import CheckProcess
from litekeep.sqlite.connections import PATH_SIZE_MAX
from litekeep.sqlite.live import take_view
from tests.writers.application import Application
from tests.writers.reading import FLAG, bytes_of, copy_of, opened, plain_checksum
from tests.writers.shapes import make, make_beyond_lock_page, make_hot_journal

PAGE_SIZES = [512 << shift for shift in range(8)]

SHAPES = {
    "auto_vacuum full": ["PRAGMA auto_vacuum=1", "CREATE TABLE t(a)"],
    "auto_vacuum incremental": ["PRAGMA auto_vacuum=2", "CREATE TABLE t(a)"],
    "without rowid": ["CREATE TABLE t(a PRIMARY KEY, b) WITHOUT ROWID"],
    "strict": ["CREATE TABLE t(a TEXT NOT NULL, b ANY) STRICT"],
    "generated columns": ["CREATE TABLE t(a, b AS (upper(a)), c AS (length(a)) STORED NOT NULL)"],
    "utf-16": ["PRAGMA encoding='UTF-16be'", "CREATE TABLE t(a)"],
    "full text": ["CREATE VIRTUAL TABLE f USING fts5(a)", "CREATE TABLE t(a)"],
    "rtree": ["CREATE VIRTUAL TABLE r USING rtree(id, x, y)", "CREATE TABLE t(a)"],
    "partial and expression indexes": [
        "CREATE TABLE t(a)",
        "CREATE INDEX i ON t(length(a)) WHERE a > 'm'",
    ],
    "odd names": ['CREATE TABLE "t"(a)', 'CREATE TABLE "a ""quoted"" ünïcode 表"(b)'],
    "autoincrement": ["CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, a)"],
}
FILL = (
    "WITH n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 300) "
    "INSERT INTO t(a) SELECT i || hex(randomblob(200)) FROM n"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "app.db"


def assert_sound(path: Path) -> None:
    """The view is what SQLite sees: by its bytes, by its rows, by its check."""
    with take_view(path) as live:
        data = bytes_of(live)
        assert CheckProcess(live.view).result().result == "ok"
        checksum = DatabaseChecksum(live.view.page_size)
        checksum.add(1, data)
        assert checksum.value == plain_checksum(data, live.view.page_size)
    with opened(data) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        found = copy.execute("SELECT * FROM t ORDER BY a").fetchall()
    with Application(path) as app:
        assert [list(row) for row in found] == app.run("SELECT * FROM t ORDER BY a")


@pytest.mark.parametrize("journal_mode", ["DELETE", "WAL"])
@pytest.mark.parametrize("page_size", PAGE_SIZES)
def test_every_page_size(path, page_size, journal_mode):
    make(path, f"PRAGMA page_size={page_size}", "CREATE TABLE t(a)", FILL)
    make(path, f"PRAGMA journal_mode={journal_mode}")
    with Application(path) as app:
        app.run("PRAGMA wal_autocheckpoint=0; UPDATE t SET a = a || 'x' WHERE rowid % 50 = 0")
        with take_view(path) as live:
            assert live.view.page_size == page_size
            assert (live.view.frame_count > 0) == live.view.is_wal == (journal_mode == "WAL")
        assert_sound(path)


@pytest.mark.parametrize("journal_mode", ["DELETE", "WAL"])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape(path, shape, journal_mode):
    with Application(path) as app:
        for statement in SHAPES[shape]:
            app.run(statement)
        app.run(f"PRAGMA journal_mode={journal_mode}; PRAGMA wal_autocheckpoint=0")
        app.run(FILL)
        app.run("DELETE FROM t WHERE a > '5'")  # pages of the freelist, or a smaller file
        if shape == "full text":
            app.run("INSERT INTO f SELECT a FROM t")
        assert_sound(path)
    assert_sound(path)  # a log that nobody has open any more


def test_a_view_of_a_database_with_reserved_bytes_in_each_page(path):
    """Extensions for checksums and encryption keep bytes at each page's end."""
    with contextlib.closing(apsw.Connection(str(path))) as connection:
        connection.reserve_bytes("main", 16)
        connection.execute("CREATE TABLE t(a)")
        connection.execute(FILL)
    assert path.read_bytes()[20] == 16
    assert_sound(path)


def test_a_file_of_no_bytes_is_an_empty_database(path):
    path.write_bytes(b"")
    with take_view(path) as live:
        assert (live.view.page_count, live.view.size, bytes_of(live)) == (0, 0, b"")
        assert CheckProcess(live.view).result().result == "ok"
        assert DatabaseChecksum(live.view.page_size).value == FLAG
    assert path.read_bytes() == b""


def test_a_database_of_one_page(path):
    make(path, "PRAGMA user_version=7")
    assert copy_of(path) == path.read_bytes()
    assert len(path.read_bytes()) == 4096


@pytest.mark.parametrize("page_size", [4096, 65536])
@pytest.mark.parametrize("journal_mode", ["DELETE", "WAL"])
def test_beyond_the_lock_page(path, page_size, journal_mode):
    """More than 1 GiB, with rows in pages behind the page that is never written."""
    size = make_beyond_lock_page(path, page_size, journal_mode=journal_mode)
    lock_offset = (0x40000000 // page_size) * page_size
    with Application(path) as app:
        app.run("PRAGMA wal_autocheckpoint=0; UPDATE t SET a = 'new' || a WHERE id > 900")
        with take_view(path) as live:
            assert live.view.size == size
            assert (live.view.frame_count > 0) == (journal_mode == "WAL")
            assert CheckProcess(live.view).result().result == "ok"
            pages = live.pages()
            assert pages.at(lock_offset, page_size) == bytes(page_size)
            tail = pages.at(lock_offset, size - lock_offset)
            checksum, ours = DatabaseChecksum(page_size), hashlib.sha256()
            done = 0
            for piece in pages.pieces(1 << 20):
                ours.update(piece)
                checksum.add(done // page_size + 1, piece)
                done += len(piece)
            assert done == size
        if journal_mode == "WAL":
            app.checkpoint("TRUNCATE")
    with path.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == ours.hexdigest()
        file.seek(lock_offset)
        assert file.read() == tail
    with Application(path) as app:
        assert app.run("SELECT count(*) FROM t WHERE a LIKE 'new%'") == [[100]]


@pytest.mark.parametrize("journal_mode", ["DELETE", "TRUNCATE", "PERSIST"])
def test_a_hot_journal_is_rolled_back_and_said(path, journal_mode):
    before = make_hot_journal(path, journal_mode=journal_mode)
    with take_view(path) as live:
        assert live.is_hot_journal_rolled_back
        assert bytes_of(live) == before
    assert path.read_bytes() == before
    with take_view(path) as live:
        assert not live.is_hot_journal_rolled_back


@pytest.mark.parametrize("is_shm_left", [True, False])
def test_a_log_left_by_a_crash_belongs_to_the_database(path, is_shm_left):
    with Application(path) as app:
        app.run("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; CREATE TABLE t(a)")
        app.run(FILL)
        app.kill()
    if not is_shm_left:
        os.unlink(f"{path}-shm")
    main, log = path.read_bytes(), Path(f"{path}-wal").read_bytes()

    assert_view_has_rows(path, 300)
    assert path.read_bytes() == main
    assert Path(f"{path}-wal").read_bytes() == log
    assert_sound(path)


def assert_view_has_rows(path: Path, count: int) -> None:
    with take_view(path) as live:
        assert live.view.frame_count > 0
        with opened(bytes_of(live)) as copy:
            assert copy.execute("SELECT count(*) FROM t").fetchall() == [(count,)]


def test_a_log_cut_in_the_middle_of_a_transaction_ends_at_the_commit_before(path):
    with Application(path) as app:
        app.run("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; CREATE TABLE t(a)")
        app.run("INSERT INTO t VALUES (1)")
        app.run(FILL)
        app.kill()
    os.unlink(f"{path}-shm")
    os.truncate(f"{path}-wal", os.path.getsize(f"{path}-wal") - 1)
    assert_view_has_rows(path, 1)


def test_bytes_behind_the_last_page_are_no_part_of_the_database(path):
    make(path, "CREATE TABLE t(a)", FILL)
    before = path.read_bytes()
    with path.open("ab") as file:
        file.write(b"x" * 5000)
    assert copy_of(path) == before


def test_a_file_that_ends_in_the_middle_of_a_page_is_what_sqlite_takes_it_for(path):
    make(path, "CREATE TABLE t(a)", FILL)
    whole = path.read_bytes()
    os.truncate(path, len(whole) - 4090)
    with take_view(path) as live:
        assert bytes_of(live) == whole[:-4090] + bytes(4090)
        assert CheckProcess(live.view).result().result == "failed"


@pytest.mark.parametrize("cut", [4096, 5000, 20_000])
def test_a_truncated_file_is_damaged_and_no_copy_is_made(path, cut):
    make(path, "CREATE TABLE t(a)", FILL)
    os.truncate(path, path.stat().st_size - cut)
    with pytest.raises(CorruptionError, match="is damaged") as caught, take_view(path):
        pass
    assert "litekeep restore" in str(caught.value.hint)


def test_a_schema_that_cannot_be_read_is_damage(path):
    make(path, "CREATE TABLE t(a)", "PRAGMA writable_schema=ON")
    make(path, "PRAGMA writable_schema=ON", "UPDATE sqlite_schema SET sql = 'CREATE NONSENSE'")
    with pytest.raises(CorruptionError, match="malformed database schema"), take_view(path):
        pass


def header_with(path: Path, offset: int, data: bytes) -> None:
    make(path, "CREATE TABLE t(a)")
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


@pytest.mark.parametrize(
    ("offset", "data", "said", "hinted"),
    [
        (18, b"\3\3", "asks for file format 3", "PRAGMA journal_mode=WAL"),
        (18, b"\2\3", "asks for file format 3", "PRAGMA journal_mode=WAL"),
        (18, b"\3\1", "asks for file format 3", "PRAGMA journal_mode=WAL"),
        (0, os.urandom(16), "does not begin as an SQLite database", "SQLCipher"),
        (16, (1000).to_bytes(2, "big"), "a page size of 1000", "encrypted"),
        (16, (0).to_bytes(2, "big"), "a page size of 0", "encrypted"),
        (24, b"\xa5" * 4072, "not an SQLite database|damaged", None),
    ],
    ids=["wal2", "wal2 to read", "wal2 to write", "encrypted", "page size", "no page size", "body"],
)
def test_a_header_of_another_kind_is_recognised(path, offset, data, said, hinted):
    """Rows 11 and 17 of what can go wrong: WAL2, SQLCipher, SQLCipher behind a plain header."""
    header_with(path, offset, data)
    before = path.read_bytes()
    with pytest.raises(LitekeepError, match=said) as caught, take_view(path):
        pass
    assert str(path) in str(caught.value)
    assert caught.value.hint
    assert hinted is None or hinted in caught.value.hint
    assert path.read_bytes() == before


@pytest.mark.parametrize("data", [b"x", b"SQLite format 3\0", b"SQLite format 3\0" + bytes(84)])
def test_a_file_that_is_too_short_is_no_database(path, data):
    path.write_bytes(data)
    with pytest.raises(NotADatabase), take_view(path):
        pass


def test_the_header_alone_is_a_damaged_database(path):
    make(path, "CREATE TABLE t(a)")
    os.truncate(path, 100)
    with pytest.raises(CorruptionError), take_view(path):
        pass


@pytest.mark.parametrize(
    "name",
    ["sp ace.db", "qu'o\"te.db", "q?mode=ro.db", "h#ash.db", "p%20c.db", "データ.db", "file:x.db",
     "new\nline.db", "-dash.db", "no suffix", "a" * 240],
)  # fmt: skip
@pytest.mark.parametrize("journal_mode", ["DELETE", "WAL"])
def test_every_name_of_a_file(tmp_path, name, journal_mode):
    path = tmp_path / name
    make(path, f"PRAGMA journal_mode={journal_mode}", "CREATE TABLE t(a)", FILL)
    with Application(path) as app:
        app.run("INSERT INTO t VALUES ('in the log')")
        with take_view(path) as live:
            assert live.view.path == str(path)
            assert CheckProcess(live.view).result().row_counts == {"t": 301}


def test_a_name_that_is_no_utf8_is_refused_in_words(tmp_path):
    path = tmp_path / os.fsdecode(b"\xff.db")
    path.write_bytes(b"")
    with pytest.raises(NotADatabase, match="not UTF-8") as caught, take_view(path):
        pass
    str(caught.value).encode()


@pytest.mark.parametrize("size", [PATH_SIZE_MAX, PATH_SIZE_MAX + 1])
def test_a_path_that_is_too_long_for_sqlite_is_told_by_its_length(tmp_path, size):
    folder = os.path.realpath(tmp_path)
    while size - len(folder) > 200:
        folder += "/" + "d" * 99
    os.makedirs(folder, exist_ok=True)
    path = Path(folder, "f" * (size - len(folder) - 1))
    path.write_bytes(b"")
    if size <= PATH_SIZE_MAX:
        path.write_bytes(make(tmp_path / "short.db", "CREATE TABLE t(a)").read_bytes())
        assert copy_of(path) == path.read_bytes()
        return
    with pytest.raises(DatabaseUnusable, match=f"{size} bytes, and SQLite takes at most"):
        copy_of(path)


def test_a_relative_path_and_a_link_lead_to_the_file_and_its_log(tmp_path, monkeypatch):
    (tmp_path / "real").mkdir()
    (tmp_path / "links").mkdir()
    path = tmp_path / "real/app.db"
    link = tmp_path / "links/link.db"
    link.symlink_to("../real/app.db")
    with Application(path) as app:
        app.run("PRAGMA journal_mode=WAL; CREATE TABLE t(a)")
        app.run(FILL)
        monkeypatch.chdir(tmp_path / "links")
        for given in (link, Path("link.db"), Path("../real/app.db"), Path("../real/./app.db")):
            with take_view(given) as live:
                assert live.view.path == str(path)
                assert live.view.frame_count > 0
    assert sorted(os.listdir(tmp_path / "links")) == ["link.db"]


def test_what_is_no_file_is_named(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("gone")
    for name in ("loop", "dangling", "nothing", "no/folder"):
        with pytest.raises(NotFound, match="no database at"), take_view(tmp_path / name):
            pass
    for name in ("pipe", "."):
        with pytest.raises(NotADatabase, match="not a regular file"), take_view(tmp_path / name):
            pass


def test_the_standard_librarys_sqlite_reads_a_copy_of_the_file(path, tmp_path):
    make(path, "CREATE TABLE t(a)", FILL)
    (tmp_path / "copy.db").write_bytes(copy_of(path))
    connection = sqlite3.connect(tmp_path / "copy.db")
    assert connection.execute("SELECT count(*) FROM t").fetchall() == [(300,)]
    connection.close()
