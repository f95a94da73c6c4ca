"""
Who starts a stopped service again though the process that stopped it is killed.

A process in a session of its own, so that neither Ctrl-C nor a closed terminal reaches it:

    it is told     the services, one line of JSON
    it says        ready
    it is told     done, and ends; or its input ends without that, and it starts them all

A service that runs already is not harmed by being started.  What ends a whole group of
processes at once (systemd, for a unit that is killed) ends this one too.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from litekeep.errors import LitekeepError, StateError
from litekeep.host.service import Service, start
from litekeep.workers import start_python

_READY = "ready\n"
_DONE = "done\n"


@contextlib.contextmanager
def guarded(services: Sequence[Service]) -> Iterator[None]:
    """
    Let *services* be started should this process be killed while the context lasts.

    Raises:
        StateError: The guard could not be started.
    """
    if not services:
        yield
        return
    arguments = ["-m", "litekeep.host.guard"]
    try:
        child = start_python(arguments, environ=os.environ, is_piped=True, is_apart=True)
    except OSError as error:
        raise _not_started() from error
    with child:
        assert child.stdin is not None and child.stdout is not None, "both are pipes"
        try:
            child.stdin.write(json.dumps([asdict(each) for each in services]) + "\n")
            child.stdin.flush()
            if child.stdout.readline() != _READY:
                raise _not_started()
        except OSError as error:
            raise _not_started() from error
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                child.stdin.write(_DONE)
                child.stdin.flush()


def _not_started() -> StateError:
    return StateError(
        "the process that would start the application again, should this one be killed, could "
        "not be started",
        hint="Free some memory or processes. Nothing was stopped, nothing was changed.",
    )


def _main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    services = [Service(**each) for each in json.loads(sys.stdin.readline())]
    sys.stdout.write(_READY)
    sys.stdout.flush()
    if sys.stdin.readline() == _DONE:
        return
    for service in reversed(services):
        with contextlib.suppress(LitekeepError):  # the next one all the same; nobody listens
            start(service)


if __name__ == "__main__":
    _main()
