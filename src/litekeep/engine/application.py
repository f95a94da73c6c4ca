"""
The application around a restore: in the way, stopped, started again, asked.

    before     it has the database open: the refusal names its containers
    stopped    only while the file is swapped, for by then all else is done; what was
               stopped is started again whatever happens, in the opposite order; should this
               process be killed, by another (host/guard.py)
    after      integrity_check, in a container that sees the file and has sqlite3, as the
               application sees it; beside the application otherwise
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from litekeep import faults
from litekeep.dockername import Address, DockerName
from litekeep.engine import events
from litekeep.engine.source import view_or_culprit
from litekeep.errors import DatabaseBusy, IntegrityFailed, LitekeepError, StateError
from litekeep.host.docker import connected, listed
from litekeep.host.guard import guarded
from litekeep.host.service import Service, start, stop
from litekeep.host.volumes import User, users_of
from litekeep.sqlite.check import FAILED, INCONCLUSIVE, OK, check_in_full
from litekeep.sqlite.live import BUSY_TIMEOUT_SECONDS

BESIDE = "beside the application"
_DETAIL_LENGTH_MAX = 500


@dataclass(frozen=True, slots=True)
class InPlace:
    """What integrity_check said of the database where it now is; `where` it ran."""

    where: str
    result: str
    detail: str = ""


@contextlib.contextmanager
def users_named(address: Address, target: Path) -> Iterator[None]:
    """
    Let a refusal because a database in Docker is open name the containers that use it.

    Raises:
        DatabaseBusy: As the block raised it, with more in it.
    """
    try:
        yield
    except DatabaseBusy as error:
        users = _users(target) if isinstance(address, DockerName) else ()
        if not users:
            raise
        names = [str(user.container) for user in users]
        options = " ".join(f"--stop {user.container.name}" for user in users)
        noun = "container" if len(users) == 1 else "containers"
        raise DatabaseBusy(
            f"{error.message}; {address} is used by the {noun} {listed(names)}",
            hint=f"Give {options}: what is stopped is started again afterwards. Nothing was "
            "changed.",
        ) from error


@contextlib.contextmanager
def at_rest(
    services: Sequence[Service], report: events.Report
) -> Iterator[list[tuple[Service, LitekeepError]]]:
    """
    Stop *services* while the context lasts.

    The block gets a list that holds, afterwards, what could not be started again and why.

    Raises:
        LitekeepError: One could not be stopped.
    """
    running = [service for service in services if service.is_running]
    failures: list[tuple[Service, LitekeepError]] = []
    stopped: list[Service] = []
    with guarded(running):
        try:
            for service in running:
                # Noted before it is done: half stopped it must be started, too.
                stopped.append(service)
                faults.reach(f"stop {service.name}")
                stop(service)
                report(events.ServiceStopped(str(service)))
            yield failures
        finally:
            for service in reversed(stopped):
                try:
                    faults.reach(f"start {service.name}")
                    start(service)
                except LitekeepError as error:
                    failures.append((service, error))
                    text = f"{service} was not started: {error.message}"
                    report(events.Warned(text, error.hint))
                else:
                    report(events.ServiceStarted(str(service)))


def failure_of(
    in_place: InPlace | None, unstarted: Sequence[tuple[Service, LitekeepError]]
) -> LitekeepError | None:
    """Return what is wrong although the file was swapped."""
    if unstarted:
        names = ", ".join(str(service) for service, _ in unstarted)
        commands = "; ".join(service.start_command for service, _ in unstarted)
        return StateError(
            f"the database is restored, and {names} could not be started again: "
            f"{unstarted[0][1].message}",
            hint=f"Start it by hand: {commands}.",
        )
    if in_place is not None and in_place.result == FAILED:
        return IntegrityFailed(
            f"integrity_check {in_place.where} failed: {in_place.detail}",
            hint="Go back with the undo copy, or restore an earlier point.",
        )
    return None


def check_in_place(target: Path, report: events.Report) -> InPlace:
    """Run integrity_check on the database at *target*, and report what it said."""
    found = next(filter(None, map(_ask, _users(target))), None) or _ask_beside(target)
    report(events.CheckedInPlace(found.where, found.result, found.detail))
    return found


def _users(target: Path) -> tuple[User, ...]:
    """Return the containers that run and see *target*, as far as an engine tells."""
    try:
        with connected() as engine:
            return users_of(engine, target)
    except LitekeepError:
        return ()


def _ask(user: User) -> InPlace | None:
    """Ask in a container; None where it has no sqlite3, or does not answer."""
    command = ["sqlite3", "-batch", "-init", "/dev/null", "-cmd", ".timeout 10000", user.path]
    try:
        with connected() as engine:
            told = engine.run_in(user.container, [*command, "PRAGMA integrity_check;"])
    except LitekeepError:
        return None
    if told is None:
        return None
    code, output = told
    if code != 0:
        return None  # locked, too old for the file, or damaged: that is seen beside it
    said = output.strip()
    result, detail = (OK, "") if said == "ok" else (FAILED, said[:_DETAIL_LENGTH_MAX])
    return InPlace(f"in container {user.container.name}", result, detail)


def _ask_beside(target: Path) -> InPlace:
    try:
        with view_or_culprit(target, BUSY_TIMEOUT_SECONDS) as live:
            found = check_in_full(live.pages())
    except LitekeepError as error:
        return InPlace(BESIDE, INCONCLUSIVE, error.message)
    return InPlace(BESIDE, found.result, found.detail[:_DETAIL_LENGTH_MAX])
