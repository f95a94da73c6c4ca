"""
What becomes of the record of a killed run.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from litekeep.engine.events import Warned
from litekeep.engine.job import Begun, Job, clean_up, exclusive_job
from litekeep.errors import AccessDenied, StoreUnavailable
from litekeep.repository.layout import Repository
from litekeep.repository.manifest import ID_KEY
from litekeep.secret import Secret
from litekeep.store.memory import MemoryStore
from litekeep.store.open import open_store
from litekeep.store.options import StoreOptions

OBJECT = "2025/09/app_20250908_120001.db.gz"
ID = "ab" * 16


class Store(MemoryStore):
    """Fails to clean, or to look, as it is told."""

    def __init__(self, url: str = "s3://bucket/p") -> None:
        super().__init__()
        self.url = url
        self.clean_error: Exception | None = None
        self.head_error: Exception | None = None

    def clean(self, unfinished=()):
        if self.clean_error is not None:
            raise self.clean_error
        return []

    def head(self, name):
        if self.head_error is not None:
            raise self.head_error
        return super().head(name)


@pytest.fixture
def store() -> Store:
    store = Store()
    store.put(OBJECT, b"half", metadata={ID_KEY: ID})
    return store


@pytest.fixture
def job(tmp_path: Path, store: Store) -> Job:
    Job(tmp_path / "record.json").begin(Begun(ID, {store.url: OBJECT}))
    return Job(tmp_path / "record.json")


def test_a_store_that_may_not_be_cleaned_is_withdrawn_from(store: Store, job: Job):
    """What is refused is told once, and the record does not stay for ever."""
    store.clean_error = AccessDenied("s3://bucket does not allow it", hint="Allow it.")

    assert clean_up(job, (Repository(store, "app"),)) == [
        Warned(f"withdrew {OBJECT} from s3://bucket/p, left by a killed run"),
        Warned("could not clean up in s3://bucket/p: s3://bucket does not allow it", "Allow it."),
    ]
    assert list(store.list()) == []
    assert job.interrupted() == ()


def test_what_could_not_be_asked_stays_in_the_record(store: Store, job: Job):
    for name in ("clean_error", "head_error"):
        setattr(store, name, StoreUnavailable("does not answer"))
        assert "does not answer" in clean_up(job, (Repository(store, "app"),))[-1].message
        assert job.interrupted() == (Begun(ID, {store.url: OBJECT}),)
        setattr(store, name, None)

    clean_up(job, (Repository(store, "app"),))
    assert job.interrupted() == ()
    assert list(store.list()) == []


def test_what_may_not_be_withdrawn_stays_and_the_rest_is_cleaned(store: Store, job: Job):
    store.head_error = AccessDenied("does not allow head")

    assert clean_up(job, (Repository(store, "app"),)) == [
        Warned(f"could not withdraw {OBJECT} from s3://bucket/p: does not allow head")
    ]
    assert job.interrupted() == (Begun(ID, {store.url: OBJECT}),)


def test_two_stores_of_one_url_on_two_servers_are_two(tmp_path: Path):
    options = {"access_key_id": "AK", "secret_access_key": Secret("SK")}
    stores = [
        open_store("s3://bucket/p", StoreOptions(endpoint=f"http://127.0.0.1:{port}", **options))
        for port in (1, 2)
    ]
    assert stores[0].url == stores[1].url
    assert stores[0].address != stores[1].address
    assert MemoryStore().address == "memory:"


def test_a_state_folder_without_locks_is_told_and_leaves_nothing_open(tmp_path, monkeypatch):
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    before = os.listdir("/proc/self/fd")
    with (
        pytest.raises(AccessDenied, match="cannot use the state folder") as caught,
        exclusive_job(tmp_path, "app", "/app.db"),
    ):
        pass
    assert "state_dir" in str(caught.value.hint)
    assert len(os.listdir("/proc/self/fd")) == len(before)
