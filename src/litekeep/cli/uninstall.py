"""
`litekeep uninstall`: the schedule, removed.
"""

from __future__ import annotations

from pathlib import Path

import click

from litekeep.cli import output
from litekeep.cli.options import Options, common_options, dry_run_option
from litekeep.cli.steps import refuse_stranger, root_option, show_plan
from litekeep.host.scheduler import KINDS, apply, uninstall_plan


@click.command(short_help="Remove the schedule.")
@click.argument("kind", type=click.Choice(KINDS))
@root_option
@dry_run_option
@common_options
def command(kind: str, root: Path, is_dry_run: bool, options: Options) -> None:
    """
    Remove the schedule.

    Only what litekeep install wrote goes. Backups, the configuration, local state and logs
    stay; a run that is under way comes to its end.
    """
    plan = uninstall_plan(kind, root)
    if not is_dry_run and plan.is_change:
        refuse_stranger(f"uninstall {kind}", root)
        apply(plan)
    show_plan(kind, plan, options, is_dry_run=is_dry_run)
    if not plan.steps and not options.is_json and not options.is_quiet:
        output.line(f"Nothing of {kind} is installed.")
