"""
This module is the command: ``python -m bench``, or ``make bench``.

    python -m bench              everything, at full size: writes docs/benchmarks.md
    python -m bench --quick      everything, tiny, one round: writes no documentation
    python -m bench --only backup --size 64 --rounds 3       a part, to look at

Databases are made once and kept in the cache folder; all else is removed.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from bench import bars, database, page, results
from bench.application import Conditions, measure_application
from bench.contenders import BACKUPS, GUIDE_VACUUM, RESTORES, Contender, alone
from bench.launch import TOP
from bench.machine import machine, versions
from bench.measure import measure_backups, measure_growth, measure_restores
from bench.plan import FULL, QUICK, Plan
from bench.results import Results

PARTS = ("backup", "restore", "growth", "application")
BY_NAME = {one.name: one for one in BACKUPS}


def main() -> None:
    """Measure as the arguments say."""
    arguments = _arguments()
    plan = QUICK if arguments.quick else FULL
    if arguments.size:
        plan = replace(plan, database_size=arguments.size << 20)
    if arguments.rounds:
        plan = replace(plan, rounds=arguments.rounds)
    is_whole = plan == FULL and tuple(arguments.only) == PARTS
    _check_programs(is_whole)
    cache = Path(arguments.cache).resolve()
    cache.mkdir(parents=True, exist_ok=True)
    _say(f"about {plan.estimated_seconds / 60:.0f} minutes if everything is measured")
    folder = Path(tempfile.mkdtemp(prefix="work-", dir=cache))
    try:
        measured = _measure(plan, arguments.only, cache, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for bar in bars.bars(measured):
        verdict = "kept" if bar.is_kept else f"MISSED by {bar.miss:.0%}"
        judged = f"limit {bar.limit:g}: {verdict}" if not arguments.quick else "too small to judge"
        _say(f"{bar.claim}: {bar.value:.2f} ({judged})")
    results.save(measured, cache / "results.json")
    if is_whole:
        page.write(measured, plan, TOP / "docs")
    elif arguments.pages:
        page.write(measured, plan, Path(arguments.pages))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("--quick", action="store_true", help="tiny and once: are the scripts well?")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--size", type=int, metavar="MIB", help="another size of the database")
    parser.add_argument("--rounds", type=int, help="another number of rounds")
    parser.add_argument(
        "--cache", default=str(TOP / ".bench"), help="where databases are kept between runs"
    )
    parser.add_argument("--pages", metavar="FOLDER", help="write the page of a partial run here")
    return parser.parse_args()


def _check_programs(is_whole: bool) -> None:
    """Refuse a whole run that lacks a contender; say whom a partial one leaves out."""
    lacking = {name for one in (*BACKUPS, *RESTORES) for name in one.missing}
    if lacking and is_whole:
        sys.exit(
            f"error: not installed: {', '.join(sorted(lacking))}\n"
            "hint: restic, sqlite3 and gzip are packages of Debian; the rest comes with the"
            " dependency groups bench and test."
        )
    for one in (*BACKUPS, *RESTORES):
        if one.missing:
            _say(f"left out: {one.title} (not installed: {', '.join(one.missing)})")


def _measure(plan: Plan, parts: Sequence[str], cache: Path, folder: Path) -> Results:
    path = _database(cache, plan.database_size)
    measured = Results(
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
        rounds=plan.rounds,
        machine=machine(),
        versions=versions(),
        database_size=path.stat().st_size,
    )
    if "backup" in parts:
        backups = measure_backups(_present(BACKUPS), path, plan.rounds, folder, _say)
        measured = replace(measured, backup=backups)
        results.save(measured, cache / "results.json")
    if "restore" in parts:
        restores = measure_restores(_present(RESTORES), path, plan.rounds, folder, _say)
        measured = replace(measured, restore=restores)
        results.save(measured, cache / "results.json")
    if "growth" in parts:
        paths = [_database(cache, size) for size in plan.growth_sizes]
        growth = measure_growth(BY_NAME["litekeep-s3"], paths, plan.rounds, folder, _say)
        measured = replace(measured, growth=growth)
        results.save(measured, cache / "results.json")
    if "application" in parts:
        measured = _with_application(measured, plan, cache, folder)
    return measured


def _with_application(measured: Results, plan: Plan, cache: Path, folder: Path) -> Results:
    path = _database(cache, plan.database_size)
    slow_path = _database(cache, plan.slow_database_size)
    ours, guide, quiet = BY_NAME["litekeep-s3"], BY_NAME["guide"], alone(plan.alone_seconds)
    fast = measure_application(
        _present([quiet, ours, guide, GUIDE_VACUUM]),
        path,
        Conditions(plan.rounds, {guide.name: plan.limit_seconds}),
        folder,
        _say,
    )
    slow = measure_application(
        _present([quiet, ours, GUIDE_VACUUM]),
        slow_path,
        Conditions(plan.rounds, {}, plan.slow_bytes_per_second),
        folder,
        _say,
    )
    return replace(
        measured,
        application=fast,
        application_slow=slow,
        slow_database_size=slow_path.stat().st_size,
    )


def _present(listed: Sequence[Contender]) -> list[Contender]:
    return [one for one in listed if not one.missing]


def _database(cache: Path, size: int) -> Path:
    # A folder of its own: the disk use of the folder that a database lies in is measured.
    return database.make(cache / "databases", size)


def _say(line: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S}  {line}", flush=True)


if __name__ == "__main__":
    main()
