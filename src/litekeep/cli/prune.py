"""
`litekeep prune`: what retention says may go, said first, then done.
"""

from __future__ import annotations

import os
from datetime import tzinfo
from typing import Any

import click

from litekeep.cli import output
from litekeep.cli.events import Shown, listener
from litekeep.cli.options import (
    Options,
    common_options,
    database_option,
    dry_run_option,
    source_argument,
)
from litekeep.cli.points import show_time
from litekeep.cli.telling import Run, told
from litekeep.config.places import state_folder
from litekeep.config.settings import Settings
from litekeep.engine.job import one_at_a_time
from litekeep.engine.prune import (
    Policy,
    PrunePlan,
    PruneResult,
    drop_open_uploads,
    plan_prune,
    prune,
)
from litekeep.engine.retain import Keep
from litekeep.errors import AlreadyRunning, LitekeepError
from litekeep.jobs import keep_of, prune_policies
from litekeep.sources import Source, find_sources, load_settings, zone_of
from litekeep.units import show_size


@click.command(short_help="Remove the snapshots that retention lets go.")
@source_argument
@click.option(
    "--keep",
    "rules",
    multiple=True,
    metavar="RULE=VALUE",
    help="In place of what is configured, e.g. last=24, daily=7, within=30d; repeatable.",
)
@dry_run_option
@database_option
@common_options
def command(
    source: str | None,
    rules: tuple[str, ...],
    is_dry_run: bool,
    database: str | None,
    options: Options,
) -> int:
    """
    Remove the snapshots that retention lets go.

    SOURCE is a database (a path, or a name of the configuration), or a store (a folder or
    a URL). Without it, all databases of the configuration are pruned. What goes can be
    brought back for some days with litekeep undelete.
    """
    settings = load_settings(options.config)
    keep = keep_of(rules) if rules else None
    with told("prune", settings, is_on=not is_dry_run, is_started=False) as run:
        sources = find_sources(settings, source, name=database)
        return _run_all(sources, settings, keep, options, run, is_dry_run=is_dry_run)


def _run_all(
    sources: tuple[Source, ...],
    settings: Settings,
    keep: Keep | None,
    options: Options,
    run: Run,
    *,
    is_dry_run: bool,
) -> int:
    """Prune each database's stores and show it; return the exit code."""
    state = state_folder(settings, os.environ)
    objects: list[dict[str, Any]] = []
    failures: list[LitekeepError] = []
    for item in sources:
        stores: list[dict[str, Any]] = []
        before = len(failures)
        database = None if is_dry_run else item.database  # a plan is in nobody's way
        fields: dict[str, Any] = {"database": item.name, "stores": stores}
        try:
            with (
                one_at_a_time(state, "prune", item.name, database),
                listener(options, prefix="sqlite-prune") as shown,
            ):
                run.start()
                if len(sources) > 1:
                    shown.say(f"{item.name}:")
                for policy in prune_policies(settings, item.repositories, keep=keep):
                    zone = zone_of(settings)
                    stores.append(_prune(policy, shown, zone, failures, is_dry_run=is_dry_run))
        except AlreadyRunning as error:
            if len(sources) == 1:
                raise
            failures.append(error)
            fields["error"] = output.error_fields(error)
        run.ended(item.name, next(iter(failures[before:]), None))
        objects.append(fields)
    if not options.is_json:
        for failure in failures:
            output.show_error(failure, is_json=False)
    else:
        output.json_object(objects[0] if len(objects) == 1 else {"databases": objects})
    return output.exit_code(failures)


def _prune(
    policy: Policy, shown: Shown, zone: tzinfo, failures: list[LitekeepError], *, is_dry_run: bool
) -> dict[str, Any]:
    """Plan, show and carry out one repository's pruning; return its JSON."""
    url = policy.repository.store.url
    try:
        plan = plan_prune(policy)
    except LitekeepError as error:
        failures.append(error)
        return {"url": url, "error": output.error_fields(error)}
    _show_plan(plan, shown, zone)
    if is_dry_run:
        shown.say(f"{url}: nothing was removed (--dry-run)")
        return _as_json(PruneResult(plan))
    result = prune(plan, shown.hear)
    drop_open_uploads(policy.repository, shown.hear)
    if result.error is not None:
        failures.append(result.error)
    days = policy.undelete_days
    back = f"; for {days} days litekeep undelete brings them back" if days else ""
    shown.say(f"{url}: pruned {_count(len(result.pruned))}{back if result.pruned else ''}")
    return _as_json(result)


def _show_plan(plan: PrunePlan, shown: Shown, zone: tzinfo) -> None:
    decisions = plan.retention.decisions
    going = len(plan.retention.removed)
    size = f", {show_size(plan.freed_size)}" if going else ""
    url = plan.policy.repository.store.url
    shown.say(f"{url}: {_count(len(decisions))}, of which {going} may go{size}")
    if plan.retention.pause:
        shown.say(f"{url}: nothing goes: {plan.retention.pause}")
        return
    for decision in decisions:
        word = "keep  " if decision.stays else "remove"
        name = decision.name.rpartition("/")[2]
        reasons = f"  ({', '.join(decision.reasons)})" if decision.reasons else ""
        shown.say(f"{word}  {show_time(decision.time, zone)}  {name}{reasons}")


def _as_json(result: PruneResult) -> dict[str, Any]:
    plan = result.plan
    return {
        "url": plan.policy.repository.store.url,
        "pause": plan.retention.pause,
        "snapshots": [
            {
                "object": decision.name,
                "time": output.iso(decision.time),
                "stays": decision.stays,
                "reasons": list(decision.reasons),
            }
            for decision in plan.retention.decisions
        ],
        "pruned": list(result.pruned),
        "deleted": list(result.deleted),
        "error": output.error_fields(result.error) if result.error else None,
    }


def _count(number: int) -> str:
    return f"{number} snapshot{'s' if number != 1 else ''}"
