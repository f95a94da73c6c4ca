"""
A store around a store that tries again what may succeed the next time.

    StoreUnavailable     tried again, after a wait that doubles, half of it by the dice
    everything else      comes out at once

The waits are bounded in all, and so in number: each is half of its bound at least.  A
store that was never reached (a wrong endpoint, most often) gets less patience.  A `get`
goes on at the offset that it had reached, and only in the same version of the blob.  A
`put` reads its body again from the start (rule 6); a create whose answer was lost meets
its own blob and compares (rule 4).

This is not stamina: a generator that goes on in the middle, and a clock, a sleep
and a dice that tests own, do not fit its decorators; the loop is ten lines.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from litekeep.clock import Monotonic, Sleep, monotonic, sleep
from litekeep.errors import BlobChanged, LitekeepError, StoreError, StoreUnreachable
from litekeep.store.base import PIECE_SIZE_MAX, Blob, Body, Store, is_own_blob

WAIT_SECONDS_FIRST = 0.25
WAIT_SECONDS_MAX = 20.0
STRANGER_SECONDS_MAX = 15.0

_NO_PAUSE: tuple[float | None, float] = (None, 0.0)

T = TypeVar("T")


class RetryStore(Store):
    """
    The store *inner*, with patience.

    Args:
        seconds_max: No new attempt begins later than this after the first failure;
            0 is one attempt.  `STRANGER_SECONDS_MAX` at most while the store was
            never reached.

        dice: Yields numbers from 0 to 1.
    """

    def __init__(
        self,
        inner: Store,
        *,
        seconds_max: float,
        monotonic: Monotonic = monotonic,
        sleep: Sleep = sleep,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self.inner = inner
        self.url = inner.url
        self.staging = inner.staging
        self._seconds_max = seconds_max
        self._monotonic = monotonic
        self._sleep = sleep
        self._dice = dice
        self._has_answered = False

    @property
    def address(self) -> str:
        return self.inner.address

    def put(
        self,
        name: str,
        body: Body,
        *,
        create: bool = False,
        metadata: Mapping[str, str] | None = None,
        size_max: int | None = None,
    ) -> Blob:
        return self._patiently(
            lambda: self.inner.put(name, body, create=create, metadata=metadata, size_max=size_max)
        )

    def replace(
        self,
        name: str,
        body: bytes,
        *,
        version: str,
        metadata: Mapping[str, str] | None = None,
    ) -> Blob:
        attempts = 0

        def attempt() -> Blob:
            nonlocal attempts
            attempts += 1
            try:
                return self.inner.replace(name, body, version=version, metadata=metadata)
            except BlobChanged:
                # Perhaps by ourselves, and only the answer was lost.
                own = self._own(name, body, metadata) if attempts > 1 else None
                if own is None:
                    raise
                return own

        return self._patiently(attempt)

    def get(
        self, name: str, *, offset: int = 0, size: int | None = None, version: str | None = None
    ) -> Iterator[bytes]:
        if size is not None and size <= PIECE_SIZE_MAX:
            # One piece: it can be asked for again as a whole.
            data = self._patiently(
                lambda: b"".join(self.inner.get(name, offset=offset, size=size, version=version))
            )
            if data:
                yield data
            return
        if version is None:
            version = self.head(name).version or None
        pause = self._pauses()
        while True:
            try:
                for piece in self.inner.get(name, offset=offset, size=size, version=version):
                    offset += len(piece)
                    size = None if size is None else size - len(piece)
                    self._has_answered = True
                    yield piece
                    pause = self._pauses()  # it goes forward: patience begins anew
                return
            except LitekeepError as error:
                self._wait(error, pause)

    def read(self, name: str, *, size_max: int) -> bytes:
        # Small enough to be asked for again as a whole: one request, no HEAD before it.
        return self._patiently(lambda: self.inner.read(name, size_max=size_max))

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[Blob]:
        pause = self._pauses()
        while True:
            try:
                for blob in self.inner.list(prefix, start_after=start_after):
                    start_after = blob.name
                    self._has_answered = True
                    yield blob
                    pause = self._pauses()
                return
            except LitekeepError as error:
                self._wait(error, pause)

    def head(self, name: str) -> Blob:
        return self._patiently(lambda: self.inner.head(name))

    def delete(self, name: str) -> None:
        self._patiently(lambda: self.inner.delete(name))

    def copy(self, source: str, target: str) -> None:
        self._patiently(lambda: self.inner.copy(source, target))

    def take(self, path: Path, name: str, *, metadata: Mapping[str, str] | None = None) -> Blob:
        return self._patiently(lambda: self.inner.take(path, name, metadata=metadata))

    def clean(self, unfinished: Iterable[str] = ()) -> Sequence[str]:
        names = tuple(unfinished)
        return self._patiently(lambda: self.inner.clean(names))

    def _own(self, name: str, body: bytes, metadata: Mapping[str, str] | None) -> Blob | None:
        return is_own_blob(self.inner, name, body, metadata)

    def _patiently(self, attempt: Callable[[], T]) -> T:
        pause = self._pauses()
        while True:
            try:
                answer = attempt()
                self._has_answered = True
                return answer
            except StoreError as error:
                self._wait(error, pause)

    def _wait(self, error: LitekeepError, pause: Iterator[tuple[float | None, float]]) -> None:
        """Sleep before the next attempt, or raise *error* if there is none."""
        is_stranger = isinstance(error, StoreUnreachable) and not self._has_answered
        seconds, waited = next(pause, _NO_PAUSE) if error.retryable else _NO_PAUSE
        if seconds is None or (is_stranger and waited > STRANGER_SECONDS_MAX):
            raise error
        self._sleep(seconds)

    def _pauses(self) -> Iterator[tuple[float | None, float]]:
        """Yield how long to wait before each further attempt, and how long that makes in all."""
        started = self._monotonic()
        limit = WAIT_SECONDS_FIRST
        while True:
            seconds = limit * (0.5 + 0.5 * self._dice())
            waited = self._monotonic() + seconds - started
            if waited > self._seconds_max:
                return
            yield seconds, waited
            limit = min(WAIT_SECONDS_MAX, 2 * limit)
