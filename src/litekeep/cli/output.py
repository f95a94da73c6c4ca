"""
What the commands write: lines, JSON objects, errors.

The reader of our output may go away (``litekeep list | head -1``); a backup does
not stop for that, so what cannot be written any more is dropped in silence.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from typing import Any

from litekeep.errors import EXIT_BUG, LitekeepError


def line(text: str = "", *, is_error: bool = False) -> None:
    """Write a line to standard output, or to standard error."""
    raw(printable(text) + "\n", is_error=is_error)


def raw(text: str, *, is_error: bool = False) -> None:
    """Write *text* as it is."""
    stream = sys.stderr if is_error else sys.stdout
    encoding = stream.encoding or "ascii"
    try:
        # What the terminal's encoding lacks is shown by its number, not by a traceback.
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()
    except BrokenPipeError:
        _drop(stream.fileno())


def printable(text: str) -> str:
    """
    Return *text* with control characters escaped, but for line ends.

    File names and labels come from anywhere; none may move the cursor.

    >>> printable("a" + chr(27) + "[2J")
    'a\\\\x1b[2J'
    """
    return "".join(
        character
        if character == "\n" or character.isprintable()
        else character.encode("unicode_escape", "surrogatepass").decode()
        for character in text
    )


def json_object(value: dict[str, Any]) -> None:
    """Write one JSON object to standard output."""
    line(json.dumps(value, ensure_ascii=False))


def error_fields(error: LitekeepError) -> dict[str, Any]:
    """Return an error as JSON shows it; `code` is the exit code."""
    return {
        "code": error.exit_code,
        "kind": type(error).__name__,
        "message": error.message,
        "hint": error.hint,
    }


def show_error(error: LitekeepError, *, is_json: bool) -> None:
    """Show an error of ours: two lines, or JSON."""
    if is_json:
        json_object({"error": error_fields(error)})
        return
    line(f"error: {error.message}", is_error=True)
    if error.hint:
        line(f"hint: {error.hint}", is_error=True)


def show_bug(error: Exception, *, is_json: bool) -> None:
    """Show what is no error of ours, under its traceback."""
    message = f"this is a bug: {type(error).__name__}: {error}"
    hint = "Please report it with the lines above."
    if is_json:
        fields = {"code": EXIT_BUG, "kind": "Bug", "message": message, "hint": hint}
        json_object({"error": fields})
        return
    line(f"error: {message}", is_error=True)
    line(f"hint: {hint}", is_error=True)


def iso(time: datetime) -> str:
    """
    Return an instant as JSON shows it: ISO 8601, UTC, milliseconds.

    >>> iso(datetime(2025, 9, 8, 12, 0, 1, 123456, UTC))
    '2025-09-08T12:00:01.123Z'
    """
    utc = time.astimezone(UTC).replace(tzinfo=None)
    return f"{utc.isoformat(timespec='milliseconds')}Z"


def flush() -> None:
    """Write out what is buffered, so that nothing fails after the exit code is known."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            _drop(stream.fileno())


def _drop(descriptor: int) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)
