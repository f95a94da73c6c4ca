"""
`litekeep doctor`: named checks of databases, stores and the machine, with hints.

    nothing fails                 exit code 0, also with warnings
    something fails               that of its kind; of several the first
    --nagios                      0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN, and one line
"""

from __future__ import annotations

import difflib
import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

import click

from litekeep.cli import output
from litekeep.cli.options import Options, common_options, complete_files
from litekeep.doctor.examine import Examination, Surroundings, examine
from litekeep.doctor.findings import CHECKS, Finding
from litekeep.errors import AlreadyRunning, LitekeepError, UserError
from litekeep.paths import current_folder

NAGIOS = {"ok": (0, "OK"), "warn": (1, "WARNING"), "fail": (2, "CRITICAL")}
NAGIOS_UNKNOWN = (3, "UNKNOWN")

_WORST_FIRST = ("fail", "warn", "ok")
_NAGIOS_SHOWN_MAX = 5


def _complete_checks(context: click.Context, parameter: click.Parameter, typed: str) -> list[str]:
    return [name for name in CHECKS if name.startswith(typed)]


@click.command(short_help="Check databases, stores and the machine, with hints.")
@click.argument("databases", nargs=-1, metavar="[DATABASE]...", shell_complete=complete_files)
@click.option(
    "--nagios",
    "is_nagios",
    is_flag=True,
    help="One line and the exit codes 0 to 3, as Nagios and its like want them.",
)
@click.option(
    "--skip",
    "skipped",
    metavar="NAME",
    multiple=True,
    help="Leave this check out; can be given several times.",
    shell_complete=_complete_checks,
)
@common_options
def command(
    databases: tuple[str, ...], is_nagios: bool, skipped: tuple[str, ...], options: Options
) -> int:
    """
    Check databases, stores and the machine, with a hint for whatever is not well.

    DATABASE is a path, or a name of the configuration. Without one, all databases of the
    configuration are checked. Each check is ok, warn or fail. Nothing is changed, but for a
    test object that is written to each store and removed.
    """
    if is_nagios:
        if options.is_json:
            raise UserError("--nagios and --json exclude each other", hint="Give one of them.")
        return _nagios(databases, skipped, options)
    found = _examined(databases, skipped, options)
    if options.is_json:
        output.json_object({"checks": [_as_json(finding) for finding in found.findings]})
    elif options.is_quiet:
        for finding in found.findings:
            if finding.state != "ok":
                _show(finding, is_error=True)
    else:
        for finding in found.findings:
            _show(finding)
        output.result(_summary(found.findings, skipped))
    return _exit_code(found.findings)


def _examined(databases: Sequence[str], skipped: Sequence[str], options: Options) -> Examination:
    for name in skipped:
        if name not in CHECKS:
            near = difflib.get_close_matches(name, CHECKS, 1, 0.5)
            meant = f"Did you mean {near[0]}? " if near else ""
            raise UserError(
                f"no check is called {name!r}", hint=f"{meant}There are: {', '.join(CHECKS)}."
            )
    around = Surroundings(os.environ, current_folder(), frozenset(skipped))
    return examine(databases, options.config, around)


def _exit_code(findings: Sequence[Finding]) -> int:
    codes = [finding.code for finding in findings if finding.state == "fail"]
    return next((code for code in codes if code != AlreadyRunning.exit_code), 0)


def _nagios(databases: Sequence[str], skipped: Sequence[str], options: Options) -> int:
    try:
        found = _examined(databases, skipped, options)
    except LitekeepError as error:
        return _nagios_line(NAGIOS_UNKNOWN, error.message)
    if not found.has_database:
        return _nagios_line(NAGIOS_UNKNOWN, "no database is named or configured")
    state = next(
        (each for each in _WORST_FIRST if any(f.state == each for f in found.findings)), "ok"
    )
    bad = [each for each in found.findings if each.state == state != "ok"]
    parts = [f"{each.name}: {_sentence(each)}" for each in bad[:_NAGIOS_SHOWN_MAX]]
    if len(bad) > _NAGIOS_SHOWN_MAX:
        parts.append(f"{len(bad) - _NAGIOS_SHOWN_MAX} more")
    return _nagios_line(NAGIOS[state], "; ".join([_summary(found.findings, skipped), *parts]))


def _nagios_line(outcome: tuple[int, str], text: str) -> int:
    code, word = outcome
    # What stands behind a bar would be taken for numbers, and a second line for details.
    plain = " ".join(text.replace("|", "/").split())
    output.result(f"LITEKEEP {word} - {plain}")
    return code


def _show(finding: Finding, *, is_error: bool = False) -> None:
    lines = [f"{finding.state.upper():4}  {finding.name:14}  {_sentence(finding)}"]
    if finding.hint:
        lines.append(f"{'':22}hint: {finding.hint}")
    for text in lines:
        output.line(text, is_error=True) if is_error else output.result(text)


def _sentence(finding: Finding) -> str:
    return f"{finding.about}: {finding.detail}" if finding.about else finding.detail


def _summary(findings: Sequence[Finding], skipped: Sequence[str]) -> str:
    counts = Counter(finding.state for finding in findings)
    left_out = f" (left out: {', '.join(sorted(set(skipped)))})" if skipped else ""
    return (
        f"{len(findings)} checks: {counts['ok']} ok, {counts['warn']} warn, {counts['fail']} fail"
        f"{left_out}"
    )


def _as_json(finding: Finding) -> dict[str, Any]:
    return {
        "name": finding.name,
        "state": finding.state,
        "detail": finding.detail,
        "hint": finding.hint or None,
        "about": finding.about,
    }
