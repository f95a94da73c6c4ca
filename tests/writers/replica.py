"""
A copy of a database that is kept up by a tail, in memory, page by page.
"""

from __future__ import annotations

from litekeep.sqlite.changes import Changes
from litekeep.sqlite.live import LiveView
from tests.writers.reading import bytes_of


class Replica:
    """Begins as a view, and applies what a tail finds."""

    def __init__(self, first: LiveView) -> None:
        self.data = bytearray(bytes_of(first))

    def apply(self, changes: Changes) -> None:
        """Be as the database is after these changes."""
        size = changes.page_count * changes.page_size
        if size < len(self.data):
            del self.data[size:]
        self.data.extend(bytes(size - len(self.data)))
        for page_number, page in changes.pages():
            start = (page_number - 1) * changes.page_size
            self.data[start : start + changes.page_size] = page
        assert len(self.data) == size
