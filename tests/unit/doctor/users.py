"""
Being another user for a while, in this process.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import pytest

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="it acts as other users")


@contextlib.contextmanager
def acting_as(user: int) -> Iterator[None]:
    """Have the rights of another user for a while, root's own ones put aside."""
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(user)
    os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)
