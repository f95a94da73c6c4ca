"""
A value that must never be shown: a key, a password, a token.

It has no text form but dots, so it can lie in a configuration, an error or a
log line without leaking.  `reveal` is called only where the value is used.
"""

from __future__ import annotations

from typing import final


@final
class Secret:
    """
    Text that prints as dots.

    >>> key = Secret("hunter2")
    >>> key, f"{key}", key.reveal()
    (Secret('...'), '...', 'hunter2')
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value itself, for the one place that needs it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('...')"

    def __str__(self) -> str:
        return "..."

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> tuple[type[Secret], tuple[str]]:
        # Worker processes get options by pickle; nothing else should pickle one.
        return (Secret, (self._value,))
