"""
This module is a launcher: it runs one command and says what it cost.

Costs are those of the whole tree of processes.  CPU time is exact: the launcher is
a process of its own, adopts every orphan among its descendants
(PR_SET_CHILD_SUBREAPER) and waits for each of them, so that the kernel adds up
their times.  Memory and disk are sampled every `SAMPLE_SECONDS`:

    memory   sum of PSS over the tree: a page that n processes share counts 1/n in
             each, so that nothing counts twice.  The page cache does not count.
    disk     blocks allocated in the watched folders, and in files that some process
             of the tree holds open without a name, over what was there at the start.

A peak between two samples is missed; the largest resident set of a single process
(which the kernel keeps) is taken where it is larger than the sampled sum.

`run` is called; what stands under `main` is the other side, in the launcher.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
SAMPLE_SECONDS = 0.025
PR_SET_CHILD_SUBREAPER = 36
BLOCK_SIZE = 512
#: How long processes that outlive the command are waited for before they are killed.
STRAY_SECONDS = 10.0
STOPPED_BY_LIMIT = -1000


@dataclass(frozen=True, slots=True)
class Cost:
    """
    What one run of a command took.

    `disk_peak_size` and `disk_end_size` are bytes over what was there at the start;
    `started_at` and `ended_at` are of the monotonic clock that all processes share.
    """

    exit_code: int
    started_at: float
    ended_at: float
    cpu_seconds: float
    memory_peak_size: int
    disk_peak_size: int
    disk_end_size: int

    @property
    def wall_seconds(self) -> float:
        """From the start of the command to its end."""
        return self.ended_at - self.started_at

    @property
    def is_stopped_by_limit(self) -> bool:
        """Whether the command was killed because it took too long."""
        return self.exit_code == STOPPED_BY_LIMIT


class CommandFailed(Exception):
    """A command that is measured did not succeed."""


def run(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    folder: Path,
    watched: Sequence[Path],
    limit_seconds: float = 3600.0,
) -> Cost:
    """
    Run *command* in *folder* and return its cost; its output goes to ``output.txt`` there.

    Raises:
        CommandFailed: It ended with another exit code than 0 (but for the limit).
    """
    request = {
        "command": list(command),
        "environment": dict(environment),
        "folder": str(folder),
        "watched": [str(path) for path in watched],
        "limit_seconds": limit_seconds,
    }
    launcher = subprocess.Popen(
        [sys.executable, "-m", "bench.launch"],
        cwd=TOP,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        answer, _ = launcher.communicate(json.dumps(request))
    except BaseException:
        launcher.terminate()  # it stops what it has started
        launcher.wait()
        raise
    if launcher.returncode != 0:
        raise CommandFailed(f"the launcher ended with {launcher.returncode}")
    cost = Cost(**json.loads(answer))
    if cost.exit_code not in (0, STOPPED_BY_LIMIT):
        output = (folder / "output.txt").read_text(errors="replace")
        raise CommandFailed(f"{' '.join(command)} ended with {cost.exit_code}:\n{output[-2000:]}")
    return cost


def cpu_seconds_of(pid: int) -> float:
    """Return the CPU time that a live process has used so far, all its threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Do as the request on standard input says; answer on standard output."""
    request = json.load(sys.stdin)
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "cannot adopt orphans")
    sampler = Sampler([Path(path) for path in request["watched"]])
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sampler.stop_tree())
    with (Path(request["folder"]) / "output.txt").open("wb") as output:
        cost = _launch(request, sampler, output.fileno())
    json.dump(asdict(cost), sys.stdout)


def _launch(request: dict[str, object], sampler: Sampler, output: int) -> Cost:
    command, environment = request["command"], request["environment"]
    assert isinstance(command, list) and isinstance(environment, dict)
    started_at = time.monotonic()
    process = subprocess.Popen(
        command,
        env=environment,
        cwd=str(request["folder"]),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    limit = threading.Timer(float(str(request["limit_seconds"])), sampler.stop_tree)
    limit.start()
    sampler.start()
    exit_code = process.wait()
    ended_at = time.monotonic()
    limit.cancel()
    _reap_strays(sampler)
    sampler.finish()
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(
        exit_code=STOPPED_BY_LIMIT if sampler.is_stopped else exit_code,
        started_at=started_at,
        ended_at=ended_at,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        memory_peak_size=max(sampler.memory_peak_size, _resident_size_max(usage)),
        disk_peak_size=sampler.disk_peak_size,
        disk_end_size=sampler.disk_end_size,
    )


def _resident_size_max(usage: resource.struct_rusage) -> int:
    """
    Return the largest resident set of a single process below this one.

    Until a child has called exec, the kernel counts this process's own pages as the
    child's: a figure no larger than that says nothing.
    """
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return usage.ru_maxrss * 1024 if usage.ru_maxrss > own else 0


def _reap_strays(sampler: Sampler) -> None:
    """Wait for what outlived the command, so that its CPU time counts."""
    timer = threading.Timer(STRAY_SECONDS, sampler.stop_tree)
    timer.start()
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)
    timer.cancel()


class Sampler:
    """The thread that looks at the tree below this process again and again."""

    def __init__(self, watched: Sequence[Path]) -> None:
        self.memory_peak_size = 0
        self.disk_peak_size = 0
        self.disk_end_size = 0
        self.is_stopped = False
        self._watched = watched
        self._disk_start_size = self._disk_size(())
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._sample_until_over, daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def finish(self) -> None:
        """Look a last time and end."""
        self._is_over.set()
        self._thread.join()
        self.disk_end_size = self._disk_size(()) - self._disk_start_size

    def stop_tree(self) -> None:
        """Kill every process below this one."""
        self.is_stopped = True
        for pid in descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _sample_until_over(self) -> None:
        while not self._is_over.wait(SAMPLE_SECONDS):
            pids = tuple(descendants(os.getpid()))
            self.memory_peak_size = max(self.memory_peak_size, sum(map(_pss, pids)))
            extra = self._disk_size(pids) - self._disk_start_size
            self.disk_peak_size = max(self.disk_peak_size, extra)

    def _disk_size(self, pids: Sequence[int]) -> int:
        blocks: dict[tuple[int, int], int] = {}
        for folder in self._watched:
            for path, _, names in os.walk(folder):
                for name in names:
                    with contextlib.suppress(OSError):
                        _count(blocks, os.lstat(os.path.join(path, name)))
        for pid in pids:
            with contextlib.suppress(OSError):
                for name in os.listdir(f"/proc/{pid}/fd"):
                    with contextlib.suppress(OSError):
                        found = os.stat(f"/proc/{pid}/fd/{name}")
                        if found.st_nlink == 0:
                            _count(blocks, found)
        return sum(blocks.values()) * BLOCK_SIZE


def _count(blocks: dict[tuple[int, int], int], found: os.stat_result) -> None:
    blocks[found.st_dev, found.st_ino] = found.st_blocks


def descendants(pid: int) -> Iterator[int]:
    """Yield the processes below *pid*; one that ends meanwhile may be left out."""
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return
    for task in tasks:
        try:
            children = Path(f"/proc/{pid}/task/{task}/children").read_text().split()
        except OSError:
            continue
        for child in map(int, children):
            yield child
            yield from descendants(child)


def _pss(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:  # it has ended
        return 0
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    main()
