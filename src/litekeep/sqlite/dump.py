"""
A database as SQL text, which any sqlite3 shell turns into an equal database.

    PRAGMA ...                      page size, encoding, auto_vacuum: before anything is made
    BEGIN
    CREATE TABLE, its INSERTs       in the order of the schema, shadow tables among them
    INSERT INTO sqlite_master       virtual tables: their shadow tables hold what they need
    sqlite_sequence                 whose rows the INSERTs before would have made otherwise
    CREATE INDEX, VIEW, TRIGGER     last, so that no trigger sees the INSERTs
    sqlite_stat1                    (sqlite_stat4 is not known to every shell: ANALYZE makes it)
    PRAGMA user_version, application_id
    COMMIT

Equal means: every row with its rowid, every value with its type and all its bits.
What that takes, beyond what the shell's own .dump does:

  * Rowids are written where no INTEGER PRIMARY KEY holds them: a full-text index of
    an external table finds its rows by them.
  * Text with NUL or CR is written as a cast of its bytes: quote() stops at the one,
    the shell drops the other before a line end.
  * Reals beyond 1e200 and below 1e-200 are written as products of powers of two:
    SQLite 3.40 reads many such decimals one bit wrong (1 of 300 random doubles).
  * Text that is no UTF-8 is written as it is.

INVARIANT  Memory does not grow with the database: rows pass one by one.

See https://www.sqlite.org/cli.html#converting_an_entire_database_to_a_text_file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import apsw

_ROWID_NAMES = ("rowid", "_rowid_", "oid")
_FACTOR_BITS_MAX = 62


class Dump:
    """
    The dump of one connection; iterate it once for the text in UTF-8, row by row.

    `errors` fills with what could not be read: a damaged database gives what it can.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self.errors: list[str] = []
        self._connection = connection
        self._is_utf8 = self._pragma("encoding") == "UTF-8"
        connection.create_scalar_function("litekeep_exact", _exact, 1, deterministic=True)

    def __iter__(self) -> Iterator[bytes]:
        yield from self._head()
        tables = list(self._tables())
        virtual = [table for table in tables if table.is_virtual]
        if virtual:
            yield b"PRAGMA writable_schema=ON;\n"
        for table in tables:
            yield from self._table(table)
        yield from self._internal("sqlite_sequence", "DELETE FROM sqlite_sequence;\n")
        yield from self._others()
        yield from self._internal(
            "sqlite_stat1", "ANALYZE sqlite_master;\nDELETE FROM sqlite_stat1;\n"
        )
        if virtual:
            yield b"PRAGMA writable_schema=OFF;\n"
        for name in ("user_version", "application_id"):
            yield f"PRAGMA {name}={self._pragma(name)};\n".encode()
        yield b"COMMIT;\n"

    def _head(self) -> Iterator[bytes]:
        for name in ("page_size", "auto_vacuum"):
            yield f"PRAGMA {name}={self._pragma(name)};\n".encode()
        yield f"PRAGMA encoding='{self._pragma('encoding')}';\n".encode()
        yield b"PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n"

    def _pragma(self, name: str) -> object:
        return self._connection.execute(f"PRAGMA {name}").fetchall()[0][0]

    def _tables(self) -> Iterator[_Table]:
        without_rowid = {
            row[0]
            for row in self._connection.execute(
                "SELECT name FROM pragma_table_list WHERE schema = 'main' AND wr"
            )
        }
        rows = self._connection.execute(
            "SELECT name, sql, rootpage FROM sqlite_master WHERE type = 'table' "
            "AND sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY rowid"
        ).fetchall()
        for name, sql, root_page in rows:
            yield _Table(str(name), str(sql), not root_page, name in without_rowid)

    def _table(self, table: _Table) -> Iterator[bytes]:
        if table.is_virtual:
            name, sql = quoted_text(table.name), quoted_text(table.sql)
            yield (
                "INSERT INTO sqlite_master(type,name,tbl_name,rootpage,sql)"
                f"VALUES('table',{name},{name},0,{sql});\n"
            ).encode()
            return
        yield f"{table.sql};\n".encode("utf-8", "surrogatepass")
        yield from self._rows(table)

    def _internal(self, name: str, before: str) -> Iterator[bytes]:
        """Yield the rows of a table that SQLite makes by itself."""
        if self._connection.execute(
            "SELECT 1 FROM sqlite_master WHERE name = ?", (name,)
        ).fetchall():
            yield before.encode()
            yield from self._rows(_Table(name, "", False, False))

    def _others(self) -> Iterator[bytes]:
        for (sql,) in self._connection.execute(
            "SELECT sql FROM sqlite_master WHERE type IN ('index', 'view', 'trigger') "
            "AND sql IS NOT NULL ORDER BY rowid"
        ):
            yield f"{sql};\n".encode("utf-8", "surrogatepass")

    def _rows(self, table: _Table) -> Iterator[bytes]:
        try:
            columns, rowid, has_others = self._columns(table)
            is_partial = rowid is not None or has_others
            names = [*([rowid] if rowid else []), *map(quoted_name, columns)]
            target = quoted_name(table.name)
            if is_partial:
                target += f"({','.join(names)})"
            values = " || ',' || ".join(map(_literal, names))
        except apsw.Error as error:
            yield self._damaged(table, error)
            return
        try:
            yield from self._inserts(f"INSERT INTO {target} VALUES(", values, table, "")
        except (apsw.CorruptError, apsw.NotADBError, apsw.IOError) as error:
            yield self._damaged(table, error)
            # What lies behind the damage can often be read from the other end.
            head = f"INSERT OR IGNORE INTO {target} VALUES("
            order = f" ORDER BY {rowid or quoted_name(columns[0])} DESC"
            try:
                yield from self._inserts(head, values, table, order)
            except (apsw.CorruptError, apsw.NotADBError, apsw.IOError) as again:
                yield self._damaged(table, again)

    def _inserts(self, head: str, values: str, table: _Table, order: str) -> Iterator[bytes]:
        # As bytes, so that text which is no UTF-8 passes unchanged.
        row = f"CAST({values} AS BLOB)" if self._is_utf8 else values
        start = head.encode("utf-8", "surrogatepass")
        for (text,) in self._connection.execute(
            f"SELECT {row} FROM {quoted_name(table.name)}{order}"  # noqa: S608 (quoted)
        ):
            if isinstance(text, str):
                text = text.encode("utf-8", "surrogatepass")
            yield b"%b%b);\n" % (start, text)

    def _columns(self, table: _Table) -> tuple[list[str], str | None, bool]:
        """
        Return the columns that hold data, how to name the rowid if none of them is it,
        and whether there are other columns (generated ones).
        """
        rows = self._connection.execute(
            "SELECT name, upper(type), pk, hidden FROM pragma_table_xinfo(?)", (table.name,)
        ).fetchall()
        stored = [str(name) for name, _, _, hidden in rows if hidden == 0]
        has_others = len(stored) < len(rows)
        if table.is_without_rowid:
            return stored, None, has_others
        keys = [kind for _, kind, pk, _ in rows if pk]
        has_key_index = self._connection.execute(
            "SELECT 1 FROM pragma_index_list(?) WHERE origin = 'pk'", (table.name,)
        ).fetchall()
        if keys == ["INTEGER"] and not has_key_index:
            return stored, None, has_others
        taken = {str(name).lower() for name, *_ in rows}
        rowid = next((name for name in _ROWID_NAMES if name not in taken), None)
        return stored, rowid, has_others

    def _damaged(self, table: _Table, error: apsw.Error) -> bytes:
        message = f"{table.name}: {error}"
        self.errors.append(message)
        return f"-- damaged: {' '.join(message.split())}\n".encode("utf-8", "surrogatepass")


@dataclass(frozen=True, slots=True)
class _Table:
    name: str
    sql: str
    is_virtual: bool
    is_without_rowid: bool


def _literal(name: str) -> str:
    """Return the SQL expression that gives a column's value as SQL text."""
    return (
        f"CASE typeof({name}) "
        f"WHEN 'text' THEN CASE WHEN instr({name}, char(0)) OR instr({name}, char(13)) "
        f"THEN 'CAST(' || quote(CAST({name} AS BLOB)) || ' AS TEXT)' ELSE quote({name}) END "
        f"WHEN 'real' THEN CASE WHEN abs({name}) BETWEEN 1e-200 AND 1e200 "
        f"THEN quote({name}) ELSE litekeep_exact({name}) END "
        f"ELSE quote({name}) END"
    )


def _exact(*values: apsw.SQLiteValue) -> str:
    (value,) = values
    assert isinstance(value, float), "only reals are passed"
    return exact_real(value)


def exact_real(value: float) -> str:
    """
    Return an SQL expression whose value is exactly *value*, on any version.

    >>> exact_real(2.0**200)
    '4503599627370496.0*4611686018427387904.0*4611686018427387904.0*16777216.0'
    """
    if math.isinf(value):
        return "9e999" if value > 0 else "-9e999"
    if value == 0:
        return str(value)  # quote() drops the sign of a zero
    fraction, exponent = math.frexp(value)
    exponent -= 53
    text = f"{int(fraction * 2**53)}.0"
    while exponent:
        bits = min(abs(exponent), _FACTOR_BITS_MAX)
        text += f"{'*' if exponent > 0 else '/'}{1 << bits}.0"
        exponent += bits if exponent < 0 else -bits
    return text


def quoted_name(name: str) -> str:
    """
    Return *name* as SQL writes a name.

    >>> print(quoted_name('a "b" c'))
    "a ""b"" c"
    """
    return '"' + name.replace('"', '""') + '"'


def quoted_text(text: str) -> str:
    """
    Return *text* as SQL writes text.

    >>> print(quoted_text("it's"))
    'it''s'
    """
    return "'" + text.replace("'", "''") + "'"
