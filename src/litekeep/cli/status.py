"""
`litekeep status`: whether each database is safe, at a glance and by the exit code.
"""

from __future__ import annotations

import os
from datetime import datetime, tzinfo
from typing import Any

import click

from litekeep.cli import output
from litekeep.cli.options import Options, common_options, database_option, source_argument
from litekeep.cli.points import point_fields, show_time
from litekeep.cli.telling import told
from litekeep.config.places import state_folder
from litekeep.engine.local import Local
from litekeep.sources import find_sources, load_settings, zone_of
from litekeep.status import DatabaseStatus, Freshness, status_of


@click.command(short_help="Show whether each database is safe.")
@source_argument
@database_option
@common_options
def command(source: str | None, database: str | None, options: Options) -> int:
    """
    Show whether each database is safe: exit code 42 where its backups are too old.

    SOURCE is a database (a path, or a name of the configuration), or a store (a folder or
    a URL). Without it, all databases of the configuration are looked at.
    """
    settings = load_settings(options.config)
    limits = Freshness(settings.status.snapshot_within, settings.status.proof_within)
    state = state_folder(settings, os.environ)
    with told("status", settings) as run:
        sources = find_sources(settings, source, name=database)
        found = [status_of(item, limits, state=state) for item in sources]
        for status in found:
            run.ended(status.name, status.failure)
    if options.is_json:
        output.json_object({"databases": [_as_json(item) for item in found]})
    elif not options.is_quiet:
        for item in found:
            _show(item, zone_of(settings))
    failure = next((item.failure for item in found if item.failure is not None), None)
    return failure.exit_code if failure is not None else 0


def _show(item: DatabaseStatus, zone: tzinfo) -> None:
    output.result(f"{item.health.upper():4}  {item.name}  {item.path or ''}".rstrip())
    if item.last_snapshot is not None:
        time = show_time(item.last_snapshot.time, zone)
        output.result(f"      last good snapshot: {time}  {item.last_snapshot.name}")
    for stream in item.streams:
        time = show_time(stream.time, zone)
        output.result(f"      stream: {time}  txid {stream.txid:016x}  {stream.store.url}")
    if item.last_proof is not None:
        time = show_time(item.last_proof.time, zone)
        output.result(f"      last drill: {time}  {item.last_proof.result}")
    for reason in item.reasons:
        output.result(f"      {reason}")


def _as_json(item: DatabaseStatus) -> dict[str, Any]:
    proof = item.last_proof
    return {
        "name": item.name,
        "path": item.path,
        "health": item.health,
        "reasons": list(item.reasons),
        "streams": [
            {
                "store": stream.store.url,
                "txid": f"{stream.txid:016x}",
                "time": output.iso(stream.time),
            }
            for stream in item.streams
        ],
        "last_snapshot": point_fields(item.last_snapshot) if item.last_snapshot else None,
        "last_proof": {
            "time": output.iso(proof.time),
            "result": proof.result,
            "seconds": round(proof.seconds, 3),
        }
        if proof
        else None,
        "local": _local_fields(item.local) if item.local is not None else None,
    }


def _local_fields(local: Local) -> dict[str, Any]:
    def time(since: datetime | None) -> str | None:
        return output.iso(since) if since is not None else None

    return {
        "killed": {"count": local.killed_count, "since": time(local.killed_since)},
        "spooled": {
            "count": local.spooled_count,
            "size_bytes": local.spooled_size,
            "since": time(local.spooled_since),
        },
    }
