"""
Streams of several databases, each on a thread of its own.

What fails is tried again where that may help: a database that is not there yet or is busy, a
store that does not answer.  Once a database's stream has begun, all is tried again.  Nothing
of it holds up another.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from litekeep import workers
from litekeep.errors import DatabaseBusy, LitekeepError, NotFound
from litekeep.stream.capture import Capture
from litekeep.stream.job import StreamJob, StreamResult, Tell, Told
from litekeep.stream.spool import open_spool
from litekeep.stream.streaming import RETRY_SECONDS, Stream

#: How soon a database is looked for again that is not there, or busy.
_AGAIN_SECONDS = 1.0


@contextlib.contextmanager
def opened_stream(job: StreamJob, tell: Tell) -> Iterator[Stream]:
    """
    Hold a database's stream for the time of a ``with`` block.

    Raises:
        AlreadyRunning: Another process streams it.

        NotFound, DatabaseUnusable: There is no such database, or it cannot be read.
    """
    real = os.path.realpath(job.database)  # two links lead to one database
    with (
        open_spool(job.state, job.name, real, job.spool_size_max) as spool,
        Capture(job.database, spool, help_size=job.help_size, clock=job.clock) as capture,
    ):
        yield Stream(job, spool, capture, tell)


def stream_once(job: StreamJob, tell: Tell = lambda _, __: None) -> StreamResult:
    """Capture what was committed since the last time, ship it, and end."""
    with opened_stream(job, tell) as stream:
        stream.begin(is_gap=False)  # between two runs of a schedule nobody was to watch
        stream.ship_once()
        return stream.result()


def run_streams(
    jobs: Sequence[StreamJob],
    stop: threading.Event,
    tell: Tell = lambda _, __: None,
    begun: Callable[[], object] = lambda: None,
) -> tuple[StreamResult | LitekeepError, ...]:
    """
    Stream several databases, each on a thread of its own, until *stop* is set.

    One that cannot begin is told at once if there are others, which go on.

    Args:
        jobs: One a database.

        stop: Set by whoever wants an end; all that is captured by then is shipped, or stays in
            the spool.

        tell: Is called with the job and what happened, from several threads.

        begun: Is called once all have begun, or have failed to for now.

    Returns:
        For each job how it ended, or why it could not begin.
    """
    waiting = _Countdown(len(jobs), begun)
    is_alone = len(jobs) == 1
    futures = [
        workers.in_thread(partial(_run, job, stop, tell, waiting, is_alone=is_alone))
        for job in jobs
    ]
    return tuple(future.result() for future in futures)


class _Countdown:
    """Calls back when as many have arrived as were waited for."""

    def __init__(self, count: int, call: Callable[[], object]) -> None:
        self._left = count
        self._call = call
        self._lock = threading.Lock()

    def arrive(self) -> None:
        with self._lock:
            self._left -= 1
            if self._left == 0:
                self._call()


def _run(
    job: StreamJob,
    stop: threading.Event,
    tell: Tell,
    waiting: _Countdown,
    *,
    is_alone: bool,
) -> StreamResult | LitekeepError:
    has_begun = is_counted = False
    said = ""
    while True:
        try:
            with opened_stream(job, tell) as stream:
                stream.begin()
                has_begun, said = True, ""
                if not is_counted:
                    is_counted = True
                    waiting.arrive()
                stream.run(stop)
                return stream.result()
        except LitekeepError as error:
            may_come = has_begun or error.retryable or isinstance(error, (NotFound, DatabaseBusy))
            if error.message != said and (may_come or not is_alone):
                said = error.message
                hint = f"{error.hint or ''} It is tried again.".lstrip() if may_come else error.hint
                tell(job, Told(said, hint, is_warning=True))
            if not is_counted:
                is_counted = True
                waiting.arrive()
            is_cheap = isinstance(error, (NotFound, DatabaseBusy))
            if not may_come or stop.wait(_AGAIN_SECONDS if is_cheap else RETRY_SECONDS):
                return error
