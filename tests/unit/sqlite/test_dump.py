"""A database as SQL text: stock sqlite3 makes an equal one of it."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import struct
import subprocess
from typing import Any

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from litekeep.engine.dump import dump
from litekeep.sqlite.dump import exact_real

EVERYTHING = """
    PRAGMA user_version = 7;
    PRAGMA application_id = 252006675;
    CREATE TABLE plain(a, b TEXT, c REAL, d BLOB);
    CREATE TABLE keyed(id INTEGER PRIMARY KEY, a);
    CREATE TABLE counted(id INTEGER PRIMARY KEY AUTOINCREMENT, a);
    CREATE TABLE desc_key(id INTEGER PRIMARY KEY DESC, a);
    CREATE TABLE unkeyed(a TEXT PRIMARY KEY, b) WITHOUT ROWID;
    CREATE TABLE strict_one(a INTEGER, b ANY) STRICT;
    CREATE TABLE "odd ""name"" 'x'"("a b", "select", rowid TEXT, "ünï");
    CREATE TABLE computed(a, b AS (a * 2), c AS (a || 'x') STORED, d);
    CREATE TABLE parent(id INTEGER PRIMARY KEY);
    CREATE TABLE child(p REFERENCES parent(id));
    CREATE TABLE log(t);
    CREATE INDEX by_b ON plain(b COLLATE NOCASE) WHERE c > 0;
    CREATE UNIQUE INDEX by_expression ON keyed(a || 'x');
    CREATE VIEW seen AS SELECT a, b FROM plain;
    CREATE TRIGGER noted AFTER INSERT ON keyed BEGIN INSERT INTO log VALUES (new.a); END;
    CREATE TRIGGER through INSTEAD OF INSERT ON seen BEGIN
        INSERT INTO plain(a, b) VALUES (new.a, new.b); END;
    CREATE VIRTUAL TABLE words USING fts5(body);
    CREATE VIRTUAL TABLE linked USING fts5(b, content='plain');
    CREATE VIRTUAL TABLE boxes USING rtree(id, x0, x1);
"""
VALUES = [
    None,
    0,
    -1,
    2**63 - 1,
    -(2**63),
    0.0,
    -0.0,
    0.1,
    1e300,
    5e-324,
    1.7976931348623157e308,
    -2.5e-308,
    float("inf"),
    float("-inf"),
    "",
    'it\'s "quoted"',
    "line\nend",
    "carriage\r\nreturn",
    "null\0inside",
    "naïve ☃ 𝄞",
    "-- no comment; DROP TABLE plain;",
    ".quit\n/\ngo\n",
    b"",
    b"\0\xff'",
]


def fill(connection):
    connection.execute(EVERYTHING)
    with connection:
        connection.executemany("INSERT INTO plain VALUES (?1, ?1, ?1, ?1)", [(v,) for v in VALUES])
        connection.execute("INSERT INTO plain(a, c) VALUES (CAST(X'ff41c3' AS TEXT), 1e999-1e999)")
        connection.execute("DELETE FROM plain WHERE rowid IN (2, 5)")
        connection.execute("INSERT INTO keyed VALUES (5, 'x'), (-9, 'y')")
        connection.execute("INSERT INTO counted VALUES (1, 'a'), (90, 'b')")
        connection.execute("DELETE FROM counted WHERE id = 90")
        connection.execute("INSERT INTO desc_key VALUES (3, 1), (3.5, 2), ('t', 3)")
        connection.execute("DELETE FROM desc_key WHERE id = 3")
        connection.execute("INSERT INTO unkeyed VALUES ('b', 1), ('a', NULL)")
        connection.execute("INSERT INTO strict_one VALUES (1, 'x'), (2, 2.5)")
        connection.execute("""INSERT INTO "odd ""name"" 'x'" VALUES (1, 2, 3, 4)""")
        connection.execute("INSERT INTO computed(a, d) VALUES (1, 'd'), ('q', NULL)")
        connection.execute("INSERT INTO child VALUES (99)")
        connection.execute("INSERT INTO words VALUES ('to be or not'), ('never mind')")
        connection.execute("INSERT INTO linked(linked) VALUES ('rebuild')")
        connection.execute("INSERT INTO boxes VALUES (1, 0, 10), (2, 5, 6)")
    connection.execute("ANALYZE")


def dumped(path) -> bytes:
    pieces: list[bytes] = []
    result = dump(path, pieces.append)
    assert result.damaged == ()
    return b"".join(pieces)


def load(text: bytes, path):
    done = subprocess.run(["sqlite3", "-bail", path], input=text, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def contents(path):
    """All that SQL can see: the schema, and each row with types and raw bytes."""
    found: dict[str, Any] = {}
    with contextlib.closing(apsw.Connection(str(path))) as connection:
        found["schema"] = sorted(
            connection.execute(
                "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name <> 'sqlite_stat4'"
            ),
            key=repr,
        )
        name: Any
        for name in ("user_version", "application_id", "encoding", "page_size", "auto_vacuum"):
            found[name] = connection.pragma(name)
        for name, without_rowid in connection.execute(
            "SELECT name, wr FROM pragma_table_list WHERE schema = 'main' "
            "AND type IN ('table', 'shadow') AND name NOT IN ('sqlite_schema', 'sqlite_stat4')"
        ).fetchall():
            columns = [
                row[0]
                for row in connection.execute("SELECT name FROM pragma_table_xinfo(?)", (name,))
            ]
            names = ['"' + column.replace('"', '""') + '"' for column in columns]
            if not without_rowid:
                names.insert(0, "_rowid_")
            raw = ", ".join(
                f"typeof({n}), CASE typeof({n}) WHEN 'text' THEN CAST({n} AS BLOB) ELSE {n} END"
                for n in names
            )
            table = name.replace('"', '""')
            rows = connection.execute(f'SELECT {raw} FROM "{table}"').fetchall()
            found[name] = sorted(map(exactly, rows))
    return found


def exactly(row):
    return repr([value.hex() if isinstance(value, float) else value for value in row])


@pytest.fixture
def everything(tmp_path):
    path = tmp_path / "everything.db"
    with contextlib.closing(apsw.Connection(str(path))) as connection:
        fill(connection)
    return path


def test_stock_sqlite3_makes_an_equal_database_of_a_dump(everything, tmp_path):
    load(dumped(everything), tmp_path / "copy.db")

    assert contents(tmp_path / "copy.db") == contents(everything)


def test_the_loaded_database_is_whole_and_its_indexes_work(everything, tmp_path):
    load(dumped(everything), tmp_path / "copy.db")

    with contextlib.closing(apsw.Connection(str(tmp_path / "copy.db"))) as connection:
        assert connection.pragma("integrity_check") == "ok"
        found = connection.execute("SELECT body FROM words WHERE words MATCH 'never'").fetchall()
        assert found == [("never mind",)]
        linked = connection.execute("SELECT b FROM linked WHERE linked MATCH 'comment'").fetchall()
        assert linked == [("-- no comment; DROP TABLE plain;",)]
        connection.execute("INSERT INTO linked(linked, rank) VALUES ('integrity-check', 1)")
        assert connection.execute("SELECT id FROM boxes WHERE x0 > 3").fetchall() == [(2,)]


@pytest.mark.parametrize(
    "pragmas",
    ["PRAGMA encoding = 'UTF-16le'", "PRAGMA page_size = 512; PRAGMA auto_vacuum = 1", ""],
)
def test_encoding_page_size_and_vacuum_mode_are_kept(tmp_path, pragmas):
    path = tmp_path / "odd.db"
    with contextlib.closing(apsw.Connection(str(path))) as connection:
        connection.execute(pragmas)
        connection.execute("CREATE TABLE t(a)")
        connection.executemany(
            "INSERT INTO t VALUES (?)", [("naïve ☃ 𝄞",), ("a\0b\r\n",), ("",), (1.5,)]
        )

    load(dumped(path), tmp_path / "copy.db")

    assert contents(tmp_path / "copy.db") == contents(path)


def test_an_empty_database_dumps(tmp_path):
    (tmp_path / "empty.db").touch()

    load(dumped(tmp_path / "empty.db"), tmp_path / "copy.db")


def test_the_dump_is_one_commit_of_a_database_in_use(tmp_path):
    """What is in the log is in the text; what is not committed is not."""
    path = tmp_path / "live.db"
    script = (
        "import sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.executescript('PRAGMA journal_mode=WAL; CREATE TABLE t(a); INSERT INTO t VALUES (1)')\n"
        "c.executescript('BEGIN; INSERT INTO t VALUES (2)')\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        ["python3", "-c", script, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        try:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
            text = dumped(path)
        finally:
            writer.kill()

    assert b"VALUES(1,1);" in text
    assert b"VALUES(2,2);" not in text


def test_a_damaged_table_gives_what_can_be_read_from_both_ends(tmp_path):
    path = tmp_path / "hurt.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, a)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", [(n, "x" * 300) for n in range(1000)])
        connection.execute("CREATE TABLE fine(a)")
        connection.execute("INSERT INTO fine VALUES (1)")
        connection.commit()
    with path.open("r+b") as file:
        file.seek(40 * 4096)
        file.write(b"\x55" * 4096)
    pieces: list[bytes] = []

    result = dump(path, pieces.append)

    text = b"".join(pieces)
    load(text, tmp_path / "copy.db")
    with contextlib.closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        (count, last) = copy.execute("SELECT count(*), max(id) FROM t").fetchone()
        assert copy.execute("SELECT * FROM fine").fetchall() == [(1,)]
    assert len(result.damaged) == 2
    assert b"-- damaged: t: " in text
    assert 900 < count < 1000
    assert last == 999


@given(st.floats(allow_nan=False))
def test_any_real_has_an_exact_expression(value):
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        (found,) = connection.execute(f"SELECT {exact_real(value)}").fetchone()

    assert struct.pack("d", found) == struct.pack("d", value)


def test_reals_of_every_size_come_back_bit_for_bit_through_stock_sqlite3(tmp_path):
    dice = random.Random(1)
    values = [struct.unpack("d", dice.randbytes(8))[0] for _ in range(20_000)]
    values = [value for value in values if value == value]
    path = tmp_path / "reals.db"
    with contextlib.closing(apsw.Connection(str(path))) as connection, connection:
        connection.execute("CREATE TABLE t(a)")
        connection.executemany("INSERT INTO t VALUES (?)", [(value,) for value in values])

    load(dumped(path), tmp_path / "copy.db")

    with contextlib.closing(apsw.Connection(str(tmp_path / "copy.db"))) as copy:
        found = [row[0] for row in copy.execute("SELECT a FROM t ORDER BY rowid")]
    assert found == values
