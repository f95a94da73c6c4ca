"""
Which snapshots of one repository may go: a plan, made of values alone.

    keep = { last = 24, within = "2d", daily = 7, weekly = 5, monthly = 12, yearly = 3 }

The meaning is restic's.  Of the snapshots, newest first:

    last N                     the newest N
    within D                   all that are at most D older than the newest
    hourly N ... yearly N      the newest one of each of the last N hours ... years
                               that have one; where fewer than N have, the oldest too

What no policy overrides, so that the last good copy never goes:

  1. A held snapshot stays.
  2. The newest snapshot, the newest proved one and the one that `latest` is a copy of
     stay, and so do the newest `minimum` sound ones.
  3. A snapshot that is not sound (its check failed or was not made, it is suspect)
     never takes the place of a sound one: the policy is applied to the sound ones
     alone and to all of them, and what either keeps stays.
  4. Ages count from the newest sound snapshot, not from the clock.  Where backups
     have stopped, time removes nothing.
  5. A snapshot from the future (a clock was wrong) stays, and counts for nothing.
  6. While the newest snapshot is suspect, nothing goes.

`prune.py` carries the plan out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from litekeep.units import show_duration

#: Clocks of two hosts may differ by this much before one of them is wrong.
_FUTURE = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Keep:
    """
    A policy; what is not set keeps nothing.

    `within` is in seconds, the others are counts.
    """

    last: int | None = None
    within: float | None = None
    hourly: int | None = None
    daily: int | None = None
    weekly: int | None = None
    monthly: int | None = None
    yearly: int | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is set: then nothing may go, for nobody asked for it."""
        return self == Keep()


@dataclass(frozen=True, slots=True)
class Candidate:
    """
    What the plan has to know of a snapshot.

    `is_sound`: its check passed, or nobody could check it and it was proved since.
    `hold` is why somebody holds it, or None.
    """

    name: str
    time: datetime
    is_sound: bool = True
    is_proved: bool = False
    is_latest: bool = False
    is_suspect: bool = False
    hold: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a snapshot: it stays for these reasons, or goes for want of any."""

    name: str
    time: datetime
    reasons: tuple[str, ...]

    @property
    def stays(self) -> bool:
        """Whether there is a reason to keep it."""
        return bool(self.reasons)


@dataclass(frozen=True, slots=True)
class RetentionPlan:
    """A decision for each snapshot, newest first; `pause` is why nothing may go at all."""

    decisions: tuple[Decision, ...]
    pause: str | None

    @property
    def removed(self) -> tuple[Decision, ...]:
        """What goes, oldest first."""
        return tuple(decision for decision in reversed(self.decisions) if not decision.stays)


def plan_retention(
    candidates: Sequence[Candidate],
    keep: Keep,
    *,
    minimum: int,
    now: datetime,
    zone: tzinfo,
) -> RetentionPlan:
    """
    Decide which snapshots stay, and why.

    Args:
        candidates: All snapshots of one repository, in any order.

        keep: The policy.

        minimum: How many sound snapshots stay in any case.

        now: Aware; what is later is from the future.

        zone: Whose hours, days, weeks, months and years count.

    Returns:
        A plan in which every snapshot appears once.

    >>> from datetime import UTC
    >>> noon = datetime(2026, 1, 31, 12, tzinfo=UTC)
    >>> snapshots = [Candidate(f"d{days}", noon - timedelta(days)) for days in range(5)]
    >>> plan = plan_retention(snapshots, Keep(daily=2), minimum=1, now=noon, zone=UTC)
    >>> [(decision.name, decision.reasons) for decision in plan.decisions[:3]]
    [('d0', ('newest', 'newest sound', 'daily')), ('d1', ('daily',)), ('d2', ())]
    """
    ordered = sorted(candidates, key=lambda one: (one.time, one.name), reverse=True)
    present = [one for one in ordered if one.time <= now + _FUTURE]
    sound = [one for one in present if one.is_sound]
    reasons: dict[str, list[str]] = {one.name: [] for one in ordered}
    assert len(reasons) == len(ordered), "two snapshots never share a name"
    _keep_always(ordered, present, sound, minimum, reasons)
    pause = None
    if keep.is_empty:
        pause = "no policy says what to keep"
    elif present and present[0].is_suspect:
        pause = f"{present[0].name}, the newest, is suspect: litekeep accept says that it is fine"
    newest = (sound or present)[0].time if present else now
    for group in (sound, present):
        _apply(keep, group, newest, zone, reasons)
    if pause is not None:
        for found in reasons.values():
            found[:] = found or ["retention is paused"]
    decisions = tuple(Decision(one.name, one.time, tuple(reasons[one.name])) for one in ordered)
    return RetentionPlan(decisions, pause)


def _keep_always(
    ordered: Sequence[Candidate],
    present: Sequence[Candidate],
    sound: Sequence[Candidate],
    minimum: int,
    reasons: dict[str, list[str]],
) -> None:
    """Note the reasons that no policy overrides."""
    for one in ordered:
        if one.hold is not None:
            reasons[one.name].append(f"held: {one.hold}" if one.hold else "held")
        if one.is_latest:
            reasons[one.name].append("latest")
    for one in ordered[: len(ordered) - len(present)]:
        reasons[one.name].append("from the future")
    for one in present[:1]:
        reasons[one.name].append("newest")
    for group in (ordered, sound):
        for one in [one for one in group if one.is_proved][:1]:
            _note(reasons[one.name], "newest proved")
    for number, one in enumerate(sound[: max(1, minimum)], 1):
        reasons[one.name].append("newest sound" if number == 1 else f"minimum of {minimum}")


def _apply(
    keep: Keep,
    group: Sequence[Candidate],
    newest: datetime,
    zone: tzinfo,
    reasons: dict[str, list[str]],
) -> None:
    """Note what the policy keeps of *group*, which is newest first."""
    for one in group:
        if keep.within is not None and newest - one.time <= timedelta(seconds=keep.within):
            _note(reasons[one.name], f"within {show_duration(keep.within)}")
    for word, count, period in _rules(keep, zone):
        left, last = count, None
        for index, one in enumerate(group):
            value = period(index, one.time)
            is_oldest = index == len(group) - 1
            if left > 0 and (value != last or is_oldest):
                left -= 1
                last = value
                _note(reasons[one.name], word)


def _note(reasons: list[str], word: str) -> None:
    if word not in reasons:
        reasons.append(word)


def _rules(
    keep: Keep, zone: tzinfo
) -> Sequence[tuple[str, int, Callable[[int, datetime], object]]]:
    """Return each counted rule that is set: its word, its count, and what it counts."""

    def local(form: str) -> Callable[[int, datetime], object]:
        return lambda _, time: time.astimezone(zone).strftime(form)

    rules: tuple[tuple[str, int | None, Callable[[int, datetime], object]], ...] = (
        ("last", keep.last, lambda index, _: index),
        # With the offset: the hour that comes twice when clocks go back is two hours.
        ("hourly", keep.hourly, local("%Y-%m-%d %H %z")),
        ("daily", keep.daily, local("%Y-%m-%d")),
        ("weekly", keep.weekly, local("%G-%V")),
        ("monthly", keep.monthly, local("%Y-%m")),
        ("yearly", keep.yearly, local("%Y")),
    )
    return [(word, count, period) for word, count, period in rules if count]
