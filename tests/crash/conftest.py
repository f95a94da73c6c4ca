"""A nursery for each process of the suite."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.crash import intruder
from tests.crash import nursery as nurseries
from tests.crash.nursery import Nursery


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    """Forks runs that may be killed."""
    with nurseries.opened(tmp_path_factory.mktemp("nursery")) as nursery:
        yield nursery


@pytest.fixture(scope="session")
def intruders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where applications wait to start in the middle of a restore: a fault's `place`."""
    with intruder.waiting(tmp_path_factory.mktemp("intruders")) as place:
        yield place
