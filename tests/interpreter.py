"""
This Python, for other users and for containers that have nothing of a home.
"""

from __future__ import annotations

import sys
from pathlib import Path


def why_private() -> str | None:
    """Say why another user cannot run this Python; None where he can."""
    home = Path(sys.base_prefix).resolve()
    for folder in (home, *home.parents):
        if not folder.stat().st_mode & 0o001:
            return f"this Python lies in {folder}, where other users may not go: use another"
    return None
