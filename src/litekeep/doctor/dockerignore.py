"""
What a `.dockerignore` leaves out of an image's build context.

    *  ?  [a-z]     as in a shell, within one name        **       any number of folders
    !               brings back what was left out          #        a comment
    a/b             the path from the context's top; a folder takes all below it along

The last pattern that matches decides.  A leading slash means nothing, and neither does the
pattern of a single dot.

See https://docs.docker.com/build/concepts/context/#dockerignore-files; the cases that its
text leaves open are decided as in github.com/moby/patternmatcher.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pattern:
    """One line: what it matches, and whether it brings back."""

    expression: re.Pattern[str]
    is_exception: bool


def parse_patterns(text: str) -> tuple[Pattern, ...]:
    """Return the patterns of a file; a line that is none of Docker's is passed over."""
    found = []
    for line in text.removeprefix("\ufeff").splitlines():
        if line.startswith("#"):
            continue
        written = line.strip()
        is_exception = written.startswith("!")
        plain = written.removeprefix("!").strip() if is_exception else written
        if not plain:
            continue
        cleaned = posixpath.normpath(plain).lstrip("/")
        if cleaned in ("", "."):
            continue
        try:
            found.append(Pattern(re.compile(_expression(cleaned)), is_exception))
        except re.error:
            continue
    return tuple(found)


def is_ignored(path: str, patterns: Sequence[Pattern]) -> bool:
    """
    Say whether *path*, relative to the context, is left out of it.

    >>> is_ignored(".env", parse_patterns("*.pyc"))
    False
    >>> is_ignored("app/.env", parse_patterns("**/.env"))
    True
    >>> is_ignored(".env.local", parse_patterns(".env*"))
    True
    >>> is_ignored(".env.local", parse_patterns(".env*\\n!.env.local"))
    False
    """
    parts = path.split("/")
    levels = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    is_out = False
    for pattern in patterns:
        if pattern.is_exception == is_out:
            if any(pattern.expression.fullmatch(level) for level in levels):
                is_out = not pattern.is_exception
    return is_out


def _expression(pattern: str) -> str:
    """Return the regular expression of a pattern."""
    made, index = [], 0
    while index < len(pattern):
        character = pattern[index]
        index += 1
        if pattern.startswith("**", index - 1):
            index += 1
            if pattern.startswith("/", index):
                index += 1
            made.append(".*" if index == len(pattern) else "(?:.*/)?")
        elif character == "*":
            made.append("[^/]*")
        elif character == "?":
            made.append("[^/]")
        elif character == "[":
            end = pattern.find("]", index + 1)
            if end < 0:
                raise re.error("a class without an end")
            made.append(_class(pattern[index:end]))
            index = end + 1
        elif character == "\\" and index < len(pattern):
            made.append(re.escape(pattern[index]))
            index += 1
        else:
            made.append(re.escape(character))
    return "".join(made)


def _class(body: str) -> str:
    """Return the expression of ``[body]``, in which only ``^`` at the start and ``-`` mean much."""
    mark = "^" if body.startswith("^") else ""
    inner = re.escape(body.removeprefix("^")).replace("\\-", "-")
    return f"(?!/)[{mark}{inner}]"
