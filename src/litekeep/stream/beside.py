"""
One piece of work at a time, on a thread beside the one that hands it out.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from litekeep import workers

Made = TypeVar("Made")


class Beside(Generic[Made]):
    """What is worked on beside; all of it is called from one thread."""

    def __init__(self) -> None:
        self._future: Future[Made] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether something was handed out that was not taken back."""
        return self._future is not None

    def start(self, work: Callable[[], Made]) -> None:
        """Hand out *work*; nothing else may be out."""
        assert self._future is None, "one piece of work at a time"
        self._future = workers.in_thread(work)

    def take(self, *, wait: bool) -> Made | None:
        """Return what was made, or None if nothing is ready; what failed is raised."""
        if self._future is None or not (wait or self._future.done()):
            return None
        future, self._future = self._future, None
        return future.result()
