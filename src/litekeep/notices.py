"""
Who is told: settings and the environment go in, channels come out.

    LITEKEEP_PING_URL           URL that hears of each backup, before that of the configuration
    LITEKEEP_PING_URL_VERIFY    the same of each verify; and so _PRUNE, _DRILL, _STATUS
    LITEKEEP_WEBHOOK_URL        one more webhook
    LITEKEEP_NOTIFY_URL         one more service, as Apprise writes it

The variables are for containers, and count with and without a configuration file.  Each
address is a secret, and is fetched only for a run that may tell something.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from litekeep.config.keys import SecretSource, keys_of
from litekeep.config.notify import NotifySettings, PingSettings
from litekeep.config.places import state_folder
from litekeep.config.secrets import fetch_secret
from litekeep.config.settings import (
    Settings,
)
from litekeep.errors import LitekeepError
from litekeep.notify.channels import Channel, Ping, Service, Webhook
from litekeep.notify.memory import Memory
from litekeep.notify.telling import Untold
from litekeep.secret import Secret

PING_VARIABLES = {
    job: "LITEKEEP_PING_URL" if job == "backup" else f"LITEKEEP_PING_URL_{job.upper()}"
    for job, _ in keys_of(PingSettings)
}
WEBHOOK_VARIABLE = "LITEKEEP_WEBHOOK_URL"
SERVICE_VARIABLE = "LITEKEEP_NOTIFY_URL"
VARIABLES = frozenset({*PING_VARIABLES.values(), WEBHOOK_VARIABLE, SERVICE_VARIABLE})


@dataclass(frozen=True, slots=True)
class Notices:
    """Who is told, what they know, and whom no address is known of."""

    pings: tuple[Ping, ...]
    channels: tuple[Channel, ...]
    memory: Memory
    seconds_max: float
    untold: tuple[Untold, ...]

    @property
    def is_empty(self) -> bool:
        """Whether there is nobody to be told."""
        return not (self.pings or self.channels or self.untold)


def notices_of(settings: Settings, environ: Mapping[str, str], jobs: Sequence[str]) -> Notices:
    """
    Return who is told of the runs of *jobs*; an address that cannot be had is in `untold`.

    Args:
        settings: In force.

        environ: The environment.

        jobs: Names of commands.
    """
    told = settings.notify
    untold: list[Untold] = []
    pings: list[Ping] = []
    channels: list[Channel] = []
    for job in jobs:
        source = _of_variable(environ, PING_VARIABLES.get(job)) or getattr(told.ping, job, None)
        url = _fetched(source, f"ping of {job}", environ, untold)
        if url is not None:
            pings.append(Ping(job, url, told.timeout))
    _add_webhooks(told, environ, channels, untold)
    _add_services(told, environ, channels, untold)
    memory = Memory(state_folder(settings, environ), told.repeat)
    return Notices(tuple(pings), tuple(channels), memory, told.timeout, tuple(untold))


def is_anybody_told(settings: Settings, variables: Collection[str], job: str) -> bool:
    """Say whether anybody is told of the runs of *job*; *variables* are those that are set."""
    told = settings.notify
    named = {PING_VARIABLES.get(job), WEBHOOK_VARIABLE, SERVICE_VARIABLE}
    is_pinged = getattr(told.ping, job, None) is not None
    return bool(is_pinged or told.webhooks or told.services or named & set(variables))


def is_apprise_needed(settings: Settings, environ: Mapping[str, str]) -> bool:
    """Say whether anybody is told by Apprise, which is an extra."""
    return bool(settings.notify.services or environ.get(SERVICE_VARIABLE))


def _add_webhooks(
    told: NotifySettings,
    environ: Mapping[str, str],
    channels: list[Channel],
    untold: list[Untold],
) -> None:
    for item in told.webhooks:
        name = f"webhook {item.name}"
        url = _fetched(item.url, name, environ, untold)
        secret = _fetched(item.secret, name, environ, untold)
        if url is not None and (secret is not None or item.secret is None):
            on = told.on if item.on is None else item.on
            channels.append(Webhook(item.name, url, on, told.timeout, secret))
    url = _fetched(_of_variable(environ, WEBHOOK_VARIABLE), WEBHOOK_VARIABLE, environ, untold)
    if url is not None:
        channels.append(Webhook(WEBHOOK_VARIABLE, url, told.on, told.timeout))


def _add_services(
    told: NotifySettings,
    environ: Mapping[str, str],
    channels: list[Channel],
    untold: list[Untold],
) -> None:
    for item in told.services:
        url = _fetched(item.url, f"apprise {item.name}", environ, untold)
        if url is not None:
            channels.append(Service(item.name, url, told.on if item.on is None else item.on))
    url = _fetched(_of_variable(environ, SERVICE_VARIABLE), SERVICE_VARIABLE, environ, untold)
    if url is not None:
        channels.append(Service(SERVICE_VARIABLE, url, told.on))


def _of_variable(environ: Mapping[str, str], name: str | None) -> SecretSource | None:
    return SecretSource("env", name) if name is not None and environ.get(name) else None


def _fetched(
    source: SecretSource | None, name: str, environ: Mapping[str, str], untold: list[Untold]
) -> Secret | None:
    try:
        return fetch_secret(source, environ)
    except LitekeepError as error:
        untold.append(Untold(name, error))
        return None
