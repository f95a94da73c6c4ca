"""
What lies at a path, and where a path leads: asked so that no answer is a guess.

`Path.exists` and its sisters say "nothing there" of one error, let the next escape bare, and
differ between versions of Python.  Here "it cannot be known" is an error of ours that says why.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from litekeep.errors import AccessDenied, LitekeepError, UserError

_NOTHING = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_SHOWN_LENGTH_MAX = 200


def full_path(text: str | os.PathLike[str]) -> Path:
    """
    Return the absolute path that *text* means, ``~`` included; links are not followed.

    Raises:
        UserError: It is relative and the current folder is gone, or no such user has a home.
    """
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:
        raise UserError(
            f"{_shown(text)} begins with a home folder that is not known",
            hint="Write the whole path.",
        ) from error
    return path if path.is_absolute() else current_folder() / path


def current_folder() -> Path:
    """
    Return the current folder.

    Raises:
        UserError: It was removed.
    """
    try:
        return Path.cwd()
    except OSError as error:
        raise UserError(
            "the current folder is not there any more", hint="Change to another one: cd /"
        ) from error


def exists(path: Path) -> bool:
    """Say whether anything lies at *path*; a link to nothing, or to itself, is nothing."""
    return _mode(path) is not None


def is_file(path: Path) -> bool:
    """Say whether a regular file lies at *path*."""
    return stat.S_ISREG(_mode(path) or 0)


def is_folder(path: Path) -> bool:
    """Say whether a folder lies at *path*."""
    return stat.S_ISDIR(_mode(path) or 0)


def _mode(path: Path) -> int | None:
    """
    Return the mode of what lies at *path*, or None where nothing does.

    Raises:
        AccessDenied: A folder on the way may not be entered.

        UserError: There can be no such path.
    """
    try:
        return os.stat(path).st_mode
    except OSError as error:
        if error.errno in _NOTHING:
            return None
        raise _translated(path, error) from error
    except ValueError as error:  # a byte of zero in it
        raise UserError(f"{_shown(path)!r} is no path", hint="Check the path.") from error


def _translated(path: Path, error: OSError) -> LitekeepError:
    reason = os.strerror(error.errno or 0).lower()
    if error.errno in (errno.EACCES, errno.EPERM):
        return AccessDenied(
            f"cannot look at {_shown(path)}: {reason}",
            hint=f"Give user id {os.geteuid()} the right to enter the folders above it.",
        )
    return UserError(f"cannot look at {_shown(path)}: {reason}", hint="Check the path.")


def _shown(path: str | os.PathLike[str]) -> str:
    text = os.fspath(path)
    return text if len(text) <= _SHOWN_LENGTH_MAX else f"{text[:_SHOWN_LENGTH_MAX]}..."
