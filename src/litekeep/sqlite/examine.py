"""
All that can be asked of a restored database, and nothing of it trusted.

    integrity_check        every page, every index against its table
    foreign_key_check      every reference
    row counts             of each table, against those that were counted before
    assertions             the user's own SQL, against what he expects

The file is opened as immutable and read-only, the schema may call nothing and write
nothing, other files cannot be attached, and memory and time are bounded: a database
from a store can be anything.

An answer is yes, no, or None where it could not be had (a collation or a module that
only the application has, too little memory): that is never taken for a yes.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

import apsw
from apsw.ext import query_info

from litekeep.clock import monotonic
from litekeep.errors import DatabaseUnusable
from litekeep.sqlite.check import cautious
from litekeep.sqlite.child import Answer, Child, Question, bound_processor_time, serve

#: SQLite's memory in the process that examines; an assertion may sort.
MEMORY_SIZE_MAX = 256 << 20
ASSERTION_SECONDS_MAX = 600.0
NAME_LENGTH_MAX = 200

_MESSAGES_MAX = 20
_DETAIL_LENGTH_MAX = 2000
_INSTRUCTIONS_PER_LOOK = 10_000

Scalar = None | bool | int | float | str


@dataclass(frozen=True, slots=True)
class Assertion:
    """
    A question in SQL, and the first value of the first row that answers it.

    `expect` None means: any value that SQL takes for true.
    """

    sql: str
    expect: Scalar = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One answer; `ok` None: it could not be had."""

    name: str
    ok: bool | None
    detail: str = ""


def examine(
    path: str, *, row_counts: Mapping[str, int], assertions: Sequence[Assertion], size: int
) -> tuple[Finding, ...]:
    """
    Examine the database at *path* in a child process.

    Args:
        path: A file that nobody writes to.

        row_counts: Of the tables, as they must be.

        assertions: The user's.

        size: Of the file in bytes; it decides how long this may take.

    Raises:
        DatabaseUnusable: The child cannot be started, or cannot open the file.
    """
    question = {
        "path": path,
        "row_counts": dict(row_counts),
        "assertions": [[one.sql, one.expect] for one in assertions],
        "size": size,
    }
    try:
        child = Child("litekeep.sqlite.examine", question)
    except OSError as error:
        raise DatabaseUnusable(
            f"{path} cannot be examined: {error.strerror}",
            hint="Free some memory or processes.",
        ) from error
    try:
        answer = child.answer()
    finally:
        child.end()
    if answer is None:
        return (Finding("integrity_check", None, f"the examination {child.ending}"),)
    return tuple(Finding(**found) for found in answer["findings"])


def _answer(question: Question) -> Answer:
    apsw.hard_heap_limit(MEMORY_SIZE_MAX)
    bound_processor_time(question["size"])
    uri = f"file:{quote(os.fsencode(question['path']))}?immutable=1"
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    try:
        connection = cautious(apsw.Connection(uri, flags=flags))
    except apsw.Error as error:
        raise DatabaseUnusable(
            f"{question['path']} cannot be opened: {error}",
            hint="Look at the rights of the file, and at the disk.",
        ) from error
    connection.limit(apsw.SQLITE_LIMIT_ATTACHED, 0)
    with contextlib.closing(connection):
        findings = [
            _integrity(connection),
            _foreign_keys(connection),
            *_row_counts(connection, question["row_counts"]),
            *(_assertion(connection, *one) for one in question["assertions"]),
        ]
    return {
        "findings": [
            {"name": one.name, "ok": one.ok, "detail": one.detail[:_DETAIL_LENGTH_MAX]}
            for one in findings
        ]
    }


def _integrity(connection: apsw.Connection) -> Finding:
    try:
        query = f"PRAGMA integrity_check({_MESSAGES_MAX})"
        rows = [str(row[0]) for row in connection.execute(query)]
    except (apsw.CorruptError, apsw.NotADBError) as error:
        return Finding("integrity_check", False, str(error))
    except UnicodeDecodeError:
        return Finding("integrity_check", False, "a name in the schema is not UTF-8")
    except apsw.Error as error:
        return Finding("integrity_check", None, _text(error))
    return Finding("integrity_check", rows == ["ok"], "" if rows == ["ok"] else "; ".join(rows))


def _foreign_keys(connection: apsw.Connection) -> Finding:
    count, tables = 0, set()
    try:
        for table, *_ in connection.execute("PRAGMA foreign_key_check"):
            count += 1
            tables.add(str(table)[:NAME_LENGTH_MAX])
    except (apsw.CorruptError, apsw.NotADBError) as error:
        return Finding("foreign_key_check", False, str(error))
    except (apsw.Error, UnicodeDecodeError) as error:
        return Finding("foreign_key_check", None, _text(error))
    if count:
        named = ", ".join(sorted(tables)[:5])
        return Finding("foreign_key_check", False, f"{count} rows refer to nothing, in {named}")
    return Finding("foreign_key_check", True)


def _row_counts(connection: apsw.Connection, wanted: Mapping[str, int]) -> list[Finding]:
    """Return one finding on all tables, the worst of them."""
    if not wanted:
        return []
    differing: list[str] = []
    unknown: list[str] = []
    for table, count in wanted.items():
        quoted = table.replace('"', '""')
        try:
            query = f'SELECT count(*) FROM "{quoted}"'  # noqa: S608 (quoted just above)
            found = connection.execute(query).fetchall()[0][0]
        except (apsw.CorruptError, apsw.SQLError) as error:  # damaged, or not there
            differing.append(f"{table[:NAME_LENGTH_MAX]}: {error}")
        except apsw.Error as error:
            unknown.append(f"{table[:NAME_LENGTH_MAX]}: {_text(error)}")
        else:
            if found != count:
                differing.append(f"{table[:NAME_LENGTH_MAX]} has {found} rows, not {count}")
    if differing:
        return [Finding("row counts", False, "; ".join(differing[:5]))]
    if unknown:
        return [Finding("row counts", None, "; ".join(unknown[:5]))]
    return [Finding("row counts", True, f"{len(wanted)} tables")]


def _assertion(connection: apsw.Connection, sql: str, expect: Scalar) -> Finding:
    name = f"assert {' '.join(sql.split())[:NAME_LENGTH_MAX]}"
    deadline = monotonic() + ASSERTION_SECONDS_MAX
    connection.set_progress_handler(lambda: monotonic() > deadline, _INSTRUCTIONS_PER_LOOK)
    try:
        if query_info(connection, sql).query_remaining:
            return Finding(name, None, "it is more than one statement")
        row = next(iter(connection.execute(sql)), None)
    except (apsw.CorruptError, apsw.SQLError) as error:
        return Finding(name, False, _text(error))
    except (apsw.Error, UnicodeDecodeError) as error:
        return Finding(name, None, _text(error))
    finally:
        connection.set_progress_handler(None)
    if row is None or not row:
        return Finding(name, False, "no row")
    found = row[0]
    if expect is None:
        is_true = isinstance(found, int | float) and bool(found)
        return Finding(name, is_true, "" if is_true else f"found {found!r}, expected a true value")
    is_equal = found == expect and isinstance(found, str) == isinstance(expect, str)
    return Finding(name, is_equal, "" if is_equal else f"found {found!r}, expected {expect!r}")


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__


if __name__ == "__main__":
    serve(_answer)
