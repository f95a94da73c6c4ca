"""
How people are told: a channel takes an event, or says why not.

    Ping        an address that hears of the start and the end of each run, as
                Healthchecks and its like do; it notices when nothing comes any more
    Webhook     an address that gets an event as JSON, with a signature if wanted
    Service     mail, a chat, a push service, or whatever else Apprise knows

No channel shows its address: it is as good as a password.  Each may take its time; who
cannot wait for it calls it on a thread.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Literal, Protocol
from urllib.parse import urlsplit

from litekeep.errors import ConfigError, MissingExtra, NotTold
from litekeep.notify import events
from litekeep.notify.events import Event, Outcome
from litekeep.secret import Secret

#: What a ping may carry; Healthchecks itself takes ten times as much.
PING_SIZE_MAX = 9000
SIGNATURE = "X-Litekeep-Signature"

Signal = Literal["start", "success", "fail", "log"]


class Channel(Protocol):
    """Somebody who is told of events."""

    @property
    def name(self) -> str:
        """What it is called in warnings, and in what is remembered of it."""

    @property
    def on(self) -> tuple[str, ...]:
        """The outcomes that it is told of."""

    def send(self, event: Event) -> None:
        """
        Tell of *event*.

        Raises:
            NotTold: It could not be told.

            ConfigError: Its address is none.
        """


@dataclass(frozen=True, slots=True)
class Ping:
    """An address that hears of the runs of one job."""

    job: str
    url: Secret
    seconds_max: float

    @property
    def name(self) -> str:
        """What warnings call it."""
        return f"ping of {self.job}"

    def signal(self, signal: Signal, run: str, text: str) -> None:
        """
        Say how the run *run* stands.

        Args:
            signal: ``"log"`` changes nothing of what the other side thinks.

            run: A UUID, which pairs start and end.

            text: For people who look there.

        Raises:
            NotTold: It could not be told.

            ConfigError: The address is none.
        """
        # TLS costs 45 ms to import: only who tells by it pays.
        from litekeep.notify.http import checked_url, post

        url = signal_url(checked_url(self.url), signal, run)
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        data = text.encode(errors="backslashreplace")
        if len(data) > PING_SIZE_MAX:
            data = data[:PING_SIZE_MAX].decode(errors="ignore").encode() + b"\n...\n"
        post(url, data, headers, seconds_max=self.seconds_max)


def signal_url(url: str, signal: Signal, run: str) -> str:
    """
    Return the address that hears of *signal*.

    >>> signal_url("https://hc-ping.com/2a3b", "start", "01")
    'https://hc-ping.com/2a3b/start?rid=01'
    >>> signal_url("https://example.com/push/?key=1", "success", "01")
    'https://example.com/push/?key=1&rid=01'
    """
    parts = urlsplit(url)
    path = parts.path if signal == "success" else f"{parts.path.rstrip('/')}/{signal}"
    query = f"{parts.query}&rid={run}" if parts.query else f"rid={run}"
    return parts._replace(path=path, query=query).geturl()


@dataclass(frozen=True, slots=True)
class Webhook:
    """An address that gets events as JSON."""

    title: str
    url: Secret
    on: tuple[str, ...]
    seconds_max: float
    secret: Secret | None = None

    @property
    def name(self) -> str:
        """What it is called."""
        return f"webhook {self.title}"

    def send(self, event: Event) -> None:
        """Post the event's JSON, signed where there is a key."""
        # TLS costs 45 ms to import: only who tells by it pays.
        from litekeep.notify.http import checked_url, post

        url = checked_url(self.url)
        data = json.dumps(events.fields(event), ensure_ascii=False).encode(errors="replace")
        headers = {"Content-Type": "application/json"}
        if self.secret is not None:
            headers[SIGNATURE] = signature(self.secret, data)
        post(url, data, headers, seconds_max=self.seconds_max)


def signature(secret: Secret, data: bytes) -> str:
    """
    Return what proves who posted *data*: ``sha256=``, and the HMAC in hex.

    >>> signature(Secret("key"), b"{}")[:21]
    'sha256=a777724d943eb4'
    """
    return "sha256=" + hmac.new(secret.reveal().encode(), data, hashlib.sha256).hexdigest()


@dataclass(frozen=True, slots=True)
class Service:
    """Whatever Apprise knows by a URL."""

    title: str
    url: Secret
    on: tuple[str, ...]

    @property
    def name(self) -> str:
        """What it is called."""
        return f"apprise {self.title}"

    def send(self, event: Event) -> None:
        """Send subject and body."""
        try:
            # Optional, and slow to load: only who tells by it pays.
            import apprise
        except ImportError as error:
            raise missing_apprise() from error
        sender = apprise.Apprise(asset=apprise.AppriseAsset(app_id="Litekeep", app_desc="Litekeep"))
        if not sender.add(self.url.reveal()):
            raise ConfigError(
                "its address is none that Apprise knows",
                hint="Its documentation has a page for each service: "
                "https://github.com/caronc/apprise/wiki",
            )
        try:
            is_told = sender.notify(
                title=events.subject(event),
                body=events.body(event),
                body_format=apprise.NotifyFormat.TEXT,
                notify_type=_kind(event.outcome),
            )
        except Exception as error:
            raise self._not_told(f"failed with {type(error).__name__}") from error
        if not is_told:
            raise self._not_told("did not take it")

    def _not_told(self, said: str) -> NotTold:
        # Not the host: with many services a token stands in its place.
        scheme = self.url.reveal().partition(":")[0]
        return NotTold(
            f"{scheme} {said}",
            hint="Check its address, and the way there; litekeep notify test tries it.",
        )


def missing_apprise() -> MissingExtra:
    """Return that the part is missing by which services are told."""
    return MissingExtra(
        "mail and other services need a part of Litekeep that is not installed",
        hint="Install it with the pip of Litekeep's environment: pip install apprise.",
    )


def _kind(outcome: Outcome) -> str:
    return {"failure": "failure", "stale": "warning", "test": "info"}.get(outcome, "success")
