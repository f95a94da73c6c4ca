"""
Runs of Litekeep in child processes that a test may kill, at a tenth of their price.

One process imports everything and stays single-threaded; each run is a fork of it.
Nothing of SQLite or of a store client is open there, so nothing is shared.

    test  --a line of JSON-->  nursery  --fork-->  run, with a listener at the seam
    test  <--a line of JSON--  nursery  <--wait--

What the listener does at a step is the fault:

    {}                          write the names of the steps down
    {"kill": 7}                 SIGKILL at step 7, counted from 0
    {"raise": 7, "errno": 28}   OSError at step 7 where it is a local one, else the
                                store does not answer
    {"call": 7, "command": []}  run a program to its end at step 7; with "kill": 7 or
                                later, the run is killed then
    {"call": 7, "enter": [], "place": ""}    the same with an application of `intruder.py`
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

from tests.crash import intruder

#: Steps that are system calls on local files; the others are requests to a store.
LOCAL_STEPS = (
    *("create", "write", "fsync", "rename", "link", "unlink", "mkdir", "chown"),
    "checkpoint",
)


@dataclass(frozen=True)
class Run:
    """How a run ended: `status` is its exit code, or minus the signal that killed it."""

    status: int
    output: str
    errors: str
    steps: tuple[str, ...]

    @property
    def was_killed(self) -> bool:
        return self.status == -signal.SIGKILL

    def json(self) -> Any:
        return json.loads(self.output)


class Nursery:
    """The process from which runs are forked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            text=True,
        )

    def close(self) -> None:
        """End the process and wait for it."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def litekeep(
        self,
        *arguments: str | Path,
        fault: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
        user: int | None = None,
        ahead_seconds: int = 0,
    ) -> Run:
        """
        Run a command of Litekeep to its end, whatever that is.

        Its clock goes *ahead_seconds* ahead: names of snapshots are of one second, so
        backups in a row would wait for the next.
        """
        return self._run(
            what="litekeep",
            arguments=[str(argument) for argument in arguments],
            fault=dict(fault or {}),
            environment=dict(environment or {}),
            user=user,
            ahead_seconds=ahead_seconds,
        )

    def call(self, function: str, *arguments: Any, **named: Any) -> Any:
        """Call a function of `applications.py` in a process of its own; return its result."""
        run = self._run(what=function, arguments=list(arguments), named=named)
        assert run.status == 0, f"{function}{arguments}: {run.status}\n{run.errors}"
        return run.json()

    def start(
        self,
        *arguments: str | Path,
        environment: Mapping[str, str] | None = None,
        ahead_seconds: int = 0,
    ) -> int:
        """Start a command of Litekeep; return its process id, which `wait` takes."""
        answer = self._ask(
            what="litekeep",
            arguments=[str(argument) for argument in arguments],
            fault={},
            environment=dict(environment or {}),
            user=None,
            ahead_seconds=ahead_seconds,
            is_background=True,
            base=self._next_base(),
        )
        return int(answer["pid"])

    def start_call(self, function: str, *arguments: Any) -> int:
        """Start a function of `applications.py`; return its process id, which `wait` takes."""
        answer = self._ask(
            what=function,
            arguments=list(arguments),
            is_background=True,
            base=self._next_base(),
        )
        return int(answer["pid"])

    def wait(self, pid: int) -> Run:
        """Wait for what `start` started."""
        return _run_of(self._ask(wait=pid))

    def _next_base(self) -> str:
        self._count += 1
        return str(self._folder / f"run-{self._count}")

    def _run(self, **job: Any) -> Run:
        return _run_of(self._ask(**job, base=self._next_base()))

    def _ask(self, **message: Any) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the nursery has died"
        return dict(json.loads(answer))


def _run_of(answer: Mapping[str, Any]) -> Run:
    base = Path(answer["base"])
    texts = []
    for suffix in (".out", ".err", ".steps"):
        path = base.with_name(base.name + suffix)
        texts.append(path.read_text() if path.exists() else "")
        path.unlink(missing_ok=True)
    return Run(answer["status"], texts[0], texts[1], tuple(texts[2].splitlines()))


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[Nursery]:
    """Keep a nursery for the time of a ``with`` block; *folder* is for its files."""
    nursery = Nursery(folder)
    try:
        yield nursery
    finally:
        nursery.close()


# --------------------------------------------------------------------- the other side


def _serve() -> None:
    running: dict[int, str] = {}
    for line in sys.stdin:
        message = json.loads(line)
        if "wait" in message:
            answer = _waited(message["wait"], running.pop(message["wait"]))
        else:
            pid = os.fork()
            if pid == 0:
                _become(message)
            if message.get("is_background"):
                running[pid] = message["base"]
                answer = {"pid": pid}
            else:
                answer = _waited(pid, message["base"])
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _waited(pid: int, base: str) -> dict[str, Any]:
    _, status = os.waitpid(pid, 0)
    return {"status": os.waitstatus_to_exitcode(status), "base": base}


def _become(message: Mapping[str, Any]) -> None:
    """Be the run; never returns."""
    code = 70
    try:
        base = message["base"]
        for descriptor, path in ((0, os.devnull), (1, f"{base}.out"), (2, f"{base}.err")):
            opened_file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            os.dup2(opened_file, descriptor)
            os.close(opened_file)
        faulthandler.enable()
        os.environ.update(message.get("environment") or {})
        if message["what"] == "litekeep":
            code = _run_litekeep(message)
        else:
            code = _run_function(message["what"], message["arguments"], message.get("named") or {})
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _run_function(name: str, arguments: Sequence[Any], named: Mapping[str, Any]) -> int:
    from tests.crash import applications

    json.dump(getattr(applications, name)(*arguments, **named), sys.stdout)
    return 0


def _run_litekeep(message: Mapping[str, Any]) -> int:
    from litekeep import clock, faults
    from litekeep.cli.main import run

    if ahead := message.get("ahead_seconds"):
        vars(clock)["datetime"] = _ahead_by(timedelta(seconds=ahead))
    steps = open(f"{message['base']}.steps", "a", buffering=1)  # noqa: SIM115 (until the end)
    faults.listen(_Fault(message["fault"], steps))
    if message.get("user"):
        os.setgroups([])
        os.setgid(message["user"])
        os.setuid(message["user"])
    return run(message["arguments"])


def _ahead_by(difference: timedelta) -> type[datetime]:
    class Ahead(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + difference

    return Ahead


class _Fault:
    """Hears the steps of a run, and does what the test asked for at one of them."""

    def __init__(self, fault: Mapping[str, Any], steps: Any) -> None:
        self._fault = fault
        self._steps = steps
        self._count = 0
        self._lock = threading.Lock()

    def __call__(self, step: str) -> None:
        with self._lock:
            index = self._count
            self._count += 1
            self._steps.write(step + "\n")
            if self._fault.get("call") == index:
                self._call()
            if self._fault.get("kill") == index:
                os.kill(os.getpid(), signal.SIGKILL)
        if self._fault.get("raise") == index:
            self._raise(step)

    def _call(self) -> None:
        if "enter" in self._fault:
            intruder.enter(self._fault["place"], self._fault["enter"])
        else:
            subprocess.run(self._fault["command"], check=True, stdin=subprocess.DEVNULL)

    def _raise(self, step: str) -> None:
        from litekeep.errors import StoreUnavailable

        if step.partition(" ")[0] in LOCAL_STEPS:
            number = self._fault["errno"]
            raise OSError(number, os.strerror(number), step)
        raise StoreUnavailable(f"no answer at {step}")


if __name__ == "__main__":
    import sqlite3  # noqa: F401 (imported once for all that are forked)

    import isal.igzip_lib  # noqa: F401

    import litekeep.cli.backup
    import litekeep.cli.list
    import litekeep.cli.main
    import litekeep.cli.restore
    import litekeep.cli.stream
    import litekeep.cli.verify
    import litekeep.notices
    import litekeep.store.objects  # noqa: F401
    import tests.crash.applications  # noqa: F401

    _serve()
