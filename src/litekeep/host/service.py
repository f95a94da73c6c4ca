"""
The application around a database: found by name, stopped, started again.

    --stop NAME     1  a unit of systemd, where the name ends as one: app.service
                    2  a container of this name or id
                    3  a service of Compose: all its containers
                    4  a unit of systemd, without its ending

Only what runs is stopped, and only what was stopped here is started again, in the
opposite order.  What would not come back, or not stay away, is refused beforehand: a
container that is removed when it ends, one that Swarm would start at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from litekeep.errors import DatabaseUnusable, LitekeepError, NotFound, StateError, UserError
from litekeep.host.docker import Container, Engine, connected, listed
from litekeep.workers import run_program

Kind = Literal["container", "unit"]

UNIT_ENDINGS = (".service", ".socket", ".target", ".timer", ".path", ".mount")
SYSTEMCTL_SECONDS_MAX = 600.0


@dataclass(frozen=True, slots=True)
class Service:
    """Something that can be stopped; `id` is what its manager calls it."""

    kind: Kind
    id: str
    name: str
    is_running: bool

    def __str__(self) -> str:
        return f"{'container' if self.kind == 'container' else 'unit'} {self.name}"

    @property
    def start_command(self) -> str:
        """How a person starts it by hand."""
        manager = "docker" if self.kind == "container" else "systemctl"
        return f"{manager} start {self.name}"


def find_services(
    names: Sequence[str], environ: Mapping[str, str] | None = None
) -> tuple[Service, ...]:
    """
    Return what *names* mean, each thing once.

    Raises:
        NotFound: A name means nothing here.

        UserError: One means several things, or something that cannot be stopped.

        DatabaseUnusable: The engine that may know it does not answer.
    """
    found: list[Service] = []
    for name in names:
        if not name or name.startswith("-"):
            raise UserError(
                f"{name!r} is no service", hint="Give a Compose service, a container or a unit."
            )
        for service in _find(name, environ):
            if service not in found:
                found.append(service)
    return tuple(found)


def stop(service: Service, environ: Mapping[str, str] | None = None) -> None:
    """
    Stop *service*, and return when it has stopped.

    Raises:
        LitekeepError: It could not be stopped.
    """
    if service.kind == "unit":
        _systemctl("stop", service)
        return
    with connected(environ) as engine:
        engine.stop(_there(engine, service))


def start(service: Service, environ: Mapping[str, str] | None = None) -> None:
    """
    Start *service* again.

    Raises:
        LitekeepError: It could not be started.
    """
    if service.kind == "unit":
        _systemctl("start", service)
        return
    with connected(environ) as engine:
        engine.start(_there(engine, service))


def _find(name: str, environ: Mapping[str, str] | None) -> tuple[Service, ...]:
    if name.endswith(UNIT_ENDINGS):
        unit = _unit(name)
        if unit is None:
            raise NotFound(
                f"systemd has no unit {name}", hint="See what there is: systemctl list-units."
            )
        return (unit,)
    refusal: LitekeepError | None = None
    try:
        containers, known = _containers(name, environ)
    except DatabaseUnusable as error:
        containers, known, refusal = (), [], error
    if containers:
        return containers
    if (unit := _unit(f"{name}.service")) is not None:
        return (unit,)
    if refusal is not None:
        raise refusal
    raise NotFound(
        f"no container, Compose service or unit is called {name!r}",
        hint=f"The containers here are {listed(known)}." if known else "There are no containers.",
    )


def _containers(
    name: str, environ: Mapping[str, str] | None
) -> tuple[tuple[Service, ...], list[str]]:
    """Return the containers that *name* means, and the names of all if it means none."""
    with connected(environ) as engine:
        one = engine.container(name)
        if one is not None:
            return (_service(one),), []
        everything = engine.containers()
    found = [each for each in everything if each.service == name]
    projects = {each.project for each in found}
    if len(projects) > 1:
        raise UserError(
            f"several Compose projects have a service {name!r}: {listed(sorted(projects))}",
            hint=f"Name the containers: {listed([each.name for each in found])}.",
        )
    return tuple(map(_service, found)), [each.name for each in everything]


def _service(container: Container) -> Service:
    if container.is_running and container.is_removed_at_end:
        raise UserError(
            f"the container {container.name} was started with --rm: stopped, it is gone, and "
            "nothing could start it again",
            hint="Stop it yourself, restore, and start it anew.",
        )
    if container.is_running and container.swarm:
        raise UserError(
            f"the container {container.name} belongs to the Swarm service {container.swarm}, "
            "which would start another at once",
            hint=f"Scale it down (docker service scale {container.swarm}=0), restore, and scale "
            "it up again.",
        )
    return Service("container", container.id, container.name, container.is_running)


def _there(engine: Engine, service: Service) -> Container:
    container = engine.container(service.id)
    if container is None:
        raise NotFound(f"the {service} is gone", hint="Start the application anew.")
    return container


def _unit(name: str) -> Service | None:
    told = run_program(
        ["systemctl", "show", "--property=LoadState,ActiveState,Id", "--", name],
        seconds_max=SYSTEMCTL_SECONDS_MAX,
    )
    if told is None or told.code != 0:
        return None  # no systemd here
    states = dict(line.split("=", 1) for line in told.output.splitlines() if "=" in line)
    if states.get("LoadState") in (None, "not-found"):
        return None
    is_running = states.get("ActiveState") not in ("inactive", "failed")
    return Service("unit", states.get("Id") or name, name, is_running)


def _systemctl(verb: str, service: Service) -> None:
    told = run_program(["systemctl", verb, "--", service.id], seconds_max=SYSTEMCTL_SECONDS_MAX)
    if told is None or told.code != 0:
        said = told.output.strip() if told is not None else "systemctl did not answer"
        raise StateError(
            f"systemd could not {verb} {service.name}: {said or 'no reason given'}",
            hint=f"See systemctl status {service.name}; root may stop and start units.",
        )
