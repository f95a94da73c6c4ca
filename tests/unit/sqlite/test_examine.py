"""
What is asked of a restored database, and that a hostile one can do no harm.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from litekeep.sqlite.examine import Assertion, Finding, examine


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "restored.db"


def make(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.create_collation("backwards", lambda a, b: (a < b) - (a > b))
    for statement in statements:
        connection.execute(statement)
    connection.close()


def asked(path: Path, *assertions: Assertion, **counts: int) -> dict[str, Finding]:
    found = examine(str(path), row_counts=counts, assertions=assertions, size=path.stat().st_size)
    return {finding.name: finding for finding in found}


def test_a_sound_database_answers_yes_to_all(path):
    make(path, "CREATE TABLE t(a)", "INSERT INTO t VALUES (1), (2)")

    found = asked(path, Assertion("SELECT count(*) FROM t", 2), t=2)
    assert {name: finding.ok for name, finding in found.items()} == {
        "integrity_check": True,
        "foreign_key_check": True,
        "row counts": True,
        "assert SELECT count(*) FROM t": True,
    }


def test_an_index_that_lacks_rows_is_found(path):
    make(
        path,
        "CREATE TABLE t(a, b)",
        "CREATE INDEX i ON t(a)",
        "INSERT INTO t VALUES (1, 2), (3, 4)",
        "PRAGMA writable_schema=ON",
        "UPDATE sqlite_schema SET sql = 'CREATE INDEX i ON t(b)' WHERE name = 'i'",
    )

    found = asked(path)["integrity_check"]
    assert found.ok is False
    assert "index i" in found.detail


def test_a_reference_to_nothing_is_found(path):
    make(
        path,
        "CREATE TABLE parent(id INTEGER PRIMARY KEY)",
        "CREATE TABLE child(parent REFERENCES parent)",
        "INSERT INTO child VALUES (7), (8)",
    )

    assert asked(path)["foreign_key_check"] == Finding(
        "foreign_key_check", False, "2 rows refer to nothing, in child"
    )


def test_rows_and_tables_that_are_missing_are_named(path):
    make(path, "CREATE TABLE t(a)", "INSERT INTO t VALUES (1)")

    found = asked(path, t=2, gone=5)["row counts"]
    assert found.ok is False
    assert "t has 1 rows, not 2" in found.detail
    assert "gone: no such table" in found.detail


def test_what_only_the_application_has_is_no_yes(path):
    make(path, "CREATE TABLE t(a COLLATE backwards PRIMARY KEY)", "INSERT INTO t VALUES ('x')")

    assert asked(path)["integrity_check"].ok is None


@pytest.mark.parametrize(
    ("sql", "expect", "ok"),
    [
        ("SELECT 2 > 1", None, True),
        ("SELECT 0", None, False),
        ("SELECT NULL", None, False),
        ("SELECT 'text'", None, False),
        ("SELECT 'text'", "text", True),
        ("SELECT 1", "1", False),
        ("SELECT '1'", 1, False),
        ("SELECT 1.5", 1.5, True),
        ("SELECT 1", True, True),
        ("SELECT 1 WHERE 0", 1, False),
        ("SELECT 1;", 1, True),
        ("SELECT 1; SELECT 2", 1, None),
        ("SELECT * FROM nothing", 1, False),
        ("no sql", 1, False),
    ],
)
def test_an_assertion_compares_the_first_value(path, sql, expect, ok):
    make(path, "CREATE TABLE t(a)")

    (found,) = (f for f in asked(path, Assertion(sql, expect)).values() if "assert" in f.name)
    assert found.ok is ok
    assert ok or found.detail


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO t VALUES (2)",
        "ATTACH 'other.db' AS other",
        "PRAGMA writable_schema=ON",
        "SELECT load_extension('evil')",
        "SELECT writefile('evil', 'x')",
        "VACUUM INTO 'evil.db'",
    ],
)
def test_an_assertion_changes_nothing(path, sql):
    make(path, "CREATE TABLE t(a)", "INSERT INTO t VALUES (1)")
    before = path.read_bytes()

    (found,) = (f for f in asked(path, Assertion(sql, 1)).values() if "assert" in f.name)
    assert found.ok is not True
    assert path.read_bytes() == before
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name]


def test_a_view_that_calls_what_it_must_not_is_refused(path):
    make(
        path,
        "CREATE TABLE t(a)",
        "CREATE VIEW v AS SELECT fts3_tokenizer('simple') AS x",
        "CREATE VIEW w AS SELECT load_extension('evil') AS x",
    )

    found = asked(path, Assertion("SELECT x FROM v"), Assertion("SELECT x FROM w"))
    assert [f.ok for name, f in found.items() if "assert" in name] == [False, False]


def test_a_value_that_asks_for_all_memory_gets_none(path):
    make(path, "CREATE TABLE t(a)")

    found = asked(path, Assertion("SELECT length(zeroblob(900000000) || 'x')", 1))
    assert [f.ok for name, f in found.items() if "assert" in name] == [None]


def test_bytes_that_are_no_database_are_a_no(path):
    path.write_bytes(b"SQLite format 3\0" + bytes(5000))

    found = asked(path)
    assert found["integrity_check"].ok is False
