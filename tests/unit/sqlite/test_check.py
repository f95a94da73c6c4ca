"""
The check finds damage, is not sure where it cannot be, and no database does it harm.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import apsw
import pytest

from litekeep.clock import monotonic, sleep
from litekeep.errors import CorruptionError
from litekeep.repository.manifest import SIZE_MAX
from litekeep.sqlite import check as check_module
from litekeep.sqlite.check import FAILED, INCONCLUSIVE, OK, Check, connect_view
from litekeep.sqlite.checking import CheckProcess
from litekeep.sqlite.live import take_view
from tests.writers.application import ROOT, Application

ROWS = (
    "WITH n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 2000)"
    "INSERT INTO t SELECT i, hex(randomblob(100)) FROM n"
)


def make(
    path: Path, *statements: str, prepare: Callable[[apsw.Connection], None] | None = None
) -> Path:
    with contextlib.closing(apsw.Connection(str(path))) as connection:
        if prepare is not None:
            prepare(connection)
        for statement in statements:
            connection.execute(statement).fetchall()
    return path


def checked(path: Path) -> Check:
    with take_view(path) as live:
        return CheckProcess(live.view).result()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "app.db"


def test_a_sound_database_is_ok_and_its_rows_are_counted(path):
    make(path, "CREATE TABLE t(id INTEGER PRIMARY KEY, a); CREATE TABLE e(a)", ROWS)
    assert checked(path) == Check(OK, "", {"t": 2000, "e": 0}, True)


def test_what_is_only_in_the_log_is_checked_and_counted(path):
    with Application(path) as app:
        app.run("PRAGMA journal_mode=WAL; CREATE TABLE t(id INTEGER PRIMARY KEY, a)")
        app.run(ROWS)
        assert checked(path) == Check(OK, "", {"t": 2000}, True)


def test_a_damaged_frame_of_the_log_is_found(path):
    with Application(path) as app:
        app.run("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0")
        app.run("CREATE TABLE t(id INTEGER PRIMARY KEY, a)")
        app.run(ROWS)
        with take_view(path) as live:
            view = live.view
            assert view.frame_count > 10
            with open(f"{path}-wal", "r+b") as file:
                file.seek(32 + (view.frame_count - 5) * view.frame_size + 24)
                file.write(bytes(200))
            assert CheckProcess(view).result().result == FAILED


@pytest.mark.parametrize("page_size", [512, 4096, 65536])
def test_each_destroyed_page_of_a_tree_is_found(path, page_size):
    make(
        path,
        f"PRAGMA page_size={page_size}",
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a)",
        ROWS,
        "CREATE INDEX i ON t(a)",
    )
    whole = path.read_bytes()
    count = len(whole) // page_size
    for page_number in {2, count // 2, count}:
        start = (page_number - 1) * page_size
        path.write_bytes(whole[:start] + b"\xa5" * 64 + whole[start + 64 :])
        found = checked(path)
        assert found.result == FAILED
        assert found.detail
        assert found.row_counts == {}


def test_a_page_that_is_in_use_twice_is_found(path):
    make(path, "CREATE TABLE t(id INTEGER PRIMARY KEY, a)", ROWS, "CREATE TABLE u(a)")
    make(
        path,
        "PRAGMA writable_schema=ON",
        "UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name='t') "
        "WHERE name = 'u'",
    )
    assert checked(path).result == FAILED


def test_a_full_text_index_that_lost_its_data_is_found(path):
    make(
        path,
        "CREATE VIRTUAL TABLE f USING fts5(a); INSERT INTO f VALUES ('hello world')",
        "DELETE FROM f_data WHERE id > 10",
    )
    assert checked(path).result == FAILED


def with_collation(connection: apsw.Connection) -> None:
    connection.create_collation("of_the_application", lambda a, b: (a > b) - (a < b))


def with_function(connection: apsw.Connection) -> None:
    connection.create_scalar_function("of_the_application", lambda *_: 1, deterministic=True)


class Module:
    """A virtual table without rows."""

    def Create(self, *_: object) -> tuple[str, Module]:  # noqa: N802 (apsw's name)
        return "CREATE TABLE x(a)", self

    Connect = Create

    def Disconnect(self) -> None:  # noqa: N802
        pass

    Destroy = Disconnect


def with_module(connection: apsw.Connection) -> None:
    connection.create_module("of_the_application", Module())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("prepare", "sql"),
    [
        (
            with_collation,
            "CREATE TABLE t(a TEXT COLLATE of_the_application); CREATE INDEX i ON t(a)",
        ),
        (
            with_collation,
            "CREATE TABLE t(a TEXT COLLATE of_the_application PRIMARY KEY) WITHOUT ROWID",
        ),
        (with_function, "CREATE TABLE t(a, b AS (of_the_application(a)) VIRTUAL NOT NULL)"),
        (with_function, "CREATE TABLE t(a, CHECK (of_the_application(a) = 1))"),
        (with_function, "CREATE TABLE t(a); CREATE INDEX i ON t(of_the_application(a))"),
        (with_function, "CREATE TABLE t(a); CREATE INDEX i ON t(a) WHERE of_the_application(a)"),
        (with_module, "CREATE TABLE t(a); CREATE VIRTUAL TABLE v USING of_the_application"),
    ],
)
def test_what_only_the_application_has_never_makes_a_sound_database_fail(path, prepare, sql):
    make(path, sql, "INSERT INTO t(a) VALUES ('x'), ('y')", prepare=prepare)
    found = checked(path)
    assert found.result in (OK, INCONCLUSIVE)
    if found.result == INCONCLUSIVE:
        assert "of_the_application" in found.detail


def test_a_collation_of_the_application_is_inconclusive_and_named(path):
    make(
        path,
        "CREATE TABLE t(a TEXT COLLATE of_the_application); CREATE INDEX i ON t(a)",
        prepare=with_collation,
    )
    assert checked(path) == Check(
        INCONCLUSIVE, "no such collation sequence: of_the_application", {}
    )


@pytest.mark.parametrize(
    ("prepare", "sql"),
    [
        (with_collation, "CREATE TABLE c(a TEXT COLLATE of_the_application PRIMARY KEY)"),
        (with_function, "CREATE TABLE c(a, b AS (of_the_application(a)) NOT NULL)"),
    ],
)
@pytest.mark.parametrize("damage", ["page", "row"])
def test_what_only_the_application_has_hides_no_damage_elsewhere(path, prepare, sql, damage):
    make(path, sql, "INSERT INTO c(a) VALUES ('x'), ('y')", prepare=prepare)
    make(path, "CREATE TABLE t(id INTEGER PRIMARY KEY, a)", ROWS, prepare=prepare)
    if damage == "page":
        with path.open("r+b") as file:
            file.seek(-4096 * 20, os.SEEK_END)
            file.write(b"\xa5" * 4096)
    else:
        make(path, "PRAGMA writable_schema=ON", "INSERT INTO t(a) VALUES (NULL)", prepare=prepare)
        make(
            path,
            "PRAGMA writable_schema=ON",
            "UPDATE sqlite_schema SET sql = 'CREATE TABLE t(id INTEGER PRIMARY KEY, a NOT NULL)' "
            "WHERE name = 't'",
        )
    found = checked(path)
    assert found.result == FAILED
    assert found.detail


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE t(a TEXT COLLATE reversed PRIMARY KEY) WITHOUT ROWID",
        "CREATE TABLE t(a TEXT COLLATE reversed, b AS (CASE WHEN a >= 'm' THEN 1 END) NOT NULL)",
        "CREATE TABLE t(a TEXT COLLATE reversed); CREATE UNIQUE INDEX i ON t(a)",
    ],
)
def test_a_collation_that_is_lent_makes_nothing_wrong_that_is_right(path, sql):
    def prepare(connection: apsw.Connection) -> None:
        connection.create_collation("reversed", lambda a, b: (a < b) - (a > b))

    make(path, sql, "INSERT INTO t(a) VALUES ('b'), ('a'), ('c')", prepare=prepare)
    assert checked(path) == Check(INCONCLUSIVE, "no such collation sequence: reversed", {})


def test_a_page_of_nobody_is_found_beside_a_collation_of_the_application(path):
    make(
        path,
        "CREATE TABLE c(a TEXT COLLATE of_the_application PRIMARY KEY)",
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a)",
        ROWS,
        prepare=with_collation,
    )
    make(path, "PRAGMA writable_schema=ON", "DELETE FROM sqlite_schema WHERE name = 't'")
    found = checked(path)
    assert found.result == FAILED
    assert "never used" in found.detail


def test_damage_beside_a_collation_of_the_application_is_no_success(path):
    make(
        path,
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT COLLATE of_the_application)",
        ROWS,
        "CREATE INDEX i ON t(a)",
        prepare=with_collation,
    )
    data = bytearray(path.read_bytes())
    data[4096:4160] = b"\xa5" * 64
    path.write_bytes(data)
    assert checked(path).result != OK


HOSTILE_SCHEMA = """
CREATE TABLE t(a);
INSERT INTO t VALUES (1);
CREATE TABLE victim(a);
CREATE VIEW endless AS WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n)
  SELECT * FROM n;
CREATE VIEW loading AS SELECT load_extension('{folder}/evil.so') AS a;
CREATE VIEW writing AS SELECT writefile('{folder}/evil', 'x') AS a;
CREATE VIEW attaching AS SELECT * FROM pragma_journal_mode('wal');
CREATE TRIGGER trap AFTER INSERT ON t BEGIN SELECT writefile('{folder}/evil', 'x'); END;
CREATE TRIGGER bomb AFTER DELETE ON t BEGIN DELETE FROM victim; END;
"""


def test_views_and_triggers_of_a_hostile_schema_are_never_run(path, tmp_path):
    make(path, HOSTILE_SCHEMA.format(folder=tmp_path))
    before = path.read_bytes()
    found = checked(path)
    assert (found.result, found.row_counts) == (OK, {"t": 1, "victim": 0})
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["app.db"]


@pytest.mark.parametrize(
    "column",
    ["length(hex(zeroblob(400000000)))", "length(replace(hex(zeroblob(9000000)), '0', '000000'))"],
)
def test_a_column_that_asks_for_much_memory_is_inconclusive_and_gets_none(path, column):
    make(path, f"CREATE TABLE t(a, b INTEGER AS ({column}) VIRTUAL NOT NULL)")
    make(path, "INSERT INTO t(a) VALUES (1)")
    with take_view(path) as live:
        check = CheckProcess(live.view)
        found = check.result()
    assert (found.result, found.detail) == (INCONCLUSIVE, "out of memory")


def test_large_values_that_need_no_looking_at_are_no_trouble(path):
    make(
        path,
        "CREATE TABLE t(a BLOB NOT NULL, b TEXT CHECK (length(b) > 1)) STRICT",
        "INSERT INTO t VALUES (zeroblob(100000000), hex(zeroblob(50000000)))",
    )
    assert checked(path) == Check(OK, "", {"t": 1}, True)


def child(path: Path, before: str) -> subprocess.CompletedProcess[bytes]:
    """Run the check's program on a database, with its bounds changed by *before*."""
    with take_view(path) as live:
        message = asdict(live.view) | {"salts": live.view.salts.hex()}
        script = (
            "import litekeep.sqlite.child as child, litekeep.sqlite.checking as checking\n"
            f"{before}\nchild.serve(checking._answer)"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdin is not None
        process.stdin.write(json.dumps(message).encode() + b"\n")
        process.stdin.flush()
        assert process.stdout is not None
        output = process.stdout.read()
        process.wait()
        process.stdin.close()
        process.stdout.close()
        return subprocess.CompletedProcess([], process.returncode, output)


#: Half a million steps of half a million bytes each, in one call that nothing interrupts.
SLOW_COLUMN = "instr(zeroblob(1000000), cast(zeroblob(500000) || x'01' AS BLOB))"


def make_endless(path: Path) -> None:
    """Make a table whose check takes half an hour; the column is put in when the rows are."""
    slow = SLOW_COLUMN.replace("'", "''")
    make(
        path,
        "CREATE TABLE t(a, b INTEGER AS (1) VIRTUAL)",
        "WITH n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 3000)"
        "INSERT INTO t(a) SELECT i FROM n",
        "PRAGMA writable_schema=ON",
        f"UPDATE sqlite_schema SET sql = replace(sql, '(1) VIRTUAL', '({slow}) VIRTUAL NOT NULL')",
    )


def test_a_column_that_never_ends_is_ended_by_its_processor_time(path):
    make_endless(path)
    ended = child(path, "child.SECONDS_MIN = 1")
    assert (ended.returncode, ended.stdout) == (-signal.SIGXCPU, b"")


def test_a_check_that_ended_is_inconclusive_and_says_how(path):
    make(path, "CREATE TABLE t(a)")
    with take_view(path) as live:
        check = CheckProcess(live.view)
        os.kill(check._child._process.pid, signal.SIGSTOP)
        os.kill(check._child._process.pid, signal.SIGKILL)
        found = check.result()
    assert found == Check(INCONCLUSIVE, "the check ended without an answer (-9)", {})


def test_names_that_are_no_utf8_do_not_stop_the_check(path):
    make(
        path,
        "CREATE TABLE t(a)",
        "PRAGMA writable_schema=ON",
        "UPDATE sqlite_schema SET name = CAST(x'ff' AS TEXT), tbl_name = CAST(x'ff' AS TEXT), "
        "sql = 'CREATE TABLE \"' || CAST(x'ff' AS TEXT) || '\"(a)'",
    )
    assert checked(path) == Check(OK, "", {})


def test_counts_fit_into_a_manifest_whatever_the_tables_are_called(path):
    names = [f"{index:04}{chr(0x1F600)}" + '"' * 123 for index in range(1500)]
    make(
        path,
        "BEGIN",
        *('CREATE TABLE "{}"(a)'.format(name.replace('"', '""')) for name in names),
        f'CREATE TABLE "{"x" * 100_000}"(a)',
        "COMMIT",
    )
    counts = checked(path).row_counts
    assert 0 < len(counts) <= check_module.COUNTED_TABLES_MAX
    assert set(counts) <= set(names)
    assert len(json.dumps(counts, indent=4)) < SIZE_MAX


def test_counting_stops_when_it_would_take_long(path, monkeypatch):
    make(path, "CREATE TABLE t(id INTEGER PRIMARY KEY, a); CREATE TABLE e(a)", ROWS)
    monkeypatch.setattr(check_module, "COUNT_SECONDS_MIN", 0.0)
    monkeypatch.setattr(check_module, "COUNT_SHARE", 0.0)
    monkeypatch.setattr(check_module, "_INSTRUCTIONS_PER_LOOK", 1)
    with take_view(path) as live, contextlib.closing(connect_view(live.pages())) as connection:
        assert check_module._count_rows(connection, -1.0) == ({}, False)


def test_the_view_is_read_only_for_whoever_opens_it(path):
    make(path, "CREATE TABLE t(a)")
    with take_view(path) as live, contextlib.closing(connect_view(live.pages())) as connection:
        with pytest.raises(apsw.ReadOnlyError):
            connection.execute("INSERT INTO t VALUES (1)")
        with pytest.raises(apsw.Error):
            connection.execute("PRAGMA journal_mode=WAL; CREATE TABLE u(a)").fetchall()


def test_a_view_that_is_lost_under_the_check_is_an_error_and_not_a_failed_check(path):
    with Application(path) as app:
        app.run("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; CREATE TABLE t(id, a)")
        app.run(ROWS)
        with take_view(path) as live:
            with open(f"{path}-wal", "r+b") as file:
                file.truncate(32)
            with pytest.raises(CorruptionError, match="rewritten under a held read mark"):
                CheckProcess(live.view).result()


PARENT = """
import sys, time
from litekeep.sqlite.live import take_view
from litekeep.sqlite.checking import CheckProcess
from pathlib import Path
with take_view(Path(sys.argv[1])) as live:
    check = CheckProcess(live.view)
    print(check._child._process.pid, flush=True)
    time.sleep(600)
"""


def is_alive(process_id: int) -> bool:
    try:
        status = Path(f"/proc/{process_id}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def test_the_check_does_not_outlive_a_parent_that_was_killed(path):
    make_endless(path)
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, path],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    ) as parent:
        assert parent.stdout is not None
        process_id = int(parent.stdout.readline())
        assert is_alive(process_id)
        parent.kill()
        parent.wait()
    deadline = monotonic() + 10
    while is_alive(process_id) and monotonic() < deadline:
        sleep(0.01)  # nothing tells of the end of a process that is not our child
    assert not is_alive(process_id)
