"""
Restore points, as `list`, `restore` and `verify` show them.
"""

from __future__ import annotations

from datetime import datetime, tzinfo
from typing import Any

from litekeep.cli import output
from litekeep.engine.lacks import Lack
from litekeep.engine.points import RestorePoint


def point_fields(point: RestorePoint) -> dict[str, Any]:
    """Return a restore point in its contract's shape."""
    return {
        "kind": point.kind,
        "time": output.iso(point.time),
        "txid": f"{point.txid:016x}" if point.txid is not None else None,
        "name": point.name,
        "size_bytes": point.size,
        "stored_size_bytes": point.stored_size,
        "store": point.store,
        "stores": list(point.stores),
        "label": point.label,
        "origin": _origin_fields(point),
        "held": point.is_held,
        "proof": _proof_fields(point),
        "state": point.state,
    }


def lack_fields(lack: Lack) -> dict[str, Any]:
    """Return what a store lacks as JSON."""
    return {"store": lack.repository.store.url, "names": list(lack.names)}


def show_time(time: datetime, zone: tzinfo) -> str:
    """Return an instant for a person, in the configured zone."""
    return f"{time.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}"


def _origin_fields(point: RestorePoint) -> dict[str, Any] | None:
    origin = point.origin
    return {"host": origin.host, "path": origin.path} if origin is not None else None


def _proof_fields(point: RestorePoint) -> dict[str, Any] | None:
    proof = point.proof
    if proof is None:
        return None
    return {
        "time": output.iso(proof.time),
        "result": proof.result,
        "seconds": round(proof.seconds, 3),
    }
