"""
This module is a maker of realistic databases: the same size gives the same bytes.

    customer   names, addresses, a password hash unique index on email
    orders     money, states, JSON, a reference  indexes on (customer, at), (state, at)
    event      a log: kinds, JSON, random tokens index on (kind, at)

Words follow a law like Zipf's over a vocabulary of 20,000, and every text is cut from a
corpus that is much longer than any compressor's window, so that `gzip -6` finds
what it finds in real databases of this kind: a ratio near 2.1.  Some rows are
deleted and some rewritten while it grows: pages are partly filled, as they are
in a database that has lived.

Databases are kept in a folder between runs, in WAL mode, checkpointed and closed.
"""

from __future__ import annotations

import itertools
import os
import random
import string
from collections.abc import Iterator
from pathlib import Path

import apsw

#: Part of the file's name: a change of what is written below needs another one.
EDITION = 1
SEED = 20250908
WORD_COUNT = 20_000
CORPUS_SIZE = 12 << 20
CUSTOMERS_PER_BATCH = 600
ORDERS_PER_BATCH = 2400
EVENTS_PER_BATCH = 2400
BATCHES_PER_COMMIT = 8

SCHEMA = """
create table customer(
    id integer primary key, name text, email text, created text, score real,
    password blob);
create table orders(
    id integer primary key, customer_id integer references customer, at text,
    total real, state text, detail text,
    reference text);
create table event(id integer primary key, at integer, kind text, payload text);
create unique index customer_email on customer(email);
create index orders_customer on orders(customer_id, at);
create index orders_state on orders(state, at);
create index event_kind on event(kind, at);
"""

Row = tuple[object, ...]


def make(folder: Path, size: int) -> Path:
    """
    Return a database of at least *size* bytes in *folder*, made unless it is there.

    A killed run leaves nothing that a later one would take for whole: the file
    gets its name when it is finished.
    """
    path = folder / f"app-{size >> 20}-mib-edition-{EDITION}.db"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    for leftover in folder.glob(unfinished.name + "*"):
        leftover.unlink()
    connection = apsw.Connection(str(unfinished))
    try:
        connection.pragma("synchronous", "off")
        connection.pragma("cache_size", -262144)
        connection.pragma("journal_mode", "off")
        connection.execute(SCHEMA)
        _fill(connection, unfinished, size)
        connection.pragma("journal_mode", "wal")
    finally:
        connection.close()
    os.rename(unfinished, path)
    return path


def _fill(connection: apsw.Connection, path: Path, size: int) -> None:
    rng = random.Random(SEED)
    text = Text(rng)
    page_size = connection.pragma("page_size")
    for batch_index in itertools.count():
        if batch_index % BATCHES_PER_COMMIT == 0:
            connection.execute("begin")
        _batch(connection, rng, text, batch_index)
        if batch_index % BATCHES_PER_COMMIT == BATCHES_PER_COMMIT - 1:
            connection.execute("commit")
        if connection.pragma("page_count") * page_size >= size:
            break
    if connection.in_transaction:
        connection.execute("commit")


def _batch(connection: apsw.Connection, rng: random.Random, text: Text, batch_index: int) -> None:
    """Insert a batch of each kind of row; delete and rewrite a few older ones."""
    first_customer = batch_index * CUSTOMERS_PER_BATCH
    first_order = batch_index * ORDERS_PER_BATCH
    connection.executemany(
        "insert into customer values(?,?,?,?,?,?)",
        _customers(rng, text, first_customer),
    )
    connection.executemany(
        "insert into orders values(?,?,?,?,?,?,?)",
        _orders(rng, text, first_order, first_customer + CUSTOMERS_PER_BATCH),
    )
    connection.executemany("insert into event values(?,?,?,?)", _events(rng, text, batch_index))
    if batch_index:
        old_orders = [(rng.randrange(first_order),) for _ in range(ORDERS_PER_BATCH // 50)]
        connection.executemany("delete from orders where id = ?", old_orders)
        connection.executemany(
            "update customer set name = ? where id = ?",
            [(text.take(18).title(), rng.randrange(first_customer)) for _ in range(12)],
        )


def _customers(rng: random.Random, text: Text, first_id: int) -> Iterator[Row]:
    for row_id in range(first_id, first_id + CUSTOMERS_PER_BATCH):
        name = text.take(16).title()
        email = f"{name.replace(' ', '.').lower()}.{row_id}@{text.word()}.example"
        yield row_id, name, email, _day(rng), rng.random() * 100, rng.randbytes(32)


def _orders(rng: random.Random, text: Text, first_id: int, customer_count: int) -> Iterator[Row]:
    for row_id in range(first_id, first_id + ORDERS_PER_BATCH):
        items = ", ".join(
            f'{{"sku": {rng.randrange(10**6, 10**7)}, "quantity": {rng.randrange(1, 9)},'
            f' "note": "{text.take(rng.randrange(8, 40))}"}}'
            for _ in range(rng.randrange(1, 5))
        )
        state = rng.choice(("new", "paid", "sent", "done"))
        total = rng.randrange(100_000) / 100
        customer_id = rng.randrange(customer_count)
        detail = f'{{"items": [{items}]}}'
        reference = f"{rng.getrandbits(192):048x}"
        yield row_id, customer_id, _day(rng), total, state, detail, reference


def _events(rng: random.Random, text: Text, batch_index: int) -> Iterator[Row]:
    at = 1_700_000_000 + batch_index * 900
    for _ in range(EVENTS_PER_BATCH):
        at += rng.randrange(3)
        payload = (
            f'{{"user": {rng.randrange(10**6)}, "text": "{text.take(rng.randrange(30, 240))}",'
            f' "token": "{rng.getrandbits(256):064x}"}}'
        )
        yield None, at, text.kind(), payload


def _day(rng: random.Random) -> str:
    minute = rng.randrange(365 * 24 * 60)
    day, minute = divmod(minute, 24 * 60)
    return f"2025-{day // 31 + 1:02}-{day % 28 + 1:02}T{minute // 60:02}:{minute % 60:02}:00Z"


class Text:
    """Prose without meaning, cut from one long corpus: a slice costs next to nothing."""

    def __init__(self, rng: random.Random) -> None:
        letters = string.ascii_lowercase
        weights = [1.0 / (3 + index) for index in range(26)]
        words = [
            "".join(rng.choices(letters, weights, k=rng.randrange(2, 11)))
            for _ in range(WORD_COUNT)
        ]
        frequencies = list(itertools.accumulate(1 / (rank + 30) for rank in range(WORD_COUNT)))
        count = CORPUS_SIZE // 6
        self._corpus = " ".join(rng.choices(words, cum_weights=frequencies, k=count))
        self._words = words
        self._rng = rng

    def take(self, length: int) -> str:
        """Return about *length* characters."""
        start = self._rng.randrange(len(self._corpus) - length)
        return self._corpus[start : start + length].strip()

    def word(self) -> str:
        """Return one word, each as likely as any other."""
        return self._words[self._rng.randrange(WORD_COUNT)]

    def kind(self) -> str:
        """Return one of the fifty kinds of event."""
        return self._words[self._rng.randrange(50)]
