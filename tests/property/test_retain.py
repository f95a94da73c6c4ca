"""
Retention against a brute-force reading of the same words.

The oracle knows nothing of the plan's loops: it groups the snapshots by their hour, day
and so on, and says which ones a policy promises.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from litekeep.engine.retain import Candidate, Keep, plan_retention

NOW = datetime(2026, 3, 29, 12, tzinfo=UTC)
#: What stands for one period in the oracle; the offset tells the hour that comes twice.
PERIODS = {
    "hourly": "%Y%m%d%H%z",
    "daily": "%Y%m%d",
    "weekly": "%G%V",
    "monthly": "%Y%m",
    "yearly": "%Y",
}

counts = st.none() | st.integers(1, 6)
policies = st.builds(
    Keep,
    last=counts,
    within=st.none() | st.floats(0, 90 * 86400),
    hourly=counts,
    daily=counts,
    weekly=counts,
    monthly=counts,
    yearly=counts,
)


@st.composite
def histories(draw: st.DrawFn) -> list[Candidate]:
    # Near together or far apart, so that periods hold many snapshots and few.
    unit = draw(st.sampled_from([60, 3600, 86400, 86400 * 20]))
    ages = draw(st.lists(st.integers(-3, 60), max_size=25))
    kinds = draw(st.lists(st.sampled_from("sssuuq"), min_size=len(ages), max_size=len(ages)))
    return [
        Candidate(
            name=f"s{number:02}",
            time=NOW - timedelta(seconds=unit * age),
            is_sound=kind == "s",
            is_suspect=kind == "q",
            is_proved=draw(st.booleans()),
            is_latest=draw(st.integers(0, 9)) == 0,
            hold=draw(st.sampled_from([None, None, None, "kept", ""])),
        )
        for number, (age, kind) in enumerate(zip(ages, kinds, strict=True))
    ]


def promised(group: list[Candidate], newest: datetime, keep: Keep, zone: ZoneInfo) -> set[str]:
    """What a policy promises of a group, which is newest first, by its words."""
    found: set[str] = set()
    if keep.last is not None:
        found |= {one.name for one in group[: keep.last]}
        if len(group) < keep.last:
            found |= {one.name for one in group}
    if keep.within is not None:
        window = timedelta(seconds=keep.within)
        found |= {one.name for one in group if newest - one.time <= window}
    for rule, form in PERIODS.items():
        count = getattr(keep, rule)
        if count is None:
            continue
        groups: dict[str, str] = {}
        for one in group:
            groups.setdefault(one.time.astimezone(zone).strftime(form), one.name)
        found |= set(list(groups.values())[:count])
        if len(groups) < count and group:
            found.add(group[-1].name)
    return found


@pytest.mark.parametrize("zone", [ZoneInfo("UTC"), ZoneInfo("Europe/Berlin")], ids=str)
def test_what_a_policy_promises_is_there_and_nothing_else(zone: ZoneInfo):
    @settings(max_examples=600, deadline=None)
    @given(histories(), policies, st.integers(0, 5))
    def check(history: list[Candidate], keep: Keep, minimum: int) -> None:
        plan = plan_retention(history, keep, minimum=minimum, now=NOW, zone=zone)

        ordered = sorted(history, key=lambda one: (one.time, one.name), reverse=True)
        present = [one for one in ordered if one.time <= NOW + timedelta(hours=1)]
        sound = [one for one in present if one.is_sound]
        stays = {one.name for one in ordered if one not in present}
        stays |= {one.name for one in ordered if one.hold is not None or one.is_latest}
        stays |= {one.name for one in present[:1]}
        stays |= {one.name for one in sound[: max(1, minimum)]}
        for group in (ordered, sound):
            stays |= {one.name for one in [one for one in group if one.is_proved][:1]}
        if present:
            newest = (sound or present)[0].time
            stays |= promised(sound, newest, keep, zone) | promised(present, newest, keep, zone)
        if keep.is_empty or (present and present[0].is_suspect):
            assert plan.pause is not None
            stays = {one.name for one in ordered}

        assert [decision.name for decision in plan.decisions] == [one.name for one in ordered]
        assert {decision.name for decision in plan.decisions if decision.stays} == stays

    check()


@settings(max_examples=300, deadline=None)
@given(histories(), policies, st.integers(0, 400))
def test_time_alone_removes_nothing(history: list[Candidate], keep: Keep, days: int):
    """Where backups have stopped, the plan of any later day is the plan of today."""
    past = [one for one in history if one.time <= NOW]
    today = plan_retention(past, keep, minimum=1, now=NOW, zone=UTC)
    later = plan_retention(past, keep, minimum=1, now=NOW + timedelta(days), zone=UTC)

    assert later == today


@settings(max_examples=300, deadline=None)
@given(histories(), policies)
def test_a_plan_carried_out_is_at_its_end(history: list[Candidate], keep: Keep):
    """What stays would stay again: no second run goes further than the first."""
    plan = plan_retention(history, keep, minimum=1, now=NOW, zone=UTC)
    names = {decision.name for decision in plan.decisions if decision.stays}
    rest = [one for one in history if one.name in names]

    again = plan_retention(rest, keep, minimum=1, now=NOW, zone=UTC)
    assert again.removed == ()


@settings(max_examples=300, deadline=None)
@given(histories(), policies)
def test_a_snapshot_that_is_not_sound_is_no_reason_to_remove_one_that_is(history, keep):
    plan = plan_retention(history, keep, minimum=1, now=NOW, zone=UTC)
    sound = [one for one in history if one.is_sound]
    alone = plan_retention(sound, keep, minimum=1, now=NOW, zone=UTC)

    kept = {decision.name for decision in plan.decisions if decision.stays}
    assert {d.name for d in alone.decisions if d.stays} - kept == set()
