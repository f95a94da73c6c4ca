"""
The places that the contract of stores is tried on, each empty.

A place opens any number of store objects on the same blobs, as several processes
would.  A server that takes no notice of conditions, and so cannot keep rules 3,
4 and 11, has tests of its own: `test_no_conditions.py`.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from litekeep.store.base import Store
from litekeep.store.directory import DirectoryStore
from litekeep.store.memory import MemoryStore
from litekeep.store.open import open_store


@dataclass(frozen=True)
class Place:
    """Somewhere blobs can lie."""

    kind: str
    open: Callable[[], Store]


def memory_place(request: pytest.FixtureRequest) -> Place:
    store = MemoryStore()
    return Place("memory", lambda: store)


def directory_place(request: pytest.FixtureRequest) -> Place:
    root: Path = request.getfixturevalue("tmp_path") / "store"
    return Place("directory", lambda: DirectoryStore(root))


_place_numbers = itertools.count(1)


@functools.cache
def _bucket_of(server: Any) -> str:
    return server.new_bucket()


def object_place(fixture: str, scheme: str) -> Callable[[pytest.FixtureRequest], Place]:
    """Return how to make a place with a prefix of its own on the server of *fixture*."""

    def make(request: pytest.FixtureRequest) -> Place:
        server = request.getfixturevalue(fixture)
        url = f"{scheme}://{_bucket_of(server)}/test/{next(_place_numbers)}"
        options = server.options()
        return Place(fixture, lambda: open_store(url, options))

    return make


PLACES = {
    "memory": memory_place,
    "directory": directory_place,
    "seaweedfs": object_place("seaweedfs", "s3"),
    "moto": object_place("moto_s3", "s3"),
    "gcs": object_place("gcs", "gs"),
    "azure": object_place("azure", "az"),
}


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> Place:
    return PLACES[request.param](request)


@pytest.fixture
def store(place: Place) -> Store:
    return place.open()
