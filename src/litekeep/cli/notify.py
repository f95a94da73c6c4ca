"""
`litekeep notify`: a test of every channel, and the failures that a run cannot tell itself.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from functools import partial
from typing import Any

import click

from litekeep.cli import output
from litekeep.cli.options import Options, common_options
from litekeep.cli.telling import event_of, run_id, show_untold
from litekeep.errors import NotTold, UserError
from litekeep.notices import PING_VARIABLES, Notices, notices_of
from litekeep.notify.channels import Ping
from litekeep.notify.events import Event, Wrong, body, subject
from litekeep.notify.telling import Untold, Work, tell
from litekeep.sources import load_settings

#: Of a unit that we install: litekeep-<job>.service.
_PREFIX, _SUFFIX = "litekeep-", ".service"


@click.group(short_help="Tell people, as a test, or that a unit of systemd failed.")
@common_options
@click.pass_context
def command(context: click.Context, options: Options) -> None:
    """Tell people, as a test, or that a unit of systemd failed."""
    context.obj = options


@command.command()
@common_options
def test(options: Options) -> int:
    """
    Send a test message through every channel, and say which of them took it.

    A ping address hears of it as a log entry, which changes nothing of what it thinks.
    """
    settings = load_settings(options.config)
    notices = notices_of(settings, os.environ, tuple(PING_VARIABLES))
    if notices.is_empty:
        raise UserError(
            "nobody is to be notified",
            hint="Set [notify.ping], [[notify.webhook]] or [[notify.apprise]] in the "
            "configuration, or LITEKEEP_PING_URL.",
        )
    event = event_of("", "", str(uuid.uuid4()), outcome="test")
    works = [(ping.name, _test_ping(ping, event)) for ping in notices.pings]
    works += [
        (channel.name, Work(channel.name, partial(channel.send, event)))
        for channel in notices.channels
    ]
    found = {each.channel: each.error for each in notices.untold}
    for name, work in works:
        untold = work.end(notices.seconds_max)
        if untold is not None:
            found[name] = untold.error
    names = list(dict.fromkeys([*(name for name, _ in works), *found]))
    if options.is_json:
        channels = [
            {
                "name": name,
                "ok": name not in found,
                "error": output.error_fields(found[name]) if name in found else None,
            }
            for name in names
        ]
        output.json_object({"channels": channels})
    for name in names if not options.is_json else ():
        if name in found:
            output.show_error(found[name], is_json=False, about=name)
        elif not options.is_quiet:
            output.result(f"ok  {name}")
    return NotTold.exit_code if found else 0


@command.command()
@click.argument("unit")
@common_options
def failed(unit: str, options: Options) -> int:
    """
    Tell that a unit of systemd failed, if the run in it has not told so itself.

    The units that litekeep install systemd writes call this; UNIT is one of them, and
    systemd says in the environment how it ended.
    """
    settings = load_settings(options.config)
    job = unit.removesuffix(_SUFFIX).removeprefix(_PREFIX)
    notices = notices_of(settings, os.environ, (job,))
    invocation = os.environ.get("MONITOR_INVOCATION_ID")
    is_known = invocation is not None and notices.memory.has_told(job, invocation)
    untold = list(notices.untold)
    if not is_known:
        event = event_of(job, "", run_id(invocation), wrong=_ended(unit, os.environ))
        untold += _tell(notices, event)
    show_untold(untold)
    if options.is_json:
        failures = [{"name": each.channel, **_error(each)} for each in untold]
        output.json_object({"unit": unit, "told_before": is_known, "failures": failures})
    return NotTold.exit_code if untold else 0


def _error(untold: Untold) -> dict[str, Any]:
    return {"error": output.error_fields(untold.error)}


def _test_ping(ping: Ping, event: Event) -> Work:
    return Work(ping.name, partial(ping.signal, "log", event.run, f"{subject(event)}\n"))


def _tell(notices: Notices, event: Event) -> list[Untold]:
    text = f"{subject(event)}\n{body(event)}"
    pings = [
        Work(ping.name, partial(ping.signal, "fail", event.run, text)) for ping in notices.pings
    ]
    return tell(
        [event], notices.channels, notices.memory, seconds_max=notices.seconds_max, others=pings
    )


def _ended(unit: str, environ: Mapping[str, str]) -> Wrong:
    """Return how systemd says that a unit ended; see systemd.exec(5), $MONITOR_SERVICE_RESULT."""
    result = environ.get("MONITOR_SERVICE_RESULT") or "failed"
    status = environ.get("MONITOR_EXIT_STATUS", "")
    how = f"{result}, {status}" if status else result
    return Wrong("UnitFailed", f"{unit} ended: {how}", f"See journalctl -u {unit}.")
