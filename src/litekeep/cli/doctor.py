"""
`litekeep doctor`: named checks of databases, stores and the machine, with hints.

    nothing fails                 exit code 0, also with warnings
    something fails               that of its kind; of several the first
    --nagios                      0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN, and one line
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

import click

from litekeep.cli import output
from litekeep.cli.options import Options, common_options, complete_files
from litekeep.doctor.examine import Examination, Surroundings, examine
from litekeep.doctor.findings import Finding
from litekeep.errors import AlreadyRunning, LitekeepError, UserError
from litekeep.paths import current_folder

NAGIOS = {"ok": (0, "OK"), "warn": (1, "WARNING"), "fail": (2, "CRITICAL")}
NAGIOS_UNKNOWN = (3, "UNKNOWN")

_WORST_FIRST = ("fail", "warn", "ok")
_NAGIOS_SHOWN_MAX = 5


@click.command(short_help="Check databases, stores and the machine, with hints.")
@click.argument("databases", nargs=-1, metavar="[DATABASE]...", shell_complete=complete_files)
@click.option(
    "--nagios",
    "is_nagios",
    is_flag=True,
    help="One line and the exit codes 0 to 3, as Nagios and its like want them.",
)
@common_options
def command(databases: tuple[str, ...], is_nagios: bool, options: Options) -> int:
    """
    Check databases, stores and the machine, with a hint for whatever is not well.

    DATABASE is a path, or a name of the configuration. Without one, all databases of the
    configuration are checked. Each check is ok, warn or fail. Nothing is changed, but for a
    test object that is written to each store and removed.
    """
    if is_nagios:
        if options.is_json:
            raise UserError("--nagios and --json exclude each other", hint="Give one of them.")
        return _nagios(databases, options)
    found = _examined(databases, options)
    if options.is_json:
        output.json_object({"checks": [_as_json(finding) for finding in found.findings]})
    elif options.is_quiet:
        for finding in found.findings:
            if finding.state != "ok":
                _show(finding, is_error=True)
    else:
        for finding in found.findings:
            _show(finding)
        output.result(_summary(found.findings))
    return _exit_code(found.findings)


def _examined(databases: Sequence[str], options: Options) -> Examination:
    return examine(databases, options.config, Surroundings(os.environ, current_folder()))


def _exit_code(findings: Sequence[Finding]) -> int:
    codes = [finding.code for finding in findings if finding.state == "fail"]
    return next((code for code in codes if code != AlreadyRunning.exit_code), 0)


def _nagios(databases: Sequence[str], options: Options) -> int:
    try:
        found = _examined(databases, options)
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
    return _nagios_line(NAGIOS[state], "; ".join([_summary(found.findings), *parts]))


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


def _summary(findings: Sequence[Finding]) -> str:
    counts = Counter(finding.state for finding in findings)
    return (
        f"{len(findings)} checks: {counts['ok']} ok, {counts['warn']} warn, {counts['fail']} fail"
    )


def _as_json(finding: Finding) -> dict[str, Any]:
    return {
        "name": finding.name,
        "state": finding.state,
        "detail": finding.detail,
        "hint": finding.hint or None,
        "about": finding.about,
    }
