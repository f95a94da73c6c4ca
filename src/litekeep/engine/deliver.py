"""
Bringing one snapshot into several stores, each on a thread of its own.

Steps 5 and 7 to 9 of `backup.py`.  A store that fails is told in its outcome and
does not disturb the others; what it holds of the snapshot is withdrawn.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from litekeep import workers
from litekeep.clock import Clock, Sleep
from litekeep.codec.base import Codec
from litekeep.engine import events
from litekeep.engine.ahead import AHEAD_HINT, find_ahead
from litekeep.engine.job import Begun, Job, withdraw
from litekeep.engine.latest import move_latest, owner_of
from litekeep.engine.origin import other_origin, show_origin
from litekeep.engine.staging import Staging
from litekeep.errors import (
    BlobNotFound,
    CorruptionError,
    LitekeepError,
    NameTaken,
    StoreError,
)
from litekeep.repository.layout import Repository, manifest_of, next_second
from litekeep.repository.manifest import (
    CAPTURED_KEY,
    DATABASE_KEY,
    ID_KEY,
    SIZE_MAX,
    Manifest,
    Origin,
    decode,
    encode,
)
from litekeep.store.base import FAILURES
from litekeep.store.unopened import UnopenedStore

NAME_ATTEMPTS_MAX = 30
GIVE_UP_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class StoreOutcome:
    """
    How one store took the snapshot.

    `is_settled` says that nothing half done is left in it; `latest` is None where it
    was not to be moved, else whether it was; `before` is where the snapshot before this
    one was taken, if that was elsewhere; `ahead` names a snapshot that lies in the future.
    """

    url: str
    name: str
    object: str
    error: LitekeepError | None
    is_settled: bool
    latest: bool | None = None
    before: Origin | None = None
    ahead: str | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a snapshot goes in one repository."""

    repository: Repository
    name: str
    object: str


#: Makes the manifest for a place.
MakeManifest = Callable[[Placed], Manifest]


class Delivery:
    """
    The deliveries of one snapshot.

    `captured` must be given its result or an exception, once; until then manifests
    wait.
    """

    def __init__(
        self,
        repositories: tuple[Repository, ...],
        *,
        snapshot_id: str,
        origin: Origin,
        codec: Codec,
        staging: Staging,
        job: Job,
        report: events.Report,
        clock: Clock,
        sleep: Sleep,
    ) -> None:
        self.captured: Future[MakeManifest] = Future()
        self._repositories = repositories
        self._id = snapshot_id
        self._origin = origin
        self._codec = codec
        self._staging = staging
        self._job = job
        self._report = report
        self._clock = clock
        self._sleep = sleep
        self._begun_lock = threading.Lock()
        self._begun: dict[str, str] = {}
        self._futures: list[Future[StoreOutcome]] = []

    def start(self, time: datetime, size_max: int) -> None:
        """
        Let every store begin to take what the staging file holds.

        Args:
            time: When the snapshot was captured; its name says so.

            size_max: An upper bound of the data's size in bytes.
        """
        for repository in self._repositories:
            deliver = partial(self._deliver, repository, time, size_max)
            self._futures.append(workers.in_thread(deliver))

    def give_up(self, error: BaseException) -> None:
        """
        Let no store wait any longer, and each withdraw what it has.

        A store that does not answer is not waited for: the next run withdraws, by the
        record, what it holds.
        """
        self._staging.fail(error)
        self.captured.set_exception(error)
        wait(self._futures, timeout=GIVE_UP_SECONDS)

    def wait(self) -> tuple[StoreOutcome, ...]:
        """Wait for every store; report each in the order of nearness."""
        outcomes = []
        for repository, future in zip(self._repositories, self._futures, strict=True):
            outcome = future.result()
            outcomes.append(outcome)
            self._tell(repository, outcome)
        self._warn_of_others(outcomes)
        return tuple(outcomes)

    def _tell(self, repository: Repository, outcome: StoreOutcome) -> None:
        if outcome.error is not None:
            self._report(events.StoreFailed(outcome.url, outcome.error.message, outcome.error.hint))
            return
        place = f"{outcome.url.rstrip('/')}/{outcome.object}"
        self._report(events.Stored(place, is_local=repository.store.staging is not None))
        if outcome.latest is True:
            self._report(events.LatestMoved(outcome.url))
        elif outcome.latest is False:
            self._report(
                events.Warned(
                    f"latest in {outcome.url} belongs to another database and did not move",
                    "Give each database a prefix, or a folder, of its own.",
                )
            )
        if outcome.ahead is not None:
            self._report(
                events.Warned(f"{outcome.ahead} in {outcome.url} lies in the future", AHEAD_HINT)
            )

    def _warn_of_others(self, outcomes: Sequence[StoreOutcome]) -> None:
        """Say once that another database, or another host's, seems to share the place."""
        for outcome in outcomes:
            if outcome.before is not None:
                message = (
                    f"the snapshot before this one in {outcome.url} is of "
                    f"{show_origin(outcome.before)}, and this one of {show_origin(self._origin)}"
                )
                hint = (
                    "If these are two databases, give each a prefix or a name of its own. If it "
                    "was moved, all is well, and this is not said again."
                )
                self._report(events.Warned(message, hint))
                return

    def _deliver(self, repository: Repository, time: datetime, size_max: int) -> StoreOutcome:
        url = repository.store.url
        placed = Placed(repository, repository.name_at(time), "")
        has_manifest = False
        if isinstance(repository.store, UnopenedStore):
            return StoreOutcome(url, placed.name, "", repository.store.error, True)
        try:
            placed = self._claim(repository, time)
            before = other_origin(repository, placed.name, self._origin)
            self._put_data(placed, time, size_max)
            manifest = self.captured.result()(placed)
            repository.store.put(manifest_of(placed.object), encode(manifest), create=True)
            has_manifest = True
            self._check_stands(placed)
            is_moved = self._move_latest(placed, time) if manifest.state == "ok" else None
            ahead = find_ahead(repository, placed.object, self._clock())
        except LitekeepError as error:
            is_settled = has_manifest or self._withdraw(repository)
            return StoreOutcome(url, placed.name, placed.object, error, is_settled)
        except BaseException:
            self._withdraw(repository)
            raise
        return StoreOutcome(url, placed.name, placed.object, None, True, is_moved, before, ahead)

    def _claim(self, repository: Repository, time: datetime) -> Placed:
        """
        Take a name that nobody has, by an object of no bytes.

        Two hosts whose timers fire in the same second would otherwise overwrite each
        other: a large upload cannot be conditional.
        """
        metadata = self._metadata(repository, time)
        for _ in range(NAME_ATTEMPTS_MAX):
            name = repository.name_at(time)
            placed = Placed(repository, name, repository.object_of(name, self._codec))
            with self._begun_lock:
                self._begun[repository.store.address] = placed.object
                self._job.begin(Begun(self._id, dict(self._begun)))
            try:
                if not self._is_taken(placed):
                    repository.store.put(placed.object, b"", create=True, metadata=metadata)
                    if self._is_ours(placed):
                        return placed
            except NameTaken:
                pass
            time = next_second(time)
            self._sleep(max(0.0, (time - self._clock()).total_seconds()))
        raise NameTaken(
            f"{repository.store.url} has snapshots of {repository.database} in every second",
            hint="Another host seems to write to the same place: give each a prefix of its own.",
        )

    def _is_taken(self, placed: Placed) -> bool:
        """Look for any snapshot of this name: in another format, or on a careless store."""
        name = f"{placed.object.rpartition('.db')[0]}.db"
        return any(True for _ in placed.repository.store.list(name))

    def _put_data(self, placed: Placed, time: datetime, size_max: int) -> None:
        store = placed.repository.store
        metadata = self._metadata(placed.repository, time)
        if store.staging == self._staging.path.parent:
            # Only there may it be linked: two stores must not share one file.
            self._staging.wait_finished()
            self.captured.result()
            blob = store.take(self._staging.path, placed.object, metadata=metadata)
        else:
            check = partial(self._check_data, placed)
            body = _Held(self._staging, self.captured, check)
            blob = store.put(placed.object, body, metadata=metadata, size_max=size_max)
        if blob.size != self._staging.size:
            raise StoreError(
                f"{store.url} holds {blob.size} of {self._staging.size} bytes of {placed.object}",
                hint="The server lost a part: look at its state, and run it again.",
            )

    def _is_ours(self, placed: Placed) -> bool:
        """Tell whether the object under the snapshot's name is this run's."""
        with contextlib.suppress(BlobNotFound):
            metadata = placed.repository.store.head(placed.object).metadata
            return metadata.get(ID_KEY) == self._id
        return False

    def _check_data(self, placed: Placed) -> None:
        """
        Raise `NameTaken` if the name has become another run's.

        Before our data replaces what is there, and again at the end: where a server
        ignores conditions, of two runs that took one name at most one goes on.
        """
        if not self._is_ours(placed):
            raise NameTaken(
                f"another backup writes {placed.object} to {placed.repository.store.url}",
                hint="Give each host, and each database, a prefix of its own.",
            )

    def _check_stands(self, placed: Placed) -> None:
        """Raise `NameTaken` unless manifest and data, as they are stored, are this run's."""
        name = manifest_of(placed.object)
        try:
            manifest = decode(placed.repository.store.read(name, size_max=SIZE_MAX))
            is_ours = manifest.id == self._id
        except (BlobNotFound, CorruptionError):
            is_ours = False
        if not is_ours:
            raise NameTaken(
                f"another backup replaced {name} in {placed.repository.store.url}",
                hint="Give each host, and each database, a prefix of its own.",
            )
        self._check_data(placed)

    def _move_latest(self, placed: Placed, time: datetime) -> bool | None:
        return move_latest(
            placed.repository, placed.object, self._codec, captured_at=time, now=self._clock()
        )

    def _metadata(self, repository: Repository, time: datetime) -> dict[str, str]:
        return {
            ID_KEY: self._id,
            DATABASE_KEY: owner_of(repository),
            CAPTURED_KEY: time.isoformat(),
        }

    def _withdraw(self, repository: Repository) -> bool:
        """Take back what was begun: also a claim whose answer was lost."""
        data_object = self._begun.get(repository.store.address)
        if data_object is None:
            return True
        try:
            withdraw(repository, data_object, self._id)
        except (CorruptionError, *FAILURES):
            return False
        return True


@dataclass(frozen=True, slots=True)
class _Held:
    """
    A body that ends only when all is captured and checked, and the name still ours.

    So the data stands for the shortest time without its manifest, and a run that is
    given up leaves an upload that was never completed, not an object.
    """

    staging: Staging
    captured: Future[MakeManifest]
    check: Callable[[], None]

    def __iter__(self) -> Iterator[bytes]:
        yield from self.staging
        self.captured.result()
        self.check()
