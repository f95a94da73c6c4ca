"""
What the commands write: lines, JSON objects, errors.

Standard output may fail: its reader goes away (``litekeep list | head -1``), the disk
behind it is full, it is closed.  What is said on the way is dropped then, because no
backup stops for a line of a log.  Where the output itself is what the command is for
(`result`, `text`, `data`), its loss is an error, but for a reader that went away.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TextIO

from litekeep.errors import EXIT_BUG, AlreadyRunning, LitekeepError, NoSpace


def line(text: str = "", *, is_error: bool = False) -> None:
    """Write a line to standard output, or to standard error; dropped if that fails."""
    stream = sys.stderr if is_error else sys.stdout
    with contextlib.suppress(OSError):
        _write(stream, printable(text) + "\n")


def would(deed: str, stores: Sequence[str]) -> None:
    """Write what a dry run stops before, and in which stores that would be done."""
    result(f"Would {deed} in {', '.join(stores)}; nothing was changed (--dry-run).")


def result(line: str) -> None:
    """
    Write a line of what the command is for.

    Raises:
        LitekeepError: It cannot be written.
    """
    text(printable(line) + "\n")


def text(content: str) -> None:
    """
    Write text that the command is for, as it is.

    Raises:
        LitekeepError: It cannot be written.
    """
    try:
        _write(_standard_output(), content)
    except BrokenPipeError:
        pass
    except OSError as error:
        raise _failed(error) from error


def data(content: bytes) -> None:
    """
    Write bytes that the command is for.

    Raises:
        BrokenPipeError: The reader has seen enough.

        LitekeepError: They cannot be written.
    """
    descriptor = _standard_output().fileno()
    view = memoryview(content)
    try:
        while len(view) > 0:
            view = view[os.write(descriptor, view) :]
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _failed(error) from error


def failure() -> LitekeepError | None:
    """Return why standard output cannot be written, if it cannot: what is pending fails again."""
    try:
        _standard_output().flush()
    except OSError as error:
        return _failed(error)
    except LitekeepError as error:
        return error
    return None


def is_terminal(*streams: TextIO | None) -> bool:
    """Say whether all of *streams*, each perhaps closed, are terminals."""
    return all(stream is not None and stream.isatty() for stream in streams)


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
    """
    Write one JSON object to standard output.

    Raises:
        LitekeepError: It cannot be written.
    """
    result(json.dumps(value, ensure_ascii=False))


def error_fields(error: LitekeepError) -> dict[str, Any]:
    """Return an error as JSON shows it; `code` is the exit code."""
    return {
        "code": error.exit_code,
        "kind": type(error).__name__,
        "message": error.message,
        "hint": error.hint,
    }


def exit_code(failures: Sequence[LitekeepError]) -> int:
    """
    Return the code that a command ends with after these failures.

    It is the first one's.  But a schedule takes `AlreadyRunning` for a success, so that of
    one database must not hide another's failure.
    """
    codes = [failure.exit_code for failure in failures]
    return (
        next((code for code in codes if code != AlreadyRunning.exit_code), codes[0]) if codes else 0
    )


def show_error(error: LitekeepError, *, is_json: bool, about: str = "") -> None:
    """
    Show an error of ours: JSON, or two lines, also where no JSON can be written.

    Args:
        error: To be shown.

        is_json: As JSON if possible.

        about: What it is about, such as one database of several; the lines say so.
    """
    if is_json and _is_shown(error_fields(error)):
        return
    start = f"error: {about}: " if about else "error: "
    line(f"{start}{error.message}", is_error=True)
    if error.hint:
        line(f"hint: {error.hint}", is_error=True)


def show_bug(error: Exception, *, is_json: bool) -> None:
    """Show what is no error of ours, under its traceback."""
    line("".join(traceback.format_exception(error)).rstrip(), is_error=True)
    message = f"this is a bug: {type(error).__name__}: {error}"
    hint = "Please report it with the lines above."
    fields = {"code": EXIT_BUG, "kind": "Bug", "message": message, "hint": hint}
    if is_json and _is_shown(fields):
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
            if stream is not None:
                stream.flush()
        except OSError:
            # Python writes what is pending once more at the end, and would say so.
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)


def occupy_closed() -> None:
    """
    Let no file that is opened later get the number of a standard stream.

    Where one was closed (``>&-``), the system gives its number to the next file, and what
    is said to the stream, by us or by any library, would be written into that.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != descriptor:
                os.dup2(null, descriptor)
                os.close(null)


def _write(stream: TextIO | None, content: str) -> None:
    if stream is None:  # it was closed when this process began
        return
    encoding = stream.encoding or "ascii"
    # What the terminal's encoding lacks is shown by its number, not by a traceback.
    stream.write(content.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()


def _standard_output() -> TextIO:
    stream: TextIO | None = sys.stdout
    if stream is None:
        raise LitekeepError("standard output is closed", hint="Give it a file or a pipe.")
    return stream


def _failed(error: OSError) -> LitekeepError:
    message = f"cannot write to standard output: {os.strerror(error.errno or 0).lower()}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace(message, hint="Free some space where it goes.")
    return LitekeepError(message, hint="Give it a file or a pipe that can be written to.")


def _is_shown(error: dict[str, Any]) -> bool:
    try:
        json_object({"error": error})
    except LitekeepError:
        return False
    return True
