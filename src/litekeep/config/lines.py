"""
Where in a TOML file a key stands, for errors: TOML's reader does not tell.
"""

from __future__ import annotations

import re


def find_line(lines: list[str], table: str, number: int | None, name: str) -> int | None:
    """
    Return the line of a key, or of its table's head, as far as a plain look can tell.

    Args:
        lines: Of the file.

        table: The table's name; empty at the top level.

        number: Which of several ``[[table]]``, from 1.

        name: The key; empty for the head itself.
    """
    found = None
    count, is_inside = 0, not table
    for line_number, line in enumerate(lines, 1):
        stripped = line.strip()
        if stripped.startswith("["):
            head = stripped.partition("#")[0].strip().strip("[]").strip()
            count += head == table
            is_inside = head == table and count == (number or 1)
            if is_inside:
                found = line_number
            if name and not table and head == name:
                return line_number
        elif is_inside and name and re.match(rf'"?{re.escape(name)}"?\s*[=.]', stripped):
            return line_number
    return found
