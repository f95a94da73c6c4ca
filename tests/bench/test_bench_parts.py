"""The database, the promises and the page, each by itself."""

from __future__ import annotations

import zlib
from pathlib import Path
from xml.etree import ElementTree

import apsw
import pytest

from bench import bars, database, page
from bench.plan import FULL
from bench.results import Phase, Results, Run, load, save

MIB = 1 << 20


def run_of(wall: float, **others: int) -> Run:
    fields = {
        **{"memory_peak_size": 80 * MIB, "disk_peak_size": 0, "disk_end_size": 0},
        **{"stored_size": 480 * MIB},
    }
    return Run(wall_seconds=wall, cpu_seconds=wall, server_cpu_seconds=1.0, **(fields | others))


def results_of(guide_wall: float) -> Results:
    phase = Phase(5.0, True, 9000.0, 0.001, 0.03, 30 * MIB)
    return Results(
        date="2026-01-31",
        rounds=2,
        machine={"cores": "2"},
        versions={"Python": "3.11"},
        database_size=1024 * MIB,
        backup={
            "litekeep": [run_of(4.0), run_of(5.0)],
            "guide": [run_of(guide_wall), run_of(guide_wall + 1)],
        },
        restore={"litekeep": [run_of(2.0)], "gunzip": [run_of(6.0)], "bare": [run_of(1.0)]},
        growth={16 * MIB: [run_of(0.5)], 1024 * MIB: [run_of(4.0)], 4096 * MIB: [run_of(16.0)]},
        application={"alone": [phase], "guide": [Phase(20.0, False, 1.0, 0.1, 0.1, 0)]},
        application_slow={"alone": [phase]},
        slow_database_size=32 * MIB,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return database.make(tmp_path_factory.mktemp("cache"), 8 * MIB)


def test_the_same_size_gives_the_same_bytes(made: Path, tmp_path: Path) -> None:
    assert made.read_bytes() == database.make(tmp_path, 8 * MIB).read_bytes()


def test_the_database_compresses_as_real_ones_do(made: Path) -> None:
    data = made.read_bytes()

    assert 2.0 < len(data) / len(zlib.compress(data, 6)) < 2.3


def test_the_database_is_sound_and_in_wal_mode(made: Path) -> None:
    connection = apsw.Connection(str(made), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        assert connection.pragma("journal_mode") == "wal"
        assert connection.pragma("integrity_check") == "ok"
    finally:
        connection.close()


def test_a_database_that_was_not_finished_is_made_again(tmp_path: Path) -> None:
    path = database.make(tmp_path, MIB)
    whole = path.read_bytes()
    path.rename(path.with_suffix(".unfinished"))

    assert database.make(tmp_path, MIB).read_bytes() == whole


def test_a_missed_promise_is_shown_as_missed(tmp_path: Path) -> None:
    verdicts = {one.name: one.is_kept for one in bars.bars(results_of(guide_wall=20.0))}
    assert not verdicts["guide-wall"] and verdicts["restore-gunzip"]

    page.write(results_of(guide_wall=20.0), FULL, tmp_path)

    text = (tmp_path / "benchmarks.md").read_text()
    assert "| at least 7.00 | 4.56 | **missed by 35%** |" in text
    assert "*Missed: times less wall time than the guide.*" in text
    assert "did not end (1 of 1 stopped)" in text


def test_a_kept_promise_is_shown_as_kept(tmp_path: Path) -> None:
    page.write(results_of(guide_wall=40.0), FULL, tmp_path)

    assert "| at least 7.00 | 9.00 | kept |" in (tmp_path / "benchmarks.md").read_text()


def test_every_figure_on_the_page_is_there_and_is_xml(tmp_path: Path) -> None:
    page.write(results_of(guide_wall=40.0), FULL, tmp_path)

    drawn = sorted((tmp_path / "figures").iterdir())
    text = (tmp_path / "benchmarks.md").read_text()
    assert len(drawn) == text.count("](figures/") == 2
    for path in drawn:
        assert f"](figures/{path.name})" in text
        ElementTree.parse(path)


def test_results_survive_their_file(tmp_path: Path) -> None:
    results = results_of(guide_wall=40.0)

    save(results, tmp_path / "results.json")

    assert load(tmp_path / "results.json") == results
