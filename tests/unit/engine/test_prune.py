"""
Pruning: what goes can be brought back, and a kill between any two steps loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from litekeep import faults
from litekeep.engine.prune import Policy, plan_prune, prune, undelete
from litekeep.engine.retain import Keep
from litekeep.errors import NotFound, StateError
from litekeep.repository.catalog import Snapshot, read_contents
from litekeep.repository.layout import ACCEPTED_SUFFIX, HOLD_SUFFIX, Repository, proof_of
from litekeep.repository.manifest import ID_KEY
from litekeep.repository.marks import Acceptance, CheckResult, Hold, Proof, encode_mark
from litekeep.store.memory import MemoryStore
from tests.unit.repository.test_catalog import put
from tests.unit.repository.test_manifest import MANIFEST

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
DAY = timedelta(days=1)


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def repository() -> Repository:
    return Repository(MemoryStore(), "app")


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    yield
    faults.listen(None)


def at(time: datetime) -> Callable[[], datetime]:
    return lambda: time


def days(repository: Repository, count: int) -> list[str]:
    """Put a snapshot for each of the last days, each with an id of its own; newest first."""
    return [put(repository, NOON - n * DAY, id=f"{n:032x}") for n in range(count)]


def snapshots(repository: Repository) -> list[str]:
    return [snapshot.object for snapshot in reversed(read_contents(repository).snapshots)]


def run(repository: Repository, *, time: datetime = NOON, undelete_days: int = 7, **keep: int):
    policy = Policy(repository, Keep(**keep), undelete_days=undelete_days)
    result = prune(plan_prune(policy, clock=at(time)), clock=at(time))
    assert result.error is None
    return result


def names(repository: Repository) -> set[str]:
    return {blob.name for blob in repository.store.list()}


def test_what_is_pruned_can_be_brought_back_until_it_is_due(repository):
    objects = days(repository, 5)
    before = {name: repository.store.read(name, size_max=1 << 20) for name in names(repository)}

    result = run(repository, last=2)
    assert (list(result.pruned), result.deleted) == (objects[:1:-1], ())
    assert snapshots(repository) == objects[:2]

    undelete([repository], f"app_{(NOON - 4 * DAY):%Y%m%d_%H%M%S}")
    assert snapshots(repository) == [*objects[:2], objects[4]]
    undelete([repository], f"app_{(NOON - 3 * DAY):%Y%m%d_%H%M%S}")
    undelete([repository], f"app_{(NOON - 2 * DAY):%Y%m%d_%H%M%S}")
    after = {name: repository.store.read(name, size_max=1 << 20) for name in names(repository)}
    assert after == before


def test_what_is_due_is_gone_with_all_that_lay_beside_it(repository):
    objects = days(repository, 3)
    proof = Proof(
        tool="t", id=f"{2:032x}", sha256="0" * 64, time=NOON, result="pass", seconds=1.0,
        checks=(CheckResult(name="checksums", ok=True),),
    )  # fmt: skip
    repository.store.put(proof_of(objects[2], NOON), encode_mark(proof))
    put(repository, NOON + DAY, id="f" * 32)
    newer = Proof(
        tool="t", id="f" * 32, sha256="0" * 64, time=NOON, result="pass", seconds=1.0, checks=()
    )
    repository.store.put(proof_of(snapshots(repository)[0], NOON), encode_mark(newer))

    run(repository, time=NOON + DAY, last=1)
    assert len(snapshots(repository)) == 1
    assert run(repository, time=NOON + 7 * DAY, last=1).deleted == ()
    assert sorted(run(repository, time=NOON + 8 * DAY, last=1).deleted) == sorted(objects)
    assert {name.partition(".db")[0] for name in names(repository)} == {
        "2026/02/app_20260201_120000"
    }

    with pytest.raises(NotFound, match="no pruned snapshot"):
        undelete([repository], "app_20260131_120000")


def test_without_days_to_undelete_it_goes_at_once(repository):
    objects = days(repository, 3)

    assert set(run(repository, undelete_days=0, last=1).deleted) == set(objects[1:])
    assert names(repository) == {objects[0], f"{objects[0]}.json"}


def test_held_snapshots_and_the_one_that_latest_copies_stay(repository):
    objects = days(repository, 5)
    hold = Hold(id=f"{3:032x}", time=NOON, reason="before the migration")
    repository.store.put(objects[3] + HOLD_SUFFIX, encode_mark(hold))
    repository.store.put("latest.db.gz", b"data", metadata={ID_KEY: f"{1:032x}"})

    plan = plan_prune(Policy(repository, Keep(last=1)), clock=at(NOON))
    reasons = {decision.name: decision.reasons for decision in plan.retention.decisions}
    assert reasons[objects[3]] == ("held: before the migration",)
    assert reasons[objects[1]] == ("latest",)
    prune(plan, clock=at(NOON))
    assert snapshots(repository) == [objects[0], objects[1], objects[3]]


def test_what_is_held_after_the_plan_was_made_stays(repository):
    objects = days(repository, 2)
    plan = plan_prune(Policy(repository, Keep(last=1)), clock=at(NOON))
    hold = Hold(id=f"{1:032x}", time=NOON, reason="")
    repository.store.put(objects[1] + HOLD_SUFFIX, encode_mark(hold))

    assert prune(plan, clock=at(NOON)).pruned == ()
    assert snapshots(repository) == objects


def test_what_is_brought_back_after_the_plan_was_made_stays(repository):
    objects = days(repository, 2)
    run(repository, last=1)
    plan = plan_prune(Policy(repository, Keep(last=1)), clock=at(NOON + 9 * DAY))
    assert [one.object for one in plan.due] == [objects[1]]
    undelete([repository], "app_20260130_120000")

    assert prune(plan, clock=at(NOON + 9 * DAY)).deleted == ()
    assert snapshots(repository) == objects


def test_a_snapshot_without_a_manifest_is_pruned_and_brought_back(repository):
    for day in (1, 2, 3):
        repository.store.put(f"2026/01/app_2026010{day}_120000.db.gz", b"by an older script")

    run(repository, last=1)
    assert snapshots(repository) == ["2026/01/app_20260103_120000.db.gz"]
    assert read_contents(repository).leftovers == ()
    undelete([repository], "app_20260101_120000")
    assert snapshots(repository)[-1] == "2026/01/app_20260101_120000.db.gz"


def test_while_the_newest_is_suspect_nothing_goes_until_it_is_accepted(repository):
    objects = days(repository, 3)
    suspect = put(repository, NOON + DAY, id="e" * 32, state="suspect")

    plan = plan_prune(Policy(repository, Keep(last=1)), clock=at(NOON + DAY))
    assert "suspect" in (plan.retention.pause or "")
    assert plan.removed == ()
    accepted = Acceptance(id="e" * 32, time=NOON)
    repository.store.put(suspect + ACCEPTED_SUFFIX, encode_mark(accepted))
    assert run(repository, time=NOON + DAY, last=1).pruned == tuple(reversed(objects))


def test_a_snapshot_that_failed_its_drill_is_not_sound(repository):
    objects = days(repository, 3)
    proof = Proof(
        tool="t", id=f"{0:032x}", sha256="1" * 64, time=NOON, result="fail", seconds=1.0, checks=()
    )
    repository.store.put(proof_of(objects[0], NOON), encode_mark(proof))

    run(repository, last=1)
    assert snapshots(repository) == objects[:2]
    found = {snapshot.object: snapshot.state for snapshot in read_contents(repository).snapshots}
    assert found == {objects[0]: "failed", objects[1]: "ok"}


def test_a_mark_of_another_snapshot_says_nothing_and_is_named(repository):
    objects = days(repository, 2)
    hold = Hold(id=f"{0:032x}", time=NOON, reason="")
    repository.store.put(objects[1] + HOLD_SUFFIX, encode_mark(hold))

    contents = read_contents(repository)
    assert [snapshot.hold for snapshot in contents.snapshots] == [None, None]
    assert [item.error.message for item in contents.leftovers] == [
        f"{objects[1]}{HOLD_SUFFIX} is about another snapshot"
    ]


def test_data_that_is_gone_cannot_be_brought_back(repository):
    objects = days(repository, 2)
    run(repository, last=1)
    repository.store.delete(objects[1])

    with pytest.raises(StateError, match="is gone"):
        undelete([repository], "app_20260130_120000")


def kill_at(number: int) -> None:
    count = iter(range(number + 1))

    def listener(step: str) -> None:
        if next(count, None) == number:
            raise Killed(step)

    faults.listen(listener)


@pytest.mark.parametrize("undelete_days", [0, 7])
def test_a_kill_at_any_step_leaves_a_snapshot_or_one_that_can_go_on(undelete_days):
    """Whatever the step: a snapshot is whole, or pruned; and the next run ends the work."""
    number = was_killed = 0
    while True:
        repository = Repository(MemoryStore(), "app")
        objects = days(repository, 3)
        kill_at(number)
        try:
            run(repository, undelete_days=undelete_days, last=1)
        except Killed:
            was_killed += 1
        else:
            break
        finally:
            faults.listen(None)
        contents = read_contents(repository)
        assert contents.leftovers == (), number
        assert objects[0] in snapshots(repository)
        for snapshot in contents.snapshots:
            assert isinstance(snapshot, Snapshot)
            assert repository.store.head(snapshot.object).size, number

        run(repository, undelete_days=undelete_days, last=1)
        left = {objects[0], f"{objects[0]}.json"}
        if undelete_days:
            left |= {f"{name}{end}" for name in objects[1:] for end in ("", ".deleted.json")}
        assert names(repository) == left, number
        number += 1
    assert was_killed == (8 if undelete_days == 0 else 4)


def test_a_kill_at_any_step_of_the_way_back_loses_nothing():
    for number in range(2):
        repository = Repository(MemoryStore(), "app")
        objects = days(repository, 2)
        run(repository, last=1)
        kill_at(number)
        with pytest.raises(Killed):
            undelete([repository], "app_20260130_120000")
        faults.listen(None)
        if number == 0:
            undelete([repository], "app_20260130_120000")
        assert snapshots(repository) == objects, number


def test_the_manifest_that_comes_back_is_the_one_that_went(repository):
    days(repository, 2)
    run(repository, last=1)
    undelete([repository], "app_20260130_120000")

    manifest = read_contents(repository).snapshots[0].manifest
    assert manifest is not None
    assert (manifest.id, manifest.database) == (f"{1:032x}", MANIFEST.database)
