"""
The application of `litekeep demo`: a shop that takes orders until it is stopped.

It knows nothing of Litekeep, and uses the interpreter's own SQLite like any other
program.  Each order also changes the totals of its customer and of the day, in one
transaction: so a copy that holds a part of a commit gives itself away.

    python -m litekeep.cli.demo_application shop.db

writes a line ``ready`` once the database stands, and then commits without end.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import sqlite3
import sys
from dataclasses import dataclass
from pathlib import Path

from litekeep.clock import sleep

CUSTOMER_COUNT = 2_000
ORDER_COUNT = 60_000
SECONDS_BETWEEN_ORDERS = 0.002

_SCHEMA = """
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT, spent INTEGER NOT NULL);
    CREATE TABLE purchase (
        id INTEGER PRIMARY KEY, customer INTEGER NOT NULL REFERENCES customer,
        cents INTEGER NOT NULL, note TEXT);
    CREATE INDEX purchase_customer ON purchase (customer);
    CREATE TABLE total (day TEXT PRIMARY KEY, orders INTEGER NOT NULL, cents INTEGER NOT NULL);
    INSERT INTO total VALUES ('today', 0, 0);
"""
_WORDS = ("green", "blue", "small", "large", "parcel", "express", "gift", "paper", "tea", "lamp")


@dataclass(frozen=True, slots=True)
class Books:
    """What the shop's tables say; `is_whole` if they agree with each other."""

    orders: int
    cents: int
    is_whole: bool


def take_order(connection: sqlite3.Connection, dice: random.Random) -> None:
    """Commit one order: three tables in one transaction."""
    customer, cents = dice.randint(1, CUSTOMER_COUNT), dice.randint(100, 50_000)
    note = " ".join(dice.choices(_WORDS, k=12))
    with connection:
        connection.execute(
            "INSERT INTO purchase (customer, cents, note) VALUES (?, ?, ?)",
            (customer, cents, note),
        )
        connection.execute("UPDATE customer SET spent = spent + ? WHERE id = ?", (cents, customer))
        connection.execute("UPDATE total SET orders = orders + 1, cents = cents + ?", (cents,))


def fill(connection: sqlite3.Connection, dice: random.Random) -> None:
    """Make the shop with the orders of its past."""
    connection.executescript(_SCHEMA)
    spent = [0] * (CUSTOMER_COUNT + 1)
    orders = []
    for _ in range(ORDER_COUNT):
        customer, cents = dice.randint(1, CUSTOMER_COUNT), dice.randint(100, 50_000)
        spent[customer] += cents
        orders.append((customer, cents, " ".join(dice.choices(_WORDS, k=12))))
    with connection:
        connection.executemany(
            "INSERT INTO customer VALUES (?, ?, ?)",
            [(i, f"Customer {i}", spent[i]) for i in range(1, CUSTOMER_COUNT + 1)],
        )
        connection.executemany(
            "INSERT INTO purchase (customer, cents, note) VALUES (?, ?, ?)", orders
        )
        connection.execute("UPDATE total SET orders = ?, cents = ?", (len(orders), sum(spent)))


def read_books(database: Path) -> Books:
    """Return what the shop's tables say, in one transaction."""
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        orders, cents = connection.execute("SELECT orders, cents FROM total").fetchone()
        counted = connection.execute("SELECT count(*), sum(cents) FROM purchase").fetchone()
        (spent,) = connection.execute("SELECT sum(spent) FROM customer").fetchone()
    return Books(orders, cents, counted == (orders, cents) and spent == cents)


def integrity(database: Path) -> str:
    """Return the first line of SQLite's integrity_check."""
    try:
        with contextlib.closing(sqlite3.connect(database)) as connection:
            text = str(connection.execute("PRAGMA integrity_check").fetchone()[0])
    except sqlite3.DatabaseError as error:
        text = str(error)
    return text if text == "ok" else text.replace("\n", " ")[:70]


def main() -> None:
    """Run the shop on the database that the command line names."""
    dice = random.Random(2025)  # noqa: S311 (a sample, no secret)
    connection = sqlite3.connect(sys.argv[1])
    fill(connection, dice)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for _ in itertools.count():
        take_order(connection, dice)
        sleep(SECONDS_BETWEEN_ORDERS)


if __name__ == "__main__":
    main()
