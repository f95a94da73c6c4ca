"""
The one seam through which tests make this package fail.

Every step that a crash could separate from the next (a write, an fsync, a
rename, a link, an unlink, a request to a store) announces itself here just
before it happens.  In production nobody listens and a step costs one test of a
global.  A test listens in a process of its own, counts the steps, and kills
itself, raises, or lets the disk be full at the step that it chose.

Steps are named ``<what> <where>``, for instance ``"rename snapshot"``,
``"put sqlite-backup/2025/09/app_20250908_120001.db.gz"``.
"""

from __future__ import annotations

from collections.abc import Callable

Listener = Callable[[str], None]

_listener: Listener | None = None


def reach(step: str) -> None:
    """Announce *step*, which is about to happen; a listener may kill or raise."""
    if _listener is not None:
        _listener(step)


def listen(listener: Listener | None) -> None:
    """Let *listener* hear every step from now on; None ends it."""
    global _listener  # noqa: PLW0603 (the seam is one per process by design)
    _listener = listener
