"""
What a repository holds: its snapshots, as its store tells.

    data and manifest                    a snapshot
    data alone, not marked as ours       a snapshot by an older script: "foreign"
    data alone, marked as ours           not a snapshot: a run was killed, or its
                                         manifest was lost (`Leftover`)
    manifest alone, or unreadable        not a snapshot (`Leftover`)
    data and tombstone, no manifest      pruned; it can be brought back (`Deleted`)
    data of no bytes, no manifest        a name that a backup has claimed (`Claim`); after
                                         a day, if not marked as ours, a `Leftover`

A mark (`marks.py`) that cannot be read, or is about another snapshot, says nothing,
and is a `Leftover` of its own.

What the store refuses about one object (it lies in an archive, a policy denies it) is
said of that object and hides no other.  A hold that may not be read is believed: it
keeps a snapshot, and to keep one too many does no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from litekeep.clock import Clock, now
from litekeep.codec.formats import is_of_nothing
from litekeep.errors import AccessDenied, BlobNotFound, CorruptionError, FormatError, StoreError
from litekeep.repository.layout import (
    ACCEPTED_SUFFIX,
    DELETED_SUFFIX,
    HOLD_SUFFIX,
    MANIFEST_SUFFIX,
    ObjectName,
    Repository,
    parse_object,
)
from litekeep.repository.manifest import ID_KEY, SIZE_MAX, Manifest, decode
from litekeep.repository.marks import (
    MARK_SIZE_MAX,
    Acceptance,
    Hold,
    Mark,
    Proof,
    Tombstone,
    decode_mark,
)
from litekeep.store.base import Blob

FOREIGN = "foreign"

#: How long a name of no bytes may be that of a backup at work.
_CLAIM_MAX = timedelta(days=1)

#: A compressed file that may hold nothing: headers, with a file's name in one of them.
_NOTHING_SIZE_MAX = 1024

#: Names bear the time of a zone, and who reads them may be in another, 26 hours from it.
_ZONES_DIFFER_MAX = timedelta(hours=27)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """
    A snapshot in one repository.

    `time` is the moment of the captured commit; of a foreign snapshot, which has
    no manifest, it is the time in its name.  `proof` is the newest.  `is_empty` says of
    a foreign one that it is a compressed file of nothing: what made it failed.
    """

    repository: Repository
    name: str
    object: str
    time: datetime
    stored_size: int
    manifest: Manifest | None
    proof: Proof | None = None
    hold: Hold | None = None
    is_accepted: bool = False
    is_empty: bool = False

    @property
    def state(self) -> str:
        """``"ok"``, ``"suspect"``, ``"failed"`` (a check or a drill) or ``"foreign"``."""
        if self.proof is not None and self.proof.result == "fail":
            return "failed"
        if self.manifest is None:
            return "suspect" if self.is_empty and not self.is_accepted else FOREIGN
        if self.manifest.state == "suspect" and self.is_accepted:
            return "ok"
        return self.manifest.state

    @property
    def id(self) -> str:
        """What marks call it by."""
        return self.manifest.id if self.manifest else self.name

    @property
    def identity(self) -> str:
        """The same for copies of one snapshot in several stores."""
        if self.manifest is None:
            return self.name
        # Of the same bytes too: a store cannot pass another database off as a copy.
        return f"{self.manifest.id} {self.manifest.database.sha256}"


@dataclass(frozen=True, slots=True)
class Deleted:
    """A snapshot that was pruned; `has_data` says whether it can be brought back."""

    repository: Repository
    name: str
    object: str
    tombstone: Tombstone
    has_data: bool
    companions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Leftover:
    """
    An object that is part of no whole snapshot, and what is wrong with it.

    `name` is that of the snapshot, and `time` the one in it.
    """

    repository: Repository
    object: str
    error: CorruptionError | StoreError

    @property
    def name(self) -> str:
        return _parsed(self.object, self.repository).name

    @property
    def time(self) -> datetime:
        return _parsed(self.object, self.repository).time


@dataclass(frozen=True, slots=True)
class Claim:
    """A name that a backup at work has claimed; `time` is the one in it."""

    object: str
    time: datetime


Item = Snapshot | Deleted | Leftover | Claim


@dataclass(frozen=True, slots=True)
class Contents:
    """
    All that lies in a repository; snapshots oldest first.

    `stream` is what lies below the database's name: the files of its stream.
    """

    snapshots: tuple[Snapshot, ...]
    leftovers: tuple[Leftover, ...]
    deleted: tuple[Deleted, ...] = ()
    claims: tuple[Claim, ...] = ()
    stream: tuple[Blob, ...] = ()


@dataclass(frozen=True, slots=True)
class _Candidate:
    """One snapshot's objects, its manifest and marks by the ends of their names, at a time."""

    repository: Repository
    object: str
    time: datetime
    data: Blob | None
    companions: Mapping[str, Blob]


#: Applies a function to each of several inputs, perhaps on several threads, in order.
Each = Callable[
    [Callable[[_Candidate], Sequence[Item]], Iterable[_Candidate]], Iterator[Sequence[Item]]
]


def read_contents(repository: Repository, each: Each = map, *, clock: Clock = now) -> Contents:
    """
    Read what a repository holds: one list request, then one small get for each object
    beside a snapshot.

    Args:
        repository: Of one database.

        each: How to make the small requests; threads save time on a distant store.

        clock: Tells how old a name of no bytes is.

    Raises:
        StoreError: The store did not answer, or nothing in it may be read.
    """
    blobs = tuple(repository.store.list())
    found = [i for items in each(_look_at, _candidates(repository, blobs, clock())) for i in items]
    snapshots = [item for item in found if isinstance(item, Snapshot)]
    leftovers = [item for item in found if isinstance(item, Leftover)]
    denied = (one.error for one in leftovers if isinstance(one.error, AccessDenied))
    if len(leftovers) == len(found) and (error := next(denied, None)) is not None:
        raise error  # about who asks, not about one object
    return Contents(
        tuple(sorted(snapshots, key=lambda item: (item.time, item.name))),
        tuple(leftovers),
        tuple(item for item in found if isinstance(item, Deleted)),
        tuple(item for item in found if isinstance(item, Claim)),
        tuple(blob for blob in blobs if blob.name.startswith(repository.stream_root)),
    )


def _parsed(data_object: str, repository: Repository) -> ObjectName:
    parsed = parse_object(data_object, repository.zone)
    assert parsed is not None, "other names were passed over"
    return parsed


def _candidates(repository: Repository, blobs: Iterable[Blob], time: datetime) -> list[_Candidate]:
    data: dict[str, Blob] = {}
    companions: dict[str, dict[str, Blob]] = {}
    for blob in blobs:
        parsed = parse_object(blob.name, repository.zone)
        if parsed is None or parsed.database != repository.database:
            continue
        if parsed.companion:
            beside = companions.setdefault(blob.name.removesuffix(parsed.companion), {})
            beside[parsed.companion] = blob
        else:
            data[blob.name] = blob
    return [
        _Candidate(repository, name, time, data.get(name), companions.get(name, {}))
        for name in sorted(data.keys() | companions.keys())
    ]


def _look_at(candidate: _Candidate) -> Sequence[Item]:
    repository = candidate.repository
    item: Item | None
    if MANIFEST_SUFFIX in candidate.companions:
        item = _look_at_manifest(candidate, candidate.companions[MANIFEST_SUFFIX])
    elif (tombstone := candidate.companions.get(DELETED_SUFFIX)) and tombstone.size:
        item = _look_at_tombstone(candidate, tombstone)  # not one emptied, as marks are
    elif candidate.data is None:
        return ()  # marks of what somebody deleted
    elif candidate.data.size == 0:
        item = _look_at_nothing(repository, candidate.data, candidate.time)
    else:
        item = _look_at_data(repository, candidate.data)
    if isinstance(item, Snapshot):
        return _with_marks(item, candidate.companions)
    return (item,) if item is not None else ()


def _refusal(error: CorruptionError | StoreError) -> CorruptionError | StoreError:
    """Return *error* if it is about one object; raise it if the store did not answer."""
    if error.retryable:
        raise error
    return error


def _look_at_nothing(repository: Repository, blob: Blob, time: datetime) -> Claim | Leftover | None:
    if time - blob.modified <= _CLAIM_MAX:
        return Claim(blob.name, _parsed(blob.name, repository).time)
    is_ours = _is_ours(repository, blob)
    if is_ours is False:
        hint = "What wrote it failed, or it was cut off: remove it if nothing brings it back."
        nothing = FormatError(f"{blob.name} holds no bytes", hint=hint)
        return Leftover(repository, blob.name, nothing)
    # Of a run that was killed, or emptied where none may delete.
    return is_ours if isinstance(is_ours, Leftover) else None


def _is_ours(repository: Repository, blob: Blob) -> bool | Leftover | None:
    """Say whether data is marked as ours; None where it was removed meanwhile."""
    try:
        return ID_KEY in repository.store.head(blob.name).metadata
    except BlobNotFound:
        return None
    except (CorruptionError, StoreError) as error:
        return Leftover(repository, blob.name, _refusal(error))


def _look_at_data(repository: Repository, blob: Blob) -> Snapshot | Leftover | None:
    is_ours = _is_ours(repository, blob)
    if not isinstance(is_ours, bool):
        return is_ours
    if is_ours:
        hint = "A backup was cut short, or it was lost; litekeep restore takes the file itself."
        lost = CorruptionError(f"{blob.name} has no manifest", hint=hint)
        return Leftover(repository, blob.name, lost)
    parsed = _parsed(blob.name, repository)
    found = Snapshot(repository, parsed.name, blob.name, parsed.time, blob.size, None)
    if blob.size > _NOTHING_SIZE_MAX:
        return found
    try:
        data = repository.store.read(blob.name, size_max=_NOTHING_SIZE_MAX)
    except BlobNotFound:
        return None
    except StoreError as error:
        return Leftover(repository, blob.name, _refusal(error))
    return replace(found, is_empty=is_of_nothing(data))


def _look_at_manifest(candidate: _Candidate, blob: Blob) -> Snapshot | Leftover | None:
    repository, name, manifest_name = candidate.repository, candidate.object, blob.name
    if blob.size > SIZE_MAX:
        large = FormatError(f"{manifest_name} is larger than any manifest")
        return Leftover(repository, manifest_name, large)
    try:
        manifest = decode(repository.store.read(manifest_name, size_max=SIZE_MAX))
    except BlobNotFound:
        return None  # removed meanwhile
    except (CorruptionError, StoreError) as error:
        return Leftover(repository, manifest_name, _refusal(error))
    parsed = _parsed(name, repository)
    if manifest.object != name or manifest.name != parsed.name:
        wrong = FormatError(f"{manifest_name} is the manifest of {manifest.object}")
        return Leftover(repository, manifest_name, wrong)
    if abs(manifest.captured_at - parsed.time) > _ZONES_DIFFER_MAX:
        wrong = FormatError(f"{manifest_name} is of another time: {manifest.captured_at}")
        return Leftover(repository, manifest_name, wrong)
    if candidate.data is None:
        missing = CorruptionError(f"{name} is missing, though its manifest is there")
        return Leftover(repository, name, missing)
    return Snapshot(
        repository, parsed.name, name, manifest.captured_at, candidate.data.size, manifest
    )


def _look_at_tombstone(candidate: _Candidate, blob: Blob) -> Deleted | Leftover | None:
    repository = candidate.repository
    parsed = _parsed(candidate.object, repository)
    try:
        tombstone = _read_mark(repository, blob, Tombstone)
    except BlobNotFound:
        return None  # removed meanwhile
    except (CorruptionError, StoreError) as error:
        return Leftover(repository, blob.name, _refusal(error))
    manifest = tombstone.manifest
    if manifest is not None and manifest.object != candidate.object:
        wrong = FormatError(f"{blob.name} is the tombstone of {manifest.object}")
        return Leftover(repository, blob.name, wrong)
    names = tuple(candidate.object + suffix for suffix in candidate.companions)
    return Deleted(
        repository, parsed.name, candidate.object, tombstone, candidate.data is not None, names
    )


def _with_marks(snapshot: Snapshot, companions: Mapping[str, Blob]) -> Sequence[Item]:
    """Return the snapshot with what its marks say, and each mark that cannot be believed."""
    repository = snapshot.repository
    wrong: list[Leftover] = []

    def read(suffix: str, kind: type[Mark]) -> Mark | None:
        blob = companions.get(suffix)
        if blob is None or blob.size == 0:
            return None  # emptied where deleting is not allowed
        try:
            mark = _read_mark(repository, blob, kind)
            if mark.id != snapshot.id:
                raise FormatError(f"{blob.name} is about another snapshot")
            if isinstance(mark, Proof) and not _is_of(mark, snapshot):
                raise FormatError(f"{blob.name} is a proof of other bytes")
        except BlobNotFound:
            return None
        except (CorruptionError, StoreError) as error:
            wrong.append(Leftover(repository, blob.name, _refusal(error)))
            if kind is Hold and isinstance(error, StoreError):
                return kind(id=snapshot.id, time=blob.modified, reason="the mark cannot be read")
            return None
        return mark

    proofs = sorted(suffix for suffix in companions if suffix.startswith(".proof-"))
    marked = replace(
        snapshot,
        proof=read(proofs[-1], Proof) if proofs else None,
        hold=read(HOLD_SUFFIX, Hold),
        is_accepted=read(ACCEPTED_SUFFIX, Acceptance) is not None,
    )
    return (marked, *wrong)


def _read_mark(repository: Repository, blob: Blob, kind: type[Mark]) -> Mark:
    if blob.size > MARK_SIZE_MAX:
        raise FormatError(f"{blob.name} is larger than any {kind.__name__.lower()}")
    try:
        return decode_mark(kind, repository.store.read(blob.name, size_max=MARK_SIZE_MAX))
    except FormatError as error:
        raise FormatError(f"{blob.name}: {error.message}") from error


def _is_of(proof: Proof, snapshot: Snapshot) -> bool:
    """Whether a proof that was passed is one of the bytes that the manifest names."""
    manifest = snapshot.manifest
    return proof.result != "pass" or manifest is None or proof.sha256 == manifest.database.sha256
