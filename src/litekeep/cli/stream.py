"""
`litekeep stream`: every commit of databases to their stores, until it is stopped.
"""

from __future__ import annotations

import shlex
import threading
from typing import Any

import click

from litekeep import workers
from litekeep.cli import output
from litekeep.cli.options import Options, common_options, complete_files
from litekeep.cli.signals import stopped_by
from litekeep.config.stream import SYNC_INTERVAL_MAX, SYNC_INTERVAL_MIN
from litekeep.errors import LitekeepError, NotFound, UserError
from litekeep.jobs import stream_jobs
from litekeep.sources import load_settings
from litekeep.stream.job import StreamJob, StreamResult, Told
from litekeep.stream.running import run_streams, stream_once
from litekeep.units import parse_duration, show_size


@click.command(short_help="Stream every commit to the stores, until stopped.")
@click.argument("databases", nargs=-1, metavar="[DATABASE]...", shell_complete=complete_files)
@click.option(
    "--to",
    multiple=True,
    metavar="STORE",
    shell_complete=complete_files,
    help="URL, folder or configured name of a store, in place of those configured; repeatable.",
)
@click.option("--once", is_flag=True, help="Catch up with what was committed, and end.")
@click.option("--exec", "program", metavar="CMD", help="Run the application, and end with it.")
@click.option(
    "--sync-interval", metavar="TIME", help="Least time between two syncs: 50ms or more; else 1s."
)
@click.option(
    "--take-over",
    "takes_over",
    is_flag=True,
    help="Go on with a stream that another program, or another database, wrote.",
)
@common_options
def command(
    databases: tuple[str, ...],
    to: tuple[str, ...],
    once: bool,
    program: str | None,
    sync_interval: str | None,
    takes_over: bool,
    options: Options,
) -> int:
    """
    Stream every commit to the stores, until it is stopped.

    DATABASE is as of litekeep backup; without it, all databases of the configuration are
    streamed. What is committed goes out at most once a second; while nothing is committed,
    nothing is sent. SIGTERM and Ctrl-C ship what is captured, and end it.
    """
    if once and program is not None:
        raise UserError("--once and --exec exclude each other", hint="Leave one of them out.")
    jobs = stream_jobs(
        load_settings(options.config),
        databases,
        to=to,
        sync_interval=_seconds(sync_interval),
        takes_over=takes_over,
    )
    teller = _Teller(options, is_named=len(jobs) > 1)
    if once:
        return _end([_once(job, teller) for job in jobs], jobs, options)
    stop = threading.Event()
    child = _Child(program, stop) if program is not None else None
    with stopped_by(child.end if child is not None else stop.set):
        begun = child.start if child is not None else lambda: None
        running = workers.in_thread(lambda: run_streams(jobs, stop, teller.tell, begun))
        results = running.result()
    code = _end(list(results), jobs, options)
    return code or (child.code if child is not None else 0)


def _once(job: StreamJob, teller: _Teller) -> StreamResult | LitekeepError:
    try:
        return stream_once(job, teller.tell)
    except LitekeepError as error:
        return error


class _Teller:
    """Says what happens, a line each; from several threads."""

    def __init__(self, options: Options, *, is_named: bool) -> None:
        self._options = options
        self._is_named = is_named
        self._lock = threading.Lock()

    def tell(self, job: StreamJob, told: Told) -> None:
        """Say it: warnings on standard error."""
        about = f"{job.name}: " if self._is_named else ""
        with self._lock:
            if told.is_warning:
                output.line(f"warning: {about}{told.message}", is_error=True)
                if told.hint:
                    output.line(f"hint: {told.hint}", is_error=True)
            elif not self._options.is_json and not self._options.is_quiet:
                output.line(f"[sqlite-stream] {about}{told.message}")


class _Child:
    """The application, as a child: it begins when all is captured, and its end is ours."""

    def __init__(self, program: str, stop: threading.Event) -> None:
        self._words = shlex.split(program)
        self._stop = stop
        self._process: Any = None
        self.code = 0
        if not self._words:
            raise UserError("--exec names no program", hint='Write it like --exec "app --port 80".')

    def start(self) -> None:
        """Run it, and stop the stream when it ends; not at all if the end came first."""
        if self._stop.is_set():
            return
        try:
            self._process = workers.start_program(self._words)
        except OSError as error:
            self._stop.set()
            self.code = NotFound.exit_code
            output.show_error(
                NotFound(
                    f"cannot run {self._words[0]}: {error.strerror}",
                    hint="Check the path, and that the file may be run.",
                ),
                is_json=False,
            )
            return
        if self._stop.is_set():  # the signal came while it was started
            self._process.terminate()
        workers.in_thread(self._wait)

    def end(self) -> None:
        """Ask it to end; what it commits until then is captured still."""
        if self._process is None:
            self._stop.set()
        else:
            self._process.terminate()

    def _wait(self) -> None:
        code = self._process.wait()
        self.code = code if code >= 0 else 128 - code
        self._stop.set()


def _end(
    results: list[StreamResult | LitekeepError], jobs: tuple[StreamJob, ...], options: Options
) -> int:
    """Show how it ended; return the exit code."""
    failures: list[LitekeepError] = []
    objects: list[dict[str, Any]] = []
    for job, result in zip(jobs, results, strict=True):
        if isinstance(result, LitekeepError):
            failures.append(result)
            objects.append({"database": job.name, "error": output.error_fields(result)})
            if not options.is_json:
                output.show_error(result, is_json=False, about=job.name if len(jobs) > 1 else "")
            continue
        failures += [store.error for store in result.stores if store.error is not None]
        objects.append(_as_json(job, result))
        if not options.is_json and not options.is_quiet:
            for line in _summary(job, result):
                output.line(f"[sqlite-stream] {line}")
    if options.is_json:
        output.json_object(objects[0] if len(objects) == 1 else {"databases": objects})
    return output.exit_code(failures)


def _summary(job: StreamJob, result: StreamResult) -> list[str]:
    lines = []
    for store in result.stores:
        at = f"txid {store.txid:016x}" if store.txid is not None else "an unknown txid"
        files = f"{store.file_count} file{'s' * (store.file_count != 1)}"
        lines.append(
            f"{store.url} is at {at} of {job.name}: {files}, {show_size(store.bytes)} sent"
        )
    if result.spooled_count:
        lines.append(
            f"{result.spooled_count} captured files wait in {job.state}; the next run ships them"
        )
    return lines


def _as_json(job: StreamJob, result: StreamResult) -> dict[str, Any]:
    return {
        "database": job.name,
        "txid": f"{result.txid:016x}",
        "commits": result.counts.commit_count,
        "syncs": result.counts.sync_count,
        "diffs": result.counts.diff_count,
        "checkpoints_helped": result.counts.helped_count,
        "spooled": result.spooled_count,
        "stores": [
            {
                "url": store.url,
                "txid": f"{store.txid:016x}" if store.txid is not None else None,
                "files": store.file_count,
                "bytes": store.bytes,
                "error": output.error_fields(store.error) if store.error is not None else None,
            }
            for store in result.stores
        ],
    }


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    seconds = parse_duration(text)
    if not SYNC_INTERVAL_MIN <= seconds <= SYNC_INTERVAL_MAX:
        raise UserError(
            f"{text!r} is no sync interval", hint="Allowed: 50ms to 1h, for instance 1s or 200ms."
        )
    return seconds
