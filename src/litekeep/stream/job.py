"""
A stream as values: what is to be streamed, what is told meanwhile, how it stands at the end.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from litekeep.clock import Clock, Monotonic, monotonic, now
from litekeep.errors import LitekeepError
from litekeep.sqlite.tail import HELP_SIZE
from litekeep.stream.chain import Place
from litekeep.stream.counts import Counts
from litekeep.stream.policy import StreamPolicy

#: How far syncs are apart at least, if nobody says.
SYNC_SECONDS = 1.0
SPOOL_SIZE_MAX = 1 << 30


@dataclass(frozen=True, slots=True)
class StreamJob:
    """What is streamed where, and how; sizes in bytes, times in seconds."""

    database: Path
    name: str
    places: tuple[Place, ...]
    state: Path
    sync_seconds: float = SYNC_SECONDS
    spool_size_max: int = SPOOL_SIZE_MAX
    help_size: int | None = HELP_SIZE
    policy: StreamPolicy = StreamPolicy()
    #: Whether to go on with a chain of another program's: see `foreign.py`.
    takes_over: bool = False
    host: str = field(default_factory=lambda: os.uname().nodename)
    clock: Clock = now
    monotonic: Monotonic = monotonic


@dataclass(frozen=True, slots=True)
class Told:
    """What happened, in words for people."""

    message: str
    hint: str | None = None
    is_warning: bool = False


Tell = Callable[[StreamJob, Told], object]


@dataclass(frozen=True, slots=True)
class StoreState:
    """
    How far one store is; `error` is why it is not further.

    `txid` is as the store counts.
    """

    url: str
    txid: int | None
    file_count: int
    bytes: int
    error: LitekeepError | None


@dataclass(frozen=True, slots=True)
class StreamResult:
    """How it stood when the stream ended."""

    txid: int
    counts: Counts
    stores: tuple[StoreState, ...]
    spooled_count: int
