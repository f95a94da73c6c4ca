"""
The settings there are: each a field, with what its key may hold and what it is for.

    [top level]      Settings            timezone, state_dir
    [snapshot]       SnapshotSettings    how snapshots are made
    [retention]      RetentionSettings   how long they stay
    [damage]         DamageSettings      what may be lost without an alarm
    [drill]          DrillSettings       what a trial restore must show
    [status]         StatusSettings      how old backups may be
    [notify] ...     NotifySettings      who is told of what: see notify.py
    [[drill.assert]] AssertSettings      the user's own questions
    [[store]]        StoreSettings       where they go
    [[database]]     DatabaseSettings    what is kept

The fields are the only list of keys: the strict reader (`config/file.py`), `init`'s
comments and the documentation's table are all made from, or compared with, it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from litekeep.config.keys import SecretSource, key_field, keys_of, required
from litekeep.config.notify import NotifySettings
from litekeep.config.stream import StreamSettings
from litekeep.dockername import Address

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


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotSettings:
    """How snapshots are made; `[snapshot]`, and the same keys in a `[[database]]`."""

    format: str | None = key_field(
        "text", "How snapshots are compressed; gzip if not set.", allowed=FORMATS
    )
    level: int | None = key_field(
        "number",
        "How hard: gzip 0 to 3, zstd 1 to 19; each format has a fast default.",
        low=0,
        high=19,
    )
    check: bool | None = key_field(
        "flag", "Run SQLite's quick_check on the copied bytes; true if not set."
    )
    busy_timeout: float | None = key_field(
        "duration",
        "How long to wait for a lock of the application; 10 s if not set.",
        high=_DAY,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepSettings:
    """Which snapshots stay; the keys of a `keep = { ... }`."""

    last: int | None = key_field("number", "The newest so many.", low=1, high=_COUNT_MAX)
    within: float | None = key_field(
        "duration", "All that are at most so much older than the newest.", high=100 * 366 * _DAY
    )
    hourly: int | None = key_field(
        "number", "The newest of each of so many hours.", low=1, high=_COUNT_MAX
    )
    daily: int | None = key_field(
        "number", "The newest of each of so many days.", low=1, high=_COUNT_MAX
    )
    weekly: int | None = key_field(
        "number", "The newest of each of so many weeks.", low=1, high=_COUNT_MAX
    )
    monthly: int | None = key_field(
        "number", "The newest of each of so many months.", low=1, high=_COUNT_MAX
    )
    yearly: int | None = key_field(
        "number", "The newest of each of so many years.", low=1, high=_COUNT_MAX
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionSettings:
    """How long snapshots stay; `[retention]`."""

    keep: KeepSettings | None = key_field(
        "keep", "Which snapshots prune leaves; all of them if not set."
    )
    minimum: int = key_field(
        "number", "Sound snapshots that stay in any case.", default=3, low=1, high=_COUNT_MAX
    )
    undelete_days: int = key_field(
        "number",
        "Days in which what was pruned can be brought back; 0: none.",
        default=7,
        low=0,
        high=3650,
    )
    after_backup: bool = key_field("flag", "Prune after each backup that succeeded.", default=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DamageSettings:
    """What may be lost between two snapshots without an alarm; `[damage]`."""

    alarm: bool = key_field(
        "flag", "Set a snapshot aside that has lost more than this.", default=True
    )
    rows_lost: float = key_field(
        "share", "Share of the rows of a table of 1,000 rows and more.", default=0.5
    )
    size_lost: float = key_field(
        "share", "Share of the size of a database above 1 MiB.", default=0.5
    )
    ignore: tuple[str, ...] = key_field(
        "names", "Tables that may lose everything: sessions, caches, queues.", default=()
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusSettings:
    """How old backups may be before that is an alarm; `[status]`."""

    snapshot_within: float = key_field(
        "duration", "Age of the newest good snapshot.", default=26 * 3600.0, high=3650 * _DAY
    )
    proof_within: float | None = key_field(
        "duration", "Age of the newest proof of a drill; any if not set.", high=3650 * _DAY
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AssertSettings:
    """A question that a drill asks of the restored database; `[[drill.assert]]`."""

    sql: str = required("text", "One SELECT; the first value of its first row counts.")
    expect: bool | int | float | str | None = key_field(
        "scalar", "What that value must be; any that is true if not set."
    )
    database: str | None = key_field("name", "Ask it of this database alone.")


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillSettings:
    """What a trial restore must show; `[drill]`."""

    foreign_keys: bool = key_field(
        "flag",
        "References to nothing fail the drill; false where the application lives with them.",
        default=True,
    )
    fresh_within: float | None = key_field(
        "duration", "Age that the newest restore point may have; any if not set."
    )
    assertions: tuple[AssertSettings, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """A place for backups; `[[store]]`."""

    name: str = required("name", "What `stores` and `--to` call this store.")
    url: str = required("place", "A folder, file:///..., s3://bucket/prefix, gs://... or az://...")
    layout: str = key_field(
        "text",
        "dated: YYYY/MM/ folders and latest; flat: neither.",
        default="dated",
        allowed=LAYOUTS,
    )
    keep: KeepSettings | None = key_field(
        "keep", "Which snapshots prune leaves here; as [retention] says if not set."
    )
    endpoint: str | None = key_field(
        "endpoint", "URL of the server, if it is not AWS, Google or Azure itself.", stores=DISTANT
    )
    region: str | None = key_field("text", "Region of the bucket.", stores=("s3",))
    path_style: bool | None = key_field(
        "flag",
        "Bucket in the path of a request, not in the host's name; true with an endpoint.",
        stores=("s3",),
    )
    profile: str | None = key_field(
        "text", "Profile of ~/.aws/config to take credentials from (needs boto3).", stores=("s3",)
    )
    access_key_id: SecretSource | None = key_field(
        "secret", "Access key, with its secret.", stores=("s3",)
    )
    secret_access_key: SecretSource | None = key_field(
        "secret", "Secret of the access key.", stores=("s3",)
    )
    session_token: SecretSource | None = key_field(
        "secret", "Token of temporary credentials.", stores=("s3",)
    )
    encryption: str | None = key_field(
        "text",
        "Encryption by the server, SSE-S3 or SSE-KMS; the bucket's own if not set.",
        allowed=ENCRYPTIONS,
        stores=("s3",),
    )
    kms_key_id: str | None = key_field(
        "text", 'Key for encryption = "aws:kms"; the bucket\'s if not set.', stores=("s3",)
    )
    storage_class: str | None = key_field(
        "text", "Storage class of what is stored, e.g. STANDARD_IA.", stores=("s3",)
    )
    checksum: str | None = key_field(
        "text",
        "Checksum sent to S3 with each request; none if not set.",
        allowed=CHECKSUMS,
        stores=("s3",),
    )
    account: str | None = key_field("text", "Azure: the storage account.", stores=("az",))
    account_key: SecretSource | None = key_field(
        "secret", "Azure: key of the account.", stores=("az",)
    )
    sas_token: SecretSource | None = key_field(
        "secret", "Azure: token of a shared access signature.", stores=("az",)
    )
    credentials_file: Path | None = key_field(
        "path", "Google: JSON file of a service account.", stores=("gs",)
    )
    anonymous: bool = key_field(
        "flag", "Send no credentials at all.", default=False, stores=DISTANT
    )
    ca_file: Path | None = key_field(
        "path", "Certificates to trust beside the system's.", stores=DISTANT
    )
    timeout: float | None = key_field(
        "duration",
        "Longest silence of a server before a request is given up; 20 s.",
        low=1,
        high=_DAY,
        stores=DISTANT,
    )
    request_timeout: float | None = key_field(
        "duration", "Longest duration of one request; 5 min.", low=1, high=_DAY, stores=DISTANT
    )
    retry: float | None = key_field(
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

    path: Address = required(
        "database",
        "The SQLite file, docker:VOLUME/FILE or docker:CONTAINER:/PATH.",
    )
    name: str = key_field("name", "What its snapshots are called; the file's name if not set.")
    stores: tuple[str, ...] | None = key_field(
        "names", "Names of the stores it goes to; all of them if not set."
    )
    prefix: str | None = key_field(
        "prefix",
        "Folder in its stores; its name where several databases share a store, else none.",
    )
    allow_unsafe_file_system: bool = key_field(
        "flag",
        "Read it although it lies where SQLite's locks may not work (NFS and the like).",
        default=False,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All that the configuration says; the top level."""

    timezone: str = key_field(
        "timezone", "Zone of the times in names and on the command line.", default="UTC"
    )
    state_dir: Path | None = key_field(
        "path", "Folder for local state: locks, and what a killed run had begun."
    )
    spool_size_max: int | None = key_field(
        "size",
        "Bound of the compressed file that waits for stores where none is local; "
        "no bound but the disk's if not set.",
    )
    snapshot: SnapshotSettings = field(default_factory=SnapshotSettings)
    retention: RetentionSettings = field(default_factory=RetentionSettings)
    damage: DamageSettings = field(default_factory=DamageSettings)
    drill: DrillSettings = field(default_factory=DrillSettings)
    status: StatusSettings = field(default_factory=StatusSettings)
    notify: NotifySettings = field(default_factory=NotifySettings)
    stream: StreamSettings = field(default_factory=StreamSettings)
    stores: tuple[StoreSettings, ...] = ()
    databases: tuple[DatabaseSettings, ...] = ()
    #: The file that said all this; None where no file is in force.
    file: Path | None = None


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
