"""
Holding, accepting and bringing back where one store of several does not answer for a while.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from litekeep.engine.accept import accept
from litekeep.engine.hold import hold, unhold
from litekeep.engine.prune import Policy, plan_prune, prune, undelete
from litekeep.engine.retain import Keep
from litekeep.errors import LitekeepError, NotFound, StoreUnavailable
from litekeep.repository.catalog import Snapshot, read_contents
from litekeep.repository.layout import Repository
from litekeep.store.memory import MemoryStore
from litekeep.when import Latest
from tests.unit.repository.test_catalog import put

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Moody(MemoryStore):
    """A store that does not answer while it is `is_deaf`."""

    is_deaf = False

    def list(self, prefix="", *, start_after=""):
        if self.is_deaf:
            raise StoreUnavailable("no answer", hint="Wait.")
        return super().list(prefix, start_after=start_after)


@pytest.fixture
def moody() -> Moody:
    return Moody()


@pytest.fixture
def places(moody: Moody) -> tuple[Repository, Repository]:
    """The same snapshots in two stores, of which one is moody: a good one, then a suspect."""
    places = Repository(MemoryStore(), "app"), Repository(moody, "app")
    for place in places:
        put(place, NOON - 2 * HOUR)
        put(place, NOON - HOUR, id="cd" * 16, state="suspect")
    return places


def names(place: Repository) -> list[str]:
    return [snapshot.name for snapshot in read_contents(place).snapshots]


def newest(place: Repository) -> Snapshot:
    return read_contents(place).snapshots[-1]


def good(place: Repository) -> Snapshot:
    return read_contents(place).snapshots[0]


def test_a_hold_that_one_store_did_not_take_is_no_success_and_the_next_one_makes_it_right(
    places, moody
):
    moody.is_deaf = True
    with pytest.raises(StoreUnavailable):
        hold(places, Latest(), clock=lambda: NOON)
    moody.is_deaf = False
    assert [good(place).hold is not None for place in places] == [True, False]

    hold(places, Latest(), clock=lambda: NOON)
    assert all(good(place).hold is not None for place in places)

    moody.is_deaf = True
    with pytest.raises(StoreUnavailable):
        unhold(places, Latest(), clock=lambda: NOON)
    moody.is_deaf = False
    assert [good(place).hold is not None for place in places] == [False, True]


def test_what_was_accepted_in_one_store_alone_can_be_accepted_in_the_other(places, moody):
    moody.is_deaf = True
    with pytest.raises(StoreUnavailable):
        accept(places, clock=lambda: NOON)
    moody.is_deaf = False
    assert [newest(place).state for place in places] == ["ok", "suspect"]

    (accepted,) = accept(places, clock=lambda: NOON)
    assert accepted.state == "ok"
    assert [newest(place).state for place in places] == ["ok", "ok"]
    with pytest.raises(NotFound):
        accept(places, clock=lambda: NOON)


def test_what_was_pruned_comes_back_in_the_stores_that_answer(moody):
    places = Repository(moody, "app"), Repository(MemoryStore(), "app")
    for place in places:
        for hours in range(3):
            put(place, NOON - hours * HOUR, id=f"{hours:032x}")
        policy = Policy(place, Keep(last=1))
        prune(plan_prune(policy, clock=lambda: NOON), clock=lambda: NOON)
    name = places[0].name_at(NOON - 2 * HOUR)

    moody.is_deaf = True
    with pytest.raises(StoreUnavailable):
        undelete(places, name)
    moody.is_deaf = False
    assert [name in names(place) for place in places] == [False, True]
    assert undelete(places, name) == (places[0],)
    assert [name in names(place) for place in places] == [True, True]


def test_a_store_that_does_not_answer_may_hold_one_that_is_suspect(places, moody):
    accept(places, clock=lambda: NOON)
    moody.is_deaf = True
    with pytest.raises(LitekeepError) as found:
        accept(places, clock=lambda: NOON)
    assert isinstance(found.value, StoreUnavailable)
