"""
What `install` and `uninstall` show of a plan, and the option that both have.

    done          a line for each step that changed something, and each command run
    --dry-run     the same with the text of each file, as it would be
    --json        {"kind", "changed", "files": [{"path", "action"}], "commands", "warnings"}
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from litekeep.cli import output
from litekeep.cli.options import Options
from litekeep.errors import AccessDenied
from litekeep.host.placing import Step
from litekeep.host.scheduler import TOP, Plan

_DONE = {
    "make": "Made the folder",
    "write": "Wrote",
    "replace": "Replaced",
    "link": "Linked",
    "remove": "Removed",
    "keep": "Unchanged:",
}


def root_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--root`."""
    return click.option(
        "--root",
        type=click.Path(path_type=Path, file_okay=False, exists=True),
        default=TOP,
        metavar="FOLDER",
        help="The system in this folder is meant; nothing is started or stopped.",
    )(function)


def refuse_stranger(what: str, root: Path) -> None:
    """
    Raise where this user may not change the machine's schedule.

    Raises:
        AccessDenied: It is not root.
    """
    if root == TOP and os.geteuid() != 0:
        raise AccessDenied(
            f"user id {os.geteuid()} may not change the schedule of this machine",
            hint=f"Run it as root: sudo litekeep {what}. With --dry-run it only shows.",
        )


def show_plan(kind: str, plan: Plan, options: Options, *, is_dry_run: bool) -> None:
    """Show what was done, or would be."""
    commands = [" ".join(command) for command in (*plan.before, *plan.after)]
    if options.is_json:
        output.json_object(
            {
                "kind": kind,
                "changed": plan.is_change and not is_dry_run,
                "files": [
                    {"path": str(step.path), "action": step.action, "text": step.text or None}
                    if is_dry_run
                    else {"path": str(step.path), "action": step.action}
                    for step in plan.steps
                ],
                "commands": commands,
                "warnings": list(plan.warnings),
            }
        )
        return
    if not options.is_quiet or is_dry_run:
        for step in plan.steps:
            if is_dry_run:
                _show_text(step)
            elif step.is_change or options.is_verbose:
                output.line(f"{_DONE[step.action]} {step.path}")
        if plan.steps and not plan.is_change:
            output.line("# nothing would change" if is_dry_run else "Nothing had to be changed.")
        for command in commands:
            output.line(f"# would run: {command}" if is_dry_run else f"Ran: {command}")
    for warning in plan.warnings:
        output.line(f"warning: {warning}", is_error=True)


def _show_text(step: Step) -> None:
    target = f" -> {step.target}" if step.target else ""
    output.result(f"# would {step.action} {step.path}{target}")
    if step.text:
        output.text(f"{step.text}\n")
