"""Loads the servers' fixtures, and puts the files that take longest first."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["tests.servers.fixtures"]

#: From the longest down. Each file runs as a whole on one core (`--dist loadfile`): one of these
#: begun last would leave the other cores idle until it ends.
LONGEST = (
    "crash/test_restore_intruded.py",
    "bench/test_bench_smoke.py",
    "crash/test_backup_killed.py",
    "engine/test_schedule_cron.py",
    "engine/test_image.py",
    "cli/test_notify.py",
    "cli/test_permissions.py",
    "engine/test_schedule_systemd.py",
    "cli/test_drop_in.py",
    "cli/test_interrupt.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the longest files be first, and leave the others as they are."""
    here = Path(__file__).parent
    ranks = {here / name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))
