"""
What a check finds: a value with a state, what was seen, and what to do about it.

    ok     it was looked at, and is as it should be
    warn   it works, and will not for ever; or it could not be checked, and why
    fail   a backup or a restore does not work; ends with the exit code of its kind

A check returns findings and never raises: `guarded` sees to that, so that one broken
database or store does not hide the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from litekeep.errors import EXIT_BUG, LitekeepError

State = Literal["ok", "warn", "fail"]

#: Every check, in the order of the output; the documentation's table is compared with it.
CHECKS = (
    *("configuration", "secrets", "library"),
    *("docker", "database", "file-system", "journal-mode", "wal-size", "sqlite-version"),
    *("permissions", "space-backup", "space-restore"),
    *("store", "delete", "conditions", "clock"),
    *("versioning", "encryption", "public-access", "upload-rule", "open-uploads"),
    *("snapshot", "proof", "schedule", "image-secrets"),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """
    What one check found.

    `about` names what it looked at, a database or a store; empty for the machine itself.
    `code` is the exit code of a failure, else 0.
    """

    name: str
    state: State
    detail: str
    hint: str = ""
    about: str = ""
    code: int = 0


def ok(name: str, about: str, detail: str, hint: str = "") -> Finding:
    """Return that all is as it should be."""
    return Finding(name, "ok", detail, hint, about)


def warn(name: str, about: str, detail: str, hint: str) -> Finding:
    """Return what wants attention."""
    return Finding(name, "warn", detail, hint, about)


def unknown(name: str, about: str, reason: str, hint: str) -> Finding:
    """Return that a check could not be made, which is never taken for well."""
    return warn(name, about, f"could not be checked: {reason}", hint)


def fail(name: str, about: str, error: LitekeepError) -> Finding:
    """Return what does not work, in the words of the error that says so."""
    return Finding(name, "fail", error.message, error.hint or "", about, error.exit_code)


def guarded(
    names: Sequence[str], about: str, check: Callable[[], Iterable[Finding]]
) -> tuple[Finding, ...]:
    """
    Return what *check* finds; what it raises is a finding of the first of *names*.

    Args:
        names: The checks that it makes.  Those that it did not come to could not be made.

        about: What it looks at.

        check: Makes them, in the order of *names*.
    """
    found: list[Finding] = []
    try:
        found.extend(check())
        return tuple(found)
    except LitekeepError as error:
        broken = fail(names[0], about, error)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        broken = unknown(names[0], about, reason.lower(), "Look at the file or the disk.")
    except Exception as error:  # noqa: BLE001 (a check that breaks is a finding, and others go on)
        # Its text might quote what it should not.
        hint = "Please report it: this is a bug of Litekeep."
        reason = f"{type(error).__name__} in the check itself"
        broken = Finding(names[0], "fail", f"could not be checked: {reason}", hint, about, EXIT_BUG)
    left = [name for name in names[1:] if not any(each.name == name for each in found)]
    return (*found, broken, *unmade(left, about, names[0]))


def unmade(names: Sequence[str], about: str, needed: str) -> tuple[Finding, ...]:
    """Return that checks could not be made because the check *needed* did not come out well."""
    return tuple(unknown(name, about, f"see {needed}", "") for name in names)
