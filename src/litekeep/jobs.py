"""
From settings to what an engine is to do with the backups that there are.

`sources.py` says whose backups are meant; here the settings add what is asked of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from litekeep.clock import now
from litekeep.config.settings import Settings
from litekeep.engine.drill import DrillJob
from litekeep.sources import find_sources, zone_of
from litekeep.sqlite.examine import Assertion
from litekeep.when import parse_when


def drill_jobs(
    settings: Settings,
    source: str | None = None,
    *,
    name: str | None = None,
    at: str = "latest",
    is_random: bool = False,
    scratch: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> tuple[tuple[str, DrillJob], ...]:
    """
    Return what is to be drilled, each with the database's name.

    Args:
        settings: In force.

        source, name, environ: As `find_sources`.

        at: Which restore point, as `--at`.

        is_random: Any one, in place of *at*.

        scratch: Where to restore.

    Raises:
        UserError: As `find_sources`, and where *at* is no moment.
    """
    when = None if is_random else parse_when(at, now(), zone_of(settings))
    jobs = []
    for found in find_sources(settings, source, name=name, environ=environ):
        assertions = tuple(
            Assertion(one.sql, one.expect)
            for one in settings.drill.assertions
            if one.database in (None, found.name)
        )
        job = DrillJob(
            repositories=found.repositories,
            when=when,
            assertions=assertions,
            has_foreign_keys=settings.drill.foreign_keys,
            fresh_within=settings.drill.fresh_within,
            scratch=scratch,
        )
        jobs.append((found.name, job))
    return tuple(jobs)
