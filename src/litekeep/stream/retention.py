"""
Retention: which txids of a chain stay restorable, which files that takes, and which go.

    every sync for a day, one a minute for a week, one an hour for a month, one a day for a year

Of a tier's spans the last txid stays: the last of an hour is the last of its last minute, so
what a longer span keeps was not removed before.

  1. The newest txid stays, the newest one that was proved, and what is held.
  2. For each txid that stays, the files stay that make it; and those that make the newest one
     by the plan that a restore makes.  All others may go: those that a merged file stands for,
     those between two txids that stay.
  3. Ages count from the newest txid, not from the clock: where nothing is committed, time
     removes nothing.  They count from the time at which the store got it, where that is the
     earlier one: a clock that runs ahead removes nothing.
  4. A file to which nothing leads (one before it is missing) stays until it is older than all
     tiers: perhaps somebody brings back what is missing.

Order of removing: by the last txid of a file, the newest first.  A file is only ever needed by
files that end behind it; so at any moment each file that is left either has all that it needs,
or never had, and a kill in between leaves no txid listed that cannot be restored.

A reader that planned before a file went finds it missing, and plans again.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from litekeep import faults
from litekeep.stream.chain import Link, Place
from litekeep.stream.history import History
from litekeep.stream.metadata import time_ms_of
from litekeep.stream.policy import Tier
from litekeep.units import show_duration

_DRILLS_MAX = 8
_PROOF = re.compile(r"proofs/(?P<txid>[0-9a-f]{16})\.proof-(?P<stamp>\d{8}_\d{6})\.json")


@dataclass(frozen=True, slots=True)
class RetentionPlan:
    """
    `kept` says for each txid that stays restorable why; `needed` are the files which that
    takes, `removed` those that go, in the order in which they are to.
    """

    kept: Mapping[int, tuple[str, ...]]
    needed: tuple[Link, ...]
    removed: tuple[Link, ...]


def plan_retention(
    history: History,
    keep: Sequence[Tier],
    *,
    held: Mapping[int, str] | None = None,
    proved: Collection[int] = (),
) -> RetentionPlan:
    """
    Decide what stays.

    Args:
        history: The files that there are, with their times.

        keep: The tiers; with none, nothing goes.

        held: Txids that stay, and why somebody holds them.

        proved: Txids that were restored and compared.
    """
    links = history.links
    leads = _leads(links)
    restorable = sorted(leads)
    if not restorable or not keep:
        return RetentionPlan(dict.fromkeys(restorable, ("all stay",)), links, ())
    newest_ms = _newest_ms(history, links, restorable[-1])
    kept = _kept(history, restorable, newest_ms, keep)
    _note(kept, restorable[-1], "newest")
    for txid in sorted(leads.keys() & set(proved))[-1:]:
        _note(kept, txid, "newest proved")
    for txid in sorted(leads.keys() & (held or {}).keys()):
        _note(kept, txid, f"held: {(held or {})[txid]}")

    needed = _needed(leads, kept)
    needed |= {link.object for link in history.road(restorable[-1]) or ()}
    longest_ms = max(tier.within_seconds for tier in keep) * 1000
    removed = [
        link
        for link in links
        if link.object not in needed
        and (link.max_txid in leads or history.time_ms(link.max_txid) < newest_ms - longest_ms)
    ]
    removed.sort(key=lambda link: (-link.max_txid, link.min_txid))
    return RetentionPlan(
        kept={txid: tuple(reasons) for txid, reasons in sorted(kept.items())},
        needed=tuple(link for link in links if link.object in needed),
        removed=tuple(removed),
    )


def apply_retention(
    place: Place,
    removed: Sequence[Link],
    *,
    pause: Callable[[], object] = lambda: None,
    gone: Callable[[Link], object] = lambda _: None,
) -> None:
    """
    Remove files, in the order of the plan.

    Args:
        place: Where they lie.

        removed: `RetentionPlan.removed`.

        pause: Is called before each, so that shipping is not held up; what it raises ends it.

        gone: Is told of each that was removed.

    Raises:
        StoreError: The store failed; what was not removed goes another time.
    """
    for link in removed:
        pause()
        faults.reach(f"retain {link.object}")
        place.store.delete(link.object)
        gone(link)


def drilled(names: Iterable[str]) -> tuple[int, ...]:
    """
    Return the txids that drills restored last, by the names of their proofs.

    The names do not tell how a drill ended; so it is several, one of which is the newest that
    was proved.

    >>> drilled(["proofs/000000000000000a.proof-20260914_030000.json", "ltx/0/x", "proofs/x"])
    (10,)
    """
    found = [match for name in names if (match := _PROOF.fullmatch(name)) is not None]
    newest = sorted(found, key=lambda match: match["stamp"], reverse=True)[:_DRILLS_MAX]
    return tuple(sorted({int(match["txid"], 16) for match in newest}))


def _leads(links: Sequence[Link]) -> dict[int, tuple[Link, int]]:
    """
    Return for each txid that can be made the file that makes it, and from which txid.

    Of several it is the one that reaches back farthest, so that few files make each.
    """
    leads: dict[int, tuple[Link, int]] = {}
    made: list[int] = []
    for link in links:  # all that ends before it is known by now
        start: int | None = 0
        if not link.is_whole:
            index = bisect_left(made, link.min_txid - 1)
            start = made[index] if index < len(made) and made[index] < link.max_txid else None
        if start is None:
            continue
        if link.max_txid not in leads:
            made.append(link.max_txid)
        before = leads.get(link.max_txid)
        if before is None or (start, -link.level) < (before[1], -before[0].level):
            leads[link.max_txid] = link, start
    return leads


def _kept(
    history: History, restorable: Sequence[int], newest_ms: int, keep: Sequence[Tier]
) -> dict[int, list[str]]:
    """Return what the tiers keep, and why."""
    kept: dict[int, list[str]] = {}
    times = [history.time_ms(txid) for txid in restorable]
    for tier in keep:
        within = show_duration(tier.within_seconds)
        oldest_ms = newest_ms - int(tier.within_seconds * 1000)
        every_ms = tier.every_seconds * 1000
        word = f"every {show_duration(tier.every_seconds)}" if every_ms else "every sync"
        for index in range(bisect_left(times, oldest_ms), len(times)):
            is_last = index + 1 == len(times) or not every_ms
            if is_last or times[index] // every_ms < times[index + 1] // every_ms:
                _note(kept, restorable[index], f"{word} for {within}")
    return kept


def _needed(leads: Mapping[int, tuple[Link, int]], kept: Collection[int]) -> set[str]:
    """Return the files that make these txids."""
    needed: set[str] = set()
    for txid in kept:
        at = txid
        while at:
            link, before = leads[at]
            if link.object in needed:
                break
            needed.add(link.object)
            at = before
    return needed


def _newest_ms(history: History, links: Sequence[Link], txid: int) -> int:
    got = min(time_ms_of(link.modified) for link in links if link.max_txid == txid)
    return min(history.time_ms(txid), got)


def _note(kept: dict[int, list[str]], txid: int, reason: str) -> None:
    kept.setdefault(txid, []).append(reason)
