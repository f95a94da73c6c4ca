"""
The settings there are: each a field, with what its key may hold and what it is for.

    [top level]      Settings            timezone, state_dir
    [snapshot]       SnapshotSettings    how snapshots are made
    [retention]      RetentionSettings   how long they stay
    [damage]         DamageSettings      what may be lost without an alarm
    [drill]          DrillSettings       what a trial restore must show
    [status]         StatusSettings      how old backups may be
    [[drill.assert]] AssertSettings      the user's own questions
    [[store]]        StoreSettings       where they go
    [[database]]     DatabaseSettings    what is kept

The fields are the only list of keys: the strict reader (`config/file.py`), `init`'s
comments and the documentation's table are all made from, or compared with, it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from litekeep.dockername import Address

Kind = Literal[
    "text",
    "endpoint",
    "name",
    "number",
    "flag",
    "names",
    "prefix",
    "path",
    "database",
    "place",
    "secret",
    "size",
    "duration",
    "timezone",
    "scalar",
    "share",
    "keep",
]

FORMAT_DEFAULT = "gzip"
FORMATS = ("gzip", "zstd", "none")
LAYOUTS = ("dated", "flat")
ENCRYPTIONS = ("AES256", "aws:kms")
CHECKSUMS = ("sha256", "crc64nvme")
#: Kinds of stores that are reached over a network.
DISTANT = ("s3", "gs", "az")
#: Lowest and highest level of each format.
LEVELS = {"gzip": (0, 3), "zstd": (1, 19), "none": (0, 0)}

_DAY = 86400
_COUNT_MAX = 100_000


@dataclass(frozen=True, slots=True)
class Key:
    """
    What one key of the configuration may hold.

    `allowed` lists the only values of a text; `low` and `high` bound a number or the
    seconds of a duration, both included; `stores` are the kinds of stores that it means
    something for, where it is not for all.
    """

    kind: Kind
    meaning: str
    allowed: tuple[str, ...] = ()
    low: int | None = None
    high: int | None = None
    stores: tuple[str, ...] = ()
    is_required: bool = False


@dataclass(frozen=True, slots=True)
class SecretSource:
    """Where a secret value comes from: ``"text"``, ``"env"``, ``"file"`` or ``"ssm"``."""

    kind: Literal["text", "env", "file", "ssm"]
    value: str = field(repr=False)


def _key(
    kind: Kind,
    meaning: str,
    *,
    default: Any = None,
    allowed: tuple[str, ...] = (),
    low: int | None = None,
    high: int | None = None,
    stores: tuple[str, ...] = (),
) -> Any:
    return field(default=default, metadata={"key": Key(kind, meaning, allowed, low, high, stores)})


def _required(kind: Kind, meaning: str) -> Any:
    return field(metadata={"key": Key(kind, meaning, is_required=True)})


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotSettings:
    """How snapshots are made; `[snapshot]`, and the same keys in a `[[database]]`."""

    format: str | None = _key(
        "text", "How snapshots are compressed; gzip if not set.", allowed=FORMATS
    )
    level: int | None = _key(
        "number",
        "How hard: gzip 0 to 3, zstd 1 to 19; each format has a fast default.",
        low=0,
        high=19,
    )
    check: bool | None = _key(
        "flag", "Run SQLite's quick_check on the copied bytes; true if not set."
    )
    busy_timeout: float | None = _key(
        "duration",
        "How long to wait for a lock of the application; 10 s if not set.",
        high=_DAY,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepSettings:
    """Which snapshots stay; the keys of a `keep = { ... }`."""

    last: int | None = _key("number", "The newest so many.", low=1, high=_COUNT_MAX)
    within: float | None = _key(
        "duration", "All that are at most so much older than the newest.", high=100 * 366 * _DAY
    )
    hourly: int | None = _key(
        "number", "The newest of each of so many hours.", low=1, high=_COUNT_MAX
    )
    daily: int | None = _key(
        "number", "The newest of each of so many days.", low=1, high=_COUNT_MAX
    )
    weekly: int | None = _key(
        "number", "The newest of each of so many weeks.", low=1, high=_COUNT_MAX
    )
    monthly: int | None = _key(
        "number", "The newest of each of so many months.", low=1, high=_COUNT_MAX
    )
    yearly: int | None = _key(
        "number", "The newest of each of so many years.", low=1, high=_COUNT_MAX
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionSettings:
    """How long snapshots stay; `[retention]`."""

    keep: KeepSettings | None = _key(
        "keep", "Which snapshots prune leaves; all of them if not set."
    )
    minimum: int = _key(
        "number", "Sound snapshots that stay in any case.", default=3, low=1, high=_COUNT_MAX
    )
    undelete_days: int = _key(
        "number",
        "Days in which what was pruned can be brought back; 0: none.",
        default=7,
        low=0,
        high=3650,
    )
    after_backup: bool = _key("flag", "Prune after each backup that succeeded.", default=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DamageSettings:
    """What may be lost between two snapshots without an alarm; `[damage]`."""

    alarm: bool = _key("flag", "Set a snapshot aside that has lost more than this.", default=True)
    rows_lost: float = _key(
        "share", "Share of the rows of a table of 1,000 rows and more.", default=0.5
    )
    size_lost: float = _key("share", "Share of the size of a database above 1 MiB.", default=0.5)
    ignore: tuple[str, ...] = _key(
        "names", "Tables that may lose everything: sessions, caches, queues.", default=()
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusSettings:
    """How old backups may be before that is an alarm; `[status]`."""

    snapshot_within: float = _key(
        "duration", "Age of the newest good snapshot.", default=26 * 3600.0, high=3650 * _DAY
    )
    proof_within: float | None = _key(
        "duration", "Age of the newest proof of a drill; any if not set.", high=3650 * _DAY
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AssertSettings:
    """A question that a drill asks of the restored database; `[[drill.assert]]`."""

    sql: str = _required("text", "One SELECT; the first value of its first row counts.")
    expect: bool | int | float | str | None = _key(
        "scalar", "What that value must be; any that is true if not set."
    )
    database: str | None = _key("name", "Ask it of this database alone.")


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillSettings:
    """What a trial restore must show; `[drill]`."""

    foreign_keys: bool = _key(
        "flag",
        "References to nothing fail the drill; false where the application lives with them.",
        default=True,
    )
    fresh_within: float | None = _key(
        "duration", "Age that the newest restore point may have; any if not set."
    )
    assertions: tuple[AssertSettings, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """A place for backups; `[[store]]`."""

    name: str = _required("name", "What `stores` and `--to` call this store.")
    url: str = _required("place", "A folder, file:///..., s3://bucket/prefix, gs://... or az://...")
    layout: str = _key(
        "text",
        "dated: YYYY/MM/ folders and latest; flat: neither.",
        default="dated",
        allowed=LAYOUTS,
    )
    keep: KeepSettings | None = _key(
        "keep", "Which snapshots prune leaves here; as [retention] says if not set."
    )
    endpoint: str | None = _key(
        "endpoint", "URL of the server, if it is not AWS, Google or Azure itself.", stores=DISTANT
    )
    region: str | None = _key("text", "Region of the bucket.", stores=("s3",))
    path_style: bool | None = _key(
        "flag",
        "Bucket in the path of a request, not in the host's name; true with an endpoint.",
        stores=("s3",),
    )
    profile: str | None = _key(
        "text", "Profile of ~/.aws/config to take credentials from (needs boto3).", stores=("s3",)
    )
    access_key_id: SecretSource | None = _key(
        "secret", "Access key, with its secret.", stores=("s3",)
    )
    secret_access_key: SecretSource | None = _key(
        "secret", "Secret of the access key.", stores=("s3",)
    )
    session_token: SecretSource | None = _key(
        "secret", "Token of temporary credentials.", stores=("s3",)
    )
    encryption: str | None = _key(
        "text",
        "Encryption by the server, SSE-S3 or SSE-KMS; the bucket's own if not set.",
        allowed=ENCRYPTIONS,
        stores=("s3",),
    )
    kms_key_id: str | None = _key(
        "text", 'Key for encryption = "aws:kms"; the bucket\'s if not set.', stores=("s3",)
    )
    storage_class: str | None = _key(
        "text", "Storage class of what is stored, e.g. STANDARD_IA.", stores=("s3",)
    )
    checksum: str | None = _key(
        "text",
        "Checksum sent to S3 with each request; none if not set.",
        allowed=CHECKSUMS,
        stores=("s3",),
    )
    account: str | None = _key("text", "Azure: the storage account.", stores=("az",))
    account_key: SecretSource | None = _key("secret", "Azure: key of the account.", stores=("az",))
    sas_token: SecretSource | None = _key(
        "secret", "Azure: token of a shared access signature.", stores=("az",)
    )
    credentials_file: Path | None = _key(
        "path", "Google: JSON file of a service account.", stores=("gs",)
    )
    anonymous: bool = _key("flag", "Send no credentials at all.", default=False, stores=DISTANT)
    ca_file: Path | None = _key(
        "path", "Certificates to trust beside the system's.", stores=DISTANT
    )
    timeout: float | None = _key(
        "duration",
        "Longest silence of a server before a request is given up; 20 s.",
        low=1,
        high=_DAY,
        stores=DISTANT,
    )
    request_timeout: float | None = _key(
        "duration", "Longest duration of one request; 5 min.", low=1, high=_DAY, stores=DISTANT
    )
    retry: float | None = _key(
        "duration",
        "How long to try again in all; 2 min; 0s: never.",
        high=7 * _DAY,
        stores=DISTANT,
    )
    #: Where in which file it stands, for errors; empty where no file says it.
    where: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSettings(SnapshotSettings):
    """A database that is kept; `[[database]]`."""

    path: Address = _required(
        "database",
        "The SQLite file, docker:VOLUME/FILE or docker:CONTAINER:/PATH.",
    )
    name: str = _key("name", "What its snapshots are called; the file's name if not set.")
    stores: tuple[str, ...] | None = _key(
        "names", "Names of the stores it goes to; all of them if not set."
    )
    prefix: str | None = _key(
        "prefix",
        "Folder in its stores; its name where several databases share a store, else none.",
    )
    allow_unsafe_file_system: bool = _key(
        "flag",
        "Read it although it lies where SQLite's locks may not work (NFS and the like).",
        default=False,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All that the configuration says; the top level."""

    timezone: str = _key(
        "timezone", "Zone of the times in names and on the command line.", default="UTC"
    )
    state_dir: Path | None = _key(
        "path", "Folder for local state: locks, and what a killed run had begun."
    )
    spool_size_max: int | None = _key(
        "size",
        "Bound of the compressed file that waits for stores where none is local; "
        "no bound but the disk's if not set.",
    )
    snapshot: SnapshotSettings = field(default_factory=SnapshotSettings)
    retention: RetentionSettings = field(default_factory=RetentionSettings)
    damage: DamageSettings = field(default_factory=DamageSettings)
    drill: DrillSettings = field(default_factory=DrillSettings)
    status: StatusSettings = field(default_factory=StatusSettings)
    stores: tuple[StoreSettings, ...] = ()
    databases: tuple[DatabaseSettings, ...] = ()
    #: The file that said all this; None where no file is in force.
    file: Path | None = None


def keys_of(section: type[Any]) -> Iterator[tuple[str, Key]]:
    """
    Yield the keys of a section by name.

    >>> [name for name, key in keys_of(SnapshotSettings)]
    ['format', 'level', 'check', 'busy_timeout']
    """
    for item in dataclasses.fields(section):
        if "key" in item.metadata:
            yield item.name, item.metadata["key"]


def merged(levels: Sequence[SnapshotSettings | None]) -> SnapshotSettings:
    """Return each setting as the first level that has it says."""
    values = {
        name: next(
            (getattr(level, name) for level in levels if getattr(level, name, None) is not None),
            None,
        )
        for name, _ in keys_of(SnapshotSettings)
    }
    return SnapshotSettings(**values)
