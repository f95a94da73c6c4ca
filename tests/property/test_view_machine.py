"""
Any order of commits, checkpoints, VACUUMs, deaths and views: each view is its commit.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from litekeep.sqlite.live import LiveView, take_view
from tests.writers.application import Application, ApplicationError
from tests.writers.reading import bytes_of, opened

Rows = list[tuple[int, str]]


class Machine(RuleBasedStateMachine):
    """One application, at most one view; `rows` is what is committed."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="litekeep-test-"))
        self.path = self.folder / "app.db"
        self.app = Application(self.path, busy_timeout_seconds=0.01)
        self.rows: Rows = []
        self.stack = contextlib.ExitStack()
        self.live: LiveView | None = None
        self.held: Rows = []
        self.copy = b""
        self.opening = ""

    @initialize(
        page_size=st.sampled_from([512, 4096]),
        journal_mode=st.sampled_from(["WAL", "WAL", "WAL", "DELETE"]),
        auto_vacuum=st.integers(0, 2),
        autocheckpoint=st.sampled_from([0, 1, 10]),
    )
    def make(
        self, page_size: int, journal_mode: str, auto_vacuum: int, autocheckpoint: int
    ) -> None:
        self.opening = f"PRAGMA wal_autocheckpoint={autocheckpoint}"
        self.app.run(f"PRAGMA page_size={page_size}; PRAGMA auto_vacuum={auto_vacuum}")
        self.app.run(f"PRAGMA journal_mode={journal_mode}; {self.opening}")
        self.app.run("CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT)")

    def commit(self, *statements: str) -> None:
        """Run a transaction; in rollback modes a view may be in its way."""
        try:
            self.app.run("BEGIN IMMEDIATE")
            for statement in statements:
                self.app.run(statement)
            self.app.run("COMMIT")
        except ApplicationError:
            assert self.live is not None
            assert not self.live.view.is_wal
            with contextlib.suppress(ApplicationError):
                self.app.run("ROLLBACK")
        self.rows = [(int(row[0]), str(row[1])) for row in self.app.run("SELECT * FROM t")]

    @rule(count=st.integers(1, 40), size=st.sampled_from([10, 700, 5000]))
    def insert(self, count: int, size: int) -> None:
        self.commit(
            f"WITH n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {count}) "
            f"INSERT INTO t(a) SELECT hex(randomblob({size} / 2)) FROM n"
        )

    @rule()
    def update(self) -> None:
        self.commit("UPDATE t SET a = hex(randomblob(length(a) / 2))")

    @rule(keep=st.integers(0, 30))
    def delete(self, keep: int) -> None:
        self.commit(f"DELETE FROM t WHERE id > {keep}")

    @rule()
    def roll_back(self) -> None:
        self.app.run("BEGIN; UPDATE t SET a = 'never'")
        self.app.run("ROLLBACK")

    @rule(mode=st.sampled_from(["PASSIVE", "FULL", "RESTART", "TRUNCATE"]))
    def checkpoint(self, mode: str) -> None:
        self.app.checkpoint(mode)

    @rule()
    def vacuum(self) -> None:
        with contextlib.suppress(ApplicationError):
            self.app.run("VACUUM")

    @rule(is_in_transaction=st.booleans())
    def die(self, is_in_transaction: bool) -> None:
        if is_in_transaction:
            with contextlib.suppress(ApplicationError):
                self.app.run("PRAGMA cache_size=2; BEGIN; UPDATE t SET a = 'never' || a")
        self.app.end()
        self.app = Application(self.path, busy_timeout_seconds=0.01)
        self.app.run(self.opening)

    @precondition(lambda self: self.live is None)
    @rule()
    def begin_view(self) -> None:
        self.live = self.stack.enter_context(take_view(self.path))
        self.held = self.rows
        self.copy = bytes_of(self.live)
        with opened(self.copy) as copy:
            assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert copy.execute("SELECT * FROM t").fetchall() == self.held

    @precondition(lambda self: self.live is not None)
    @rule()
    def look_again(self) -> None:
        assert self.live is not None
        assert bytes_of(self.live) == self.copy

    @precondition(lambda self: self.live is not None)
    @rule()
    def end_view(self) -> None:
        self.look_again()
        self.stack.close()
        self.live = None

    def teardown(self) -> None:
        try:
            self.stack.close()
        finally:
            self.app.end()
            shutil.rmtree(self.folder)


def test_every_view_is_its_commit_whatever_happens_around_it():
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=8,
            stateful_step_count=25,
            deadline=None,
            phases=[Phase.generate],  # a step takes a process: shrinking would take minutes
            suppress_health_check=list(HealthCheck),
        ),
    )
