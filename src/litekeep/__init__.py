"""
Litekeep keeps SQLite databases safe.

The public functions are loaded when they are first used, so that importing the
package, and ``litekeep --help``, costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from litekeep.errors import LitekeepError
from litekeep.version import VERSION as __version__

if TYPE_CHECKING:
    from litekeep.engine.backup import BackupResult
    from litekeep.engine.plan import RestorePlan
    from litekeep.engine.points import Points, RestorePoint
    from litekeep.engine.restore import RestoreResult
    from litekeep.engine.verify import VerifyResult
    from litekeep.library import backup, plan, restore, restore_points, verify

_HOMES = {
    "BackupResult": "litekeep.engine.backup",
    "Points": "litekeep.engine.points",
    "RestorePlan": "litekeep.engine.plan",
    "RestorePoint": "litekeep.engine.points",
    "RestoreResult": "litekeep.engine.restore",
    "VerifyResult": "litekeep.engine.verify",
    "backup": "litekeep.library",
    "plan": "litekeep.library",
    "restore": "litekeep.library",
    "restore_points": "litekeep.library",
    "verify": "litekeep.library",
}

__all__ = [
    "BackupResult",
    "LitekeepError",
    "Points",
    "RestorePlan",
    "RestorePoint",
    "RestoreResult",
    "VerifyResult",
    "__version__",
    "backup",
    "plan",
    "restore",
    "restore_points",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'litekeep' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
