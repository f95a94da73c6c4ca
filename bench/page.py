"""
This module is the writer of `docs/benchmarks.md` and its figures.

Everything on the page comes from one run's results; nothing is typed in, but for the
reasons of missed promises (`bars.REASONS`) and the words around the numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from bench import figures
from bench.bars import Bar, bars, cpu, missed, stored, wall
from bench.contenders import BACKUPS, GUIDE_VACUUM, RESTORES, alone
from bench.figures import Measure, Panel
from bench.plan import Plan
from bench.results import Phase, Results, Run, median

T = TypeVar("T")
MIB = 1 << 20
GIB = 1 << 30
TITLES = {one.name: one.title for one in (*BACKUPS, GUIDE_VACUUM, alone(0))}
RESTORE_TITLES = {one.name: one.title for one in RESTORES}
COLUMNS = ("wall", "CPU", "server's CPU", "peak memory", "extra disk, peak", "left", "stored")


def write(results: Results, plan: Plan, docs: Path) -> None:
    """Write the page and its figures below *docs*."""
    drawn = docs / "figures"
    drawn.mkdir(parents=True, exist_ok=True)
    (drawn / "benchmarks-backup.svg").write_text(backup_figure(results))
    (drawn / "benchmarks-growth.svg").write_text(growth_figure(results))
    (docs / "benchmarks.md").write_text("\n".join(_page(results, plan)) + "\n")


def _page(results: Results, plan: Plan) -> Iterator[str]:
    yield "# Benchmarks\n"
    yield "<!-- Written by `make bench`. Do not edit: the next run writes it anew. -->\n"
    yield (
        f"Measured on {results.date} in one run: {results.rounds} rounds, contenders taking"
        " turns within each. Numbers are medians; what stands in brackets is the smallest"
        " and the largest. Ratios are taken between medians of this same run.\n"
    )
    yield from _promises(bars(results))
    yield from _backup(results)
    yield from _restore(results)
    yield from _growth(results)
    yield from _application(results, plan)
    yield from _how(results)


def _promises(listed: Sequence[Bar]) -> Iterator[str]:
    yield "## What was promised, and what came out\n"
    yield "| | promised | measured | |"
    yield "| --- | --: | --: | --- |"
    for one in listed:
        sign = "at least" if one.is_minimum else "at most"
        verdict = "kept" if one.is_kept else f"**missed by {one.miss:.0%}**"
        promised, measured = _number(one.limit, one.unit), _number(one.value, one.unit)
        yield f"| {one.claim} | {sign} {promised} | {measured} | {verdict} |"
    yield ""
    for one in missed(listed):
        yield f"*Missed: {one.claim}.* {one.reason}\n"


def _number(value: float, unit: str) -> str:
    return f"{value:.2f}" if unit == "x" else f"{value:.0f} {unit}"


def _backup(results: Results) -> Iterator[str]:
    yield f"## Backup of {results.database_size / MIB:,.0f} MiB\n"
    yield "![Wall and CPU time of each contender](figures/benchmarks-backup.svg)\n"
    yield from _table(results.backup, TITLES)
    yield (
        "\nCPU is that of all processes of the contender, user and system together. The"
        " store is a SeaweedFS server on the same cores: what it uses itself stands"
        " apart, and slows everybody. *Extra disk* is what lay in the contender's"
        " folders at the worst moment, *left* what lies there afterwards: the local"
        " snapshot, where there is one. `latest` counts once in *stored*.\n"
    )
    yield (
        "The guide's pipeline is taken in its cheapest reading: the temporary copy is"
        " compressed in place, one upload, `latest` copied inside the store, no check."
        " Its `quick_check` is measured by itself. restic and rclone run as they come, on"
        " a first backup; later ones of restic send only what changed, which these"
        " figures do not show. restic encrypts as well, and rclone does not compress.\n"
    )
    yield (
        "The floor keeps no `latest`. Litekeep has it copied inside the store, which costs"
        " this server about as much as taking the object once more; the second floor does"
        " the same.\n"
    )


def _restore(results: Results) -> Iterator[str]:
    yield "## Restore of the same database\n"
    yield from _table(results.restore, RESTORE_TITLES)
    yield (
        "\nLitekeep compares checksums, runs `quick_check` and flushes the file to the disk;"
        " `gunzip` and the bare library do none of it.\n"
    )


def _growth(results: Results) -> Iterator[str]:
    yield "## Growth\n"
    yield "![Time and memory over the size of the database](figures/benchmarks-growth.svg)\n"
    yield "| database | wall | CPU | peak memory |"
    yield "| --: | --: | --: | --: |"
    for size, runs in sorted(results.growth.items()):
        memory = _spread(runs, lambda run: run.memory_peak_size / MIB, "{:.0f}", " MiB")
        yield (
            f"| {size / MIB:,.0f} MiB | {_spread(runs, wall, '{:.2f}', ' s')}"
            f" | {_spread(runs, cpu, '{:.2f}', ' s')} | {memory} |"
        )
    yield (
        "\nTo S3, with the check. Memory is the sum over all processes (each shared page"
        " counted once), sampled 40 times a second.\n"
    )


def _application(results: Results, plan: Plan) -> Iterator[str]:
    yield "## The application meanwhile\n"
    yield (
        f"A process that commits without pause (WAL mode, `synchronous=NORMAL`, one insert"
        f" and one update each) on a database of {results.database_size / MIB:,.0f} MiB,"
        f" alone and beside a backup to S3. A backup that has not ended after"
        f" {plan.limit_seconds:.0f} s is stopped.\n"
    )
    yield from _phases(results.application)
    if results.application_slow:
        yield (
            f"\n### With a store that takes {plan.slow_bytes_per_second / 1e6:.0f} MB/s\n\n"
            f"The same with a database of {results.slow_database_size / MIB:,.0f} MiB.\n"
        )
        yield from _phases(results.application_slow)
    yield (
        "\nBeside any backup the application shares the cores with the compression and the"
        " server, so it commits less often. `.backup` copies 100 pages at a time and begins"
        " again whenever another process has committed in between: beside a writer without"
        " pause it does not come to an end, which is why the last row stands here too.\n"
    )


def _phases(phases: Mapping[str, Sequence[Phase]]) -> Iterator[str]:
    yield "| beside | took | commits a second | p99 | longest commit | WAL, largest |"
    yield "| --- | --: | --: | --: | --: | --: |"
    for name, listed in phases.items():
        took = _spread(listed, lambda phase: phase.seconds, "{:.1f}", " s")
        if not all(phase.is_finished for phase in listed):
            stopped = sum(not phase.is_finished for phase in listed)
            took = f"did not end ({stopped} of {len(listed)} stopped)"
        yield (
            f"| {TITLES[name]} | {took}"
            f" | {_spread(listed, lambda phase: phase.commits_per_second, '{:,.0f}', '')}"
            f" | {_spread(listed, lambda phase: phase.latency_p99_seconds * 1e3, '{:.2f}', ' ms')}"
            f" | {_spread(listed, lambda phase: phase.latency_max_seconds * 1e3, '{:.0f}', ' ms')}"
            f" | {_spread(listed, lambda phase: phase.wal_peak_size / MIB, '{:.0f}', ' MiB')} |"
        )


def _how(results: Results) -> Iterator[str]:
    yield "## How it was measured\n"
    yield (
        "`make bench` measures all of this and writes this page; the scripts stand in"
        " `bench/`. The database is generated (customers, orders, a log of events; text,"
        " numbers, JSON, tokens, four indexes; the same bytes every time). Before each run"
        " all writes are flushed and the database is read once, so it comes from memory"
        " for everybody. Each round has a fresh server.\n"
    )
    yield "| machine | |"
    yield "| --- | --- |"
    for key, value in results.machine.items():
        yield f"| {key} | {value} |"
    yield ""
    yield "| version | |"
    yield "| --- | --- |"
    for key, value in results.versions.items():
        yield f"| {key} | {value} |"


def _table(runs: Mapping[str, Sequence[Run]], titles: Mapping[str, str]) -> Iterator[str]:
    yield "| | " + " | ".join(COLUMNS) + " |"
    yield "| --- |" + " --: |" * len(COLUMNS)
    for name, listed in runs.items():
        cells = [
            _spread(listed, wall, "{:.2f}", " s"),
            _spread(listed, cpu, "{:.2f}", " s"),
            f"{median(listed, lambda run: run.server_cpu_seconds):.1f} s",
            f"{max(run.memory_peak_size for run in listed) / MIB:.0f} MiB",
            f"{max(run.disk_peak_size for run in listed) / MIB:,.0f} MiB",
            f"{median(listed, lambda run: run.disk_end_size) / MIB:,.0f} MiB",
            f"{median(listed, stored) / MIB:,.0f} MiB",
        ]
        yield f"| {titles[name]} | " + " | ".join(cells) + " |"


def _spread(entries: Sequence[T], value: Callable[[T], float], form: str, unit: str) -> str:
    taken = [value(entry) for entry in entries]
    middle = form.format(median(entries, value)) + unit
    if len(taken) == 1:
        return middle
    return f"{middle} ({form.format(min(taken))} to {form.format(max(taken))})"


def backup_figure(results: Results) -> str:
    """Draw wall and CPU time of each contender."""
    tones = {"floor": "b", "floor-latest": "b"}

    def measures(value: Callable[[Run], float]) -> list[Measure]:
        found = []
        for name, runs in results.backup.items():
            seconds = median(runs, value)
            tone = "a" if name.startswith("litekeep") else tones.get(name, "c")
            title = TITLES[name].replace("`", "")
            found.append(Measure(title, seconds, f"{seconds:.1f} s", tone))
        return found

    return figures.bar_chart(
        "Backup: wall and CPU time of each contender",
        [("Wall time", measures(wall)), ("CPU time", measures(cpu))],
    )


def growth_figure(results: Results) -> str:
    """Draw time and memory over the size."""
    sizes = sorted(results.growth)
    labels = [f"{size / GIB:.0f} GiB" if size >= GIB else f"{size / MIB:.0f} MiB" for size in sizes]
    times = [(size, median(results.growth[size], wall)) for size in sizes]
    memory = [
        (size, max(run.memory_peak_size for run in results.growth[size]) / MIB) for size in sizes
    ]
    longest = max(value for _, value in times)
    ticks = [(value, f"{value:g} s") for value in (0.1, 0.3, 1, 3, 10, 30, 100, 300)]
    shown = [tick for tick in ticks if tick[0] < longest * 3.4]
    top = 200 if max(value for _, value in memory) <= 200 else 800
    return figures.diagrams(
        "Backup: time is linear in the size of the database, memory is not",
        [
            Panel("Wall time; dashed: proportional", times, labels, shown, True, None, True),
            Panel(
                "Peak memory; dashed: 150 MiB",
                memory,
                labels,
                [(step * top / 4, f"{step * top // 4} MiB") for step in range(5)],
                limit=150,
            ),
        ],
    )
