"""
SQLite's check of a view, in a child process: `check.py` behind `child.py`.
"""

from __future__ import annotations

from dataclasses import asdict

from litekeep.errors import DatabaseUnusable
from litekeep.sqlite.check import (
    INCONCLUSIVE,
    Check,
    bound_memory,
    check_main,
    check_view,
    raw_reader,
)
from litekeep.sqlite.child import Answer, Child, Question, bound_processor_time, serve
from litekeep.sqlite.view import View


class CheckProcess:
    """
    SQLite's check of a view, in a child process.

    The caller keeps the view's mark until `result` has returned.
    """

    def __init__(self, view: View) -> None:
        question = asdict(view) | {"salts": view.salts.hex()}
        try:
            self._child = Child("litekeep.sqlite.checking", question)
        except OSError as error:
            raise DatabaseUnusable(
                f"the check of {view.path} cannot be started: {error.strerror}",
                hint="Free some memory or processes; --no-check leaves it out.",
            ) from error

    def result(self) -> Check:
        """
        Wait for the child's answer.

        Raises:
            CorruptionError: The child found that the view is lost.

            DatabaseUnusable: It could not read the files.
        """
        answer = self._child.answer()
        if answer is None:
            return Check(INCONCLUSIVE, f"the check {self._child.ending}", {})
        return Check(**answer)

    def end(self) -> None:
        """End the child, whatever it does."""
        self._child.end()


def _answer(question: Question) -> Answer:
    view = View(**{**question, "salts": bytes.fromhex(question["salts"])})
    bound_memory()
    bound_processor_time(view.size)
    with raw_reader(view) as read:
        return asdict(check_view(view, read) if view.frame_count else check_main(view))


if __name__ == "__main__":
    serve(_answer)
