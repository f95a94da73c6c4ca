"""
`litekeep install`: the schedule, as units of systemd or as a file of cron.
"""

from __future__ import annotations

import os
from pathlib import Path

import click

from litekeep.cli import output
from litekeep.cli.options import Options, common_options, dry_run_option
from litekeep.cli.steps import refuse_stranger, root_option, show_plan
from litekeep.config.places import state_folder
from litekeep.host import cron
from litekeep.host.schedule import VARIABLES_FILE, tasks_of
from litekeep.host.scheduler import KINDS, TOP, apply, install_plan, machine_seed
from litekeep.schedules import Needs, needs_of, when_status
from litekeep.sources import load_settings


@click.command(short_help="Install the schedule, for systemd or cron.")
@click.argument("kind", type=click.Choice(KINDS))
@click.option("--backup", metavar="WHEN", help="When to back up; hourly if not set.")
@click.option("--verify", metavar="WHEN", help="When to verify a sample; daily if not set.")
@click.option("--prune", metavar="WHEN", help="When to apply retention; daily if not set.")
@click.option("--drill", metavar="WHEN", help="When to drill; weekly if not set.")
@click.option(
    "--status",
    metavar="WHEN",
    help="When to tell of backups that are too old; hourly if not set, where anybody is told.",
)
@root_option
@dry_run_option
@common_options
def command(
    kind: str,
    backup: str | None,
    verify: str | None,
    prune: str | None,
    drill: str | None,
    status: str | None,
    root: Path,
    is_dry_run: bool,
    options: Options,
) -> None:
    """
    Install the schedule, for systemd or cron.

    WHEN is hourly, daily, weekly, off, or an expression of the scheduler's own: "*-*-* 02:30"
    for systemd, "30 2 * * *" for cron.
    """
    settings = load_settings(options.config)
    changes = {
        **{"backup": backup, "verify": verify, "prune": prune, "drill": drill},
        "status": status or when_status(settings, environ=os.environ),
    }
    needs = needs_of(settings, tasks_of(changes), environ=os.environ)
    if kind == "cron" and is_dry_run and root == TOP and os.geteuid() != 0:
        # Who may not write to /etc/cron.d has a crontab of his own.
        log = state_folder(settings, os.environ) / "litekeep.log"
        output.text(cron.table(needs.schedule, machine_seed(), user=None, log=log))
        return
    plan = install_plan(kind, needs.schedule, root)
    if not is_dry_run:
        refuse_stranger(f"install {kind}", root)
        apply(plan)
    show_plan(kind, plan, options, is_dry_run=is_dry_run)
    _show_missing(needs)
    if not is_dry_run and not options.is_json and not options.is_quiet:
        output.line(_next(kind))


def _show_missing(needs: Needs) -> None:
    for path in needs.databases:
        output.line(f"warning: there is no database at {path} yet", is_error=True)
    if needs.variables:
        names = ", ".join(needs.variables)
        output.line(
            f"warning: the schedule does not see variables of this shell: {names}", is_error=True
        )
        output.line(
            f"hint: Write those that it needs into {VARIABLES_FILE}, readable by root alone.",
            is_error=True,
        )


def _next(kind: str) -> str:
    if kind == "systemd":
        return "Try it now: systemctl start litekeep-backup.service"
    return f"Output goes to {cron.LOG}."
