"""
What a repository holds: its snapshots, as its store tells.

    data and manifest                    a snapshot
    data alone, not marked as ours       a snapshot by an older script: "foreign"
    data alone, marked as ours           not a snapshot: a run was killed, or its
                                         manifest was lost (`Leftover`)
    manifest alone, or unreadable        not a snapshot (`Leftover`)
    data of no bytes, no manifest        a name that a running backup has claimed
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from litekeep.errors import BlobNotFound, CorruptionError, FormatError
from litekeep.repository.layout import MANIFEST_SUFFIX, Repository, parse_object
from litekeep.repository.manifest import ID_KEY, SIZE_MAX, Manifest, decode
from litekeep.store.base import Blob

FOREIGN = "foreign"

#: Applies a function to each of several inputs, perhaps on several threads, in order.
Each = Callable[
    [Callable[["_Candidate"], "Snapshot | Leftover | None"], Iterable["_Candidate"]],
    Iterator["Snapshot | Leftover | None"],
]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """
    A snapshot in one repository.

    `time` is the moment of the captured commit; of a foreign snapshot, which has
    no manifest, it is the time in its name.
    """

    repository: Repository
    name: str
    object: str
    time: datetime
    stored_size: int
    manifest: Manifest | None

    @property
    def state(self) -> str:
        """``"ok"``, ``"suspect"``, ``"failed"`` or ``"foreign"``."""
        return self.manifest.state if self.manifest else FOREIGN

    @property
    def identity(self) -> str:
        """The same for copies of one snapshot in several stores."""
        if self.manifest is None:
            return self.name
        # Of the same bytes too: a store cannot pass another database off as a copy.
        return f"{self.manifest.id} {self.manifest.database.sha256}"


@dataclass(frozen=True, slots=True)
class Leftover:
    """An object that is part of no whole snapshot, and what is wrong with it."""

    repository: Repository
    object: str
    error: CorruptionError


@dataclass(frozen=True, slots=True)
class Contents:
    """All that lies in a repository; snapshots oldest first."""

    snapshots: tuple[Snapshot, ...]
    leftovers: tuple[Leftover, ...]


@dataclass(frozen=True, slots=True)
class _Candidate:
    repository: Repository
    object: str
    data: Blob | None
    manifest: Blob | None


def _one_after_the_other(
    work: Callable[[_Candidate], Snapshot | Leftover | None], inputs: Iterable[_Candidate]
) -> Iterator[Snapshot | Leftover | None]:
    return map(work, inputs)


def read_contents(repository: Repository, each: Each = _one_after_the_other) -> Contents:
    """
    Read what a repository holds: one list request, then one small get a snapshot.

    Args:
        repository: Of one database.

        each: How to make the small requests; threads save time on a distant store.
    """
    found = list(filter(None, each(_look_at, _candidates(repository))))
    snapshots = [item for item in found if isinstance(item, Snapshot)]
    leftovers = [item for item in found if isinstance(item, Leftover)]
    return Contents(
        tuple(sorted(snapshots, key=lambda item: (item.time, item.name))), tuple(leftovers)
    )


def database_names(repository: Repository) -> Sequence[str]:
    """Return the names of the databases that have objects in the repository's store."""
    parsed = (parse_object(blob.name, repository.zone) for blob in repository.store.list())
    return sorted({name.database for name in parsed if name})


def _candidates(repository: Repository) -> list[_Candidate]:
    data: dict[str, Blob] = {}
    manifests: dict[str, Blob] = {}
    for blob in repository.store.list():
        parsed = parse_object(blob.name, repository.zone)
        if parsed is None or parsed.database != repository.database:
            continue
        if parsed.is_manifest:
            manifests[blob.name.removesuffix(MANIFEST_SUFFIX)] = blob
        else:
            data[blob.name] = blob
    return [
        _Candidate(repository, name, data.get(name), manifests.get(name))
        for name in sorted(data.keys() | manifests.keys())
    ]


def _look_at(candidate: _Candidate) -> Snapshot | Leftover | None:
    if candidate.manifest is not None:
        return _look_at_manifest(candidate, candidate.manifest)
    assert candidate.data is not None
    repository, blob = candidate.repository, candidate.data
    if blob.size == 0:
        return None  # claimed by a backup at work
    try:
        is_ours = ID_KEY in repository.store.head(blob.name).metadata
    except BlobNotFound:
        return None  # removed meanwhile
    except CorruptionError as error:  # its metadata: no reason to hide all the others
        return Leftover(repository, blob.name, error)
    if is_ours:
        return Leftover(
            repository,
            blob.name,
            CorruptionError(
                f"{blob.name} has no manifest",
                hint="A backup was cut short, or its manifest was lost.",
            ),
        )
    parsed = parse_object(blob.name, repository.zone)
    assert parsed is not None
    return Snapshot(repository, parsed.name, blob.name, parsed.time, blob.size, None)


def _look_at_manifest(candidate: _Candidate, blob: Blob) -> Snapshot | Leftover | None:
    repository, name, manifest_name = candidate.repository, candidate.object, blob.name
    if blob.size > SIZE_MAX:
        large = FormatError(f"{manifest_name} is larger than any manifest")
        return Leftover(repository, manifest_name, large)
    try:
        manifest = decode(repository.store.read(manifest_name, size_max=SIZE_MAX))
    except BlobNotFound:
        return None  # removed meanwhile
    except FormatError as error:
        return Leftover(repository, manifest_name, error)
    parsed = parse_object(name, repository.zone)
    assert parsed is not None
    if manifest.object != name or manifest.name != parsed.name:
        wrong = FormatError(f"{manifest_name} is the manifest of {manifest.object}")
        return Leftover(repository, manifest_name, wrong)
    if candidate.data is None:
        missing = CorruptionError(f"{name} is missing, though its manifest is there")
        return Leftover(repository, name, missing)
    return Snapshot(
        repository, parsed.name, name, manifest.captured_at, candidate.data.size, manifest
    )
