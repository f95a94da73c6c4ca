"""
What a capture has done so far, counted from two threads.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Counts:
    """
    Commits seen, files captured, whole databases compared (and why the last of them),
    checkpoints helped along.
    """

    commit_count: int = 0
    sync_count: int = 0
    diff_count: int = 0
    helped_count: int = 0
    diff_reason: str = ""


class Counter:
    """Counts; `now` is a value that no longer changes."""

    def __init__(self) -> None:
        self.now = Counts()
        self._lock = threading.Lock()

    def add(self, **counts: int) -> None:
        """Count these more."""
        with self._lock:
            more = {name: getattr(self.now, name) + count for name, count in counts.items()}
            self.now = replace(self.now, **more)

    def note(self, **values: Any) -> None:
        """Have these in place of what was noted before."""
        with self._lock:
            self.now = replace(self.now, **values)
