"""
The settings of who is told: the part `[notify]` of those in `settings.py`.

    [notify]            NotifySettings     of what, and how often
    [notify.ping]       PingSettings       who notices when nothing is told any more
    [[notify.webhook]]  WebhookSettings    JSON for programs
    [[notify.apprise]]  AppriseSettings    mail, chat and other services
"""

from __future__ import annotations

from dataclasses import dataclass, field

from litekeep.config.keys import SecretSource, key_field, required

#: What channels can be told of.
OCCASIONS = ("failure", "stale", "recovered", "success")

_DAY = 86400


@dataclass(frozen=True, slots=True, kw_only=True)
class PingSettings:
    """The address that hears of each run of a job, a check for each; `[notify.ping]`."""

    backup: SecretSource | None = key_field("secret", "URL that hears of each backup.")
    verify: SecretSource | None = key_field("secret", "URL that hears of each verify.")
    prune: SecretSource | None = key_field("secret", "URL that hears of each prune.")
    drill: SecretSource | None = key_field("secret", "URL that hears of each drill.")
    status: SecretSource | None = key_field("secret", "URL that hears of each status.")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    """A program that gets JSON; `[[notify.webhook]]`."""

    name: str = required("name", "What warnings call it: its URL is a secret.")
    url: SecretSource = required("secret", "Where the JSON is posted to.")
    secret: SecretSource | None = key_field("secret", "Key of the signature that is sent with it.")
    on: tuple[str, ...] | None = key_field(
        "words", "What it is told of; as [notify] says if not set.", allowed=OCCASIONS
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AppriseSettings:
    """Mail, a chat or another service that Apprise knows; `[[notify.apprise]]`."""

    name: str = required("name", "What warnings call it: its URL is a secret.")
    url: SecretSource = required("secret", "Its address, as Apprise writes it.")
    on: tuple[str, ...] | None = key_field(
        "words", "What it is told of; as [notify] says if not set.", allowed=OCCASIONS
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifySettings:
    """Who is told of what; `[notify]`."""

    on: tuple[str, ...] = key_field(
        "words",
        "What webhooks and services are told of.",
        default=("failure", "stale", "recovered"),
        allowed=OCCASIONS,
    )
    repeat: float = key_field(
        "duration",
        "How long a failure that goes on is not told again.",
        default=float(_DAY),
        high=366 * _DAY,
    )
    timeout: float = key_field(
        "duration", "Longest wait for any of them.", default=15.0, low=1, high=120
    )
    ping: PingSettings = field(default_factory=PingSettings)
    webhooks: tuple[WebhookSettings, ...] = ()
    services: tuple[AppriseSettings, ...] = ()
