"""Who is told of what, and what is not told again."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from litekeep.errors import NotTold
from litekeep.notify.events import Event, Outcome, Wrong
from litekeep.notify.memory import Memory
from litekeep.notify.telling import EVENTS_MAX, tell

START = datetime(2025, 9, 8, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ALL = ("failure", "stale", "recovered")


@dataclass(slots=True)
class Heard:
    """A channel that keeps what it hears, or takes nothing."""

    title: str = "one"
    on: tuple[str, ...] = ALL
    events: list[tuple[str, str]] = field(default_factory=list)
    is_broken: bool = False
    is_held: threading.Event | None = None

    @property
    def name(self) -> str:
        return self.title

    def send(self, event: Event) -> None:
        if self.is_held is not None:
            self.is_held.wait()
        if self.is_broken:
            raise NotTold("it is broken", hint="Mend it.")
        self.events.append((event.outcome, event.database))


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(tmp_path / "state", 24 * 3600)


def event(
    outcome: Outcome = "failure", kind: str = "NotFound", hours: float = 0, database: str = "app"
) -> Event:
    wrong = Wrong(kind, "it is not there") if outcome in ("failure", "stale") else None
    return Event("backup", database, outcome, START + HOUR * hours, "server", 1.0, wrong)


def told(channel: Heard, memory: Memory, *events: Event) -> list[str]:
    """What *channel* hears of the events, each a run of its own."""
    channel.events.clear()
    for each in events:
        assert tell([each], [channel], memory, seconds_max=5) == []
    return [outcome for outcome, _ in channel.events]


def test_a_failure_that_goes_on_is_told_once_a_day(memory: Memory):
    hourly = [event(hours=hour) for hour in range(50)]

    assert told(Heard(), memory, *hourly) == ["failure"] * 3


def test_a_failure_of_another_kind_is_told_and_the_two_in_turn_are_not(memory: Memory):
    kinds = ["NotFound", "AccessDenied"] * 5
    hourly = [event(kind=kind, hours=hour) for hour, kind in enumerate(kinds)]

    assert told(Heard(), memory, *hourly) == ["failure", "failure"]


def test_that_it_is_over_is_told_once_and_a_new_failure_again(memory: Memory):
    runs = [event(), event("success"), event("success"), event(hours=1), event("success")]

    assert told(Heard(), memory, *runs) == ["failure", "recovered", "failure", "recovered"]


def test_each_database_and_each_job_has_troubles_of_its_own(memory: Memory):
    channel = Heard()
    other = replace(event(), job="verify")

    assert told(channel, memory, event(), event(database="b"), other) == ["failure"] * 3
    assert told(channel, memory, event("success", database="b")) == ["recovered"]
    assert told(channel, memory, event("success", database="c")) == []


def test_who_does_not_want_to_hear_that_it_is_over_hears_of_the_next_failure(memory: Memory):
    channel = Heard(on=("failure",))

    assert told(channel, memory, event(), event("success"), event(hours=1)) == ["failure"] * 2


def test_a_channel_hears_of_nothing_that_it_did_not_ask_for(memory: Memory):
    assert told(Heard(on=("stale",)), memory, event(), event("success")) == []
    assert told(Heard(on=("success",)), memory, event("success")) == ["success"]
    assert told(Heard(on=("stale",)), memory, event("stale", kind="Stale")) == ["stale"]


def test_a_channel_that_failed_is_told_by_the_next_run_and_the_others_are_not(memory: Memory):
    broken, well = Heard("broken", is_broken=True), Heard("well")

    (untold,) = tell([event()], [broken, well], memory, seconds_max=5)
    broken.is_broken = False
    assert tell([event(hours=1)], [broken, well], memory, seconds_max=5) == []

    assert (untold.channel, untold.error.message) == ("broken", "it is broken")
    assert (len(broken.events), len(well.events)) == (1, 1)


def test_a_channel_that_hangs_is_waited_for_no_longer_than_all_may_take(memory: Memory):
    held = threading.Event()
    clock = [0.0]
    channels = [Heard(str(number), is_held=held) for number in range(5)]

    untold = tell([event()], channels, memory, seconds_max=-1, clock=lambda: clock[0])
    held.set()

    assert [each.error.message for each in untold] == ["it was not told in time"] * 5


def test_a_thousand_failures_are_not_a_thousand_messages_at_once(memory: Memory):
    channel = Heard()
    events = [event(database=f"db{number}") for number in range(3 * EVENTS_MAX)]

    for run in range(1, 5):
        tell(events, [channel], memory, seconds_max=5)
        assert len(channel.events) == min(run, 3) * EVENTS_MAX


def test_bad_news_comes_first(memory: Memory):
    channel = Heard(on=("success", "failure"))
    good = [event("success", database=f"db{number}") for number in range(3)]

    tell([*good, event()], [channel], memory, seconds_max=5)

    assert channel.events[0] == ("failure", "app")


@pytest.mark.parametrize("content", [b"", b"{", b'{"troubles": 3}', b"\xff" * 100, b"[" * 10**5])
def test_what_cannot_be_read_counts_as_nothing_told(memory: Memory, content: bytes):
    memory.folder.mkdir()
    (memory.folder / "notify.json").write_bytes(content)

    assert told(Heard(), memory, event(), event(hours=1)) == ["failure"]


def test_times_of_a_clock_that_was_wrong_are_not_believed(memory: Memory):
    assert told(Heard(), memory, event(hours=1000), event()) == ["failure", "failure"]


def test_where_nothing_can_be_remembered_it_is_told_and_said(tmp_path: Path):
    (tmp_path / "file").touch()
    channel = Heard()

    (untold,) = tell([event()], [channel], Memory(tmp_path / "file/state", 60), seconds_max=5)

    assert channel.events == [("failure", "app")]
    assert "cannot be remembered" in untold.error.message


KILLED = """
import os, sys
from pathlib import Path
from litekeep import faults
from litekeep.notify.memory import Memory
from tests.unit.notify.test_telling import event

def kill(step):
    if step == sys.argv[2]:
        os._exit(9)

memory = Memory(Path(sys.argv[1]), 86400)
memory.told([(event(), "one")])
faults.listen(kill)
memory.told([(event(kind="AccessDenied"), "one")])
"""


@pytest.mark.parametrize("step", ["fsync notices", "rename notices"])
def test_killed_while_it_remembers_it_knows_what_it_knew(memory: Memory, step: str):
    done = subprocess.run([sys.executable, "-c", KILLED, memory.folder, step], check=False)

    assert done.returncode == 9
    assert not memory.recall().is_due(event(hours=1), "one")
    assert memory.recall().is_due(event(kind="AccessDenied"), "one")
    assert told(Heard(), memory, event(kind="AccessDenied")) == ["failure"]
    assert sorted(path.name for path in memory.folder.iterdir()) == ["notify.json", "notify.lock"]
