"""
The settings there are: each a field, with what its key may hold and what it is for.

    [top level]      Settings            timezone, state_dir
    [snapshot]       SnapshotSettings    how snapshots are made
    [[store]]        StoreSettings       where they go
    [[database]]     DatabaseSettings    what is kept

The fields are the only list of keys: the strict reader (`config/file.py`), `init`'s
comments and the documentation's table are all made from, or compared with, it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Kind = Literal[
    "text",
    "name",
    "number",
    "flag",
    "names",
    "prefix",
    "path",
    "place",
    "secret",
    "size",
    "duration",
    "timezone",
]

FORMATS = ("gzip", "zstd", "none")
LAYOUTS = ("dated", "flat")
ENCRYPTIONS = ("AES256", "aws:kms")
CHECKSUMS = ("sha256", "crc64nvme")


@dataclass(frozen=True, slots=True)
class Key:
    """
    What one key of the configuration may hold.

    `allowed` lists the only values of a text; `low` and `high` bound a number,
    both included.
    """

    kind: Kind
    meaning: str
    allowed: tuple[str, ...] = ()
    low: int | None = None
    high: int | None = None
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
) -> Any:
    return field(default=default, metadata={"key": Key(kind, meaning, allowed, low, high)})


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
        "duration", "How long to wait for a lock of the application; 10 s if not set."
    )


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
    endpoint: str | None = _key(
        "text", "URL of the server, if it is not AWS, Google or Azure itself."
    )
    region: str | None = _key("text", "Region of the bucket.")
    path_style: bool | None = _key(
        "flag", "Bucket in the path of a request, not in the host's name; true with an endpoint."
    )
    profile: str | None = _key(
        "text", "Profile of ~/.aws/config to take credentials from (needs litekeep[aws])."
    )
    access_key_id: SecretSource | None = _key("secret", "Access key, with its secret.")
    secret_access_key: SecretSource | None = _key("secret", "Secret of the access key.")
    session_token: SecretSource | None = _key("secret", "Token of temporary credentials.")
    encryption: str | None = _key(
        "text", "Encryption by the server: SSE-S3 or SSE-KMS.", allowed=ENCRYPTIONS
    )
    kms_key_id: str | None = _key(
        "text", 'Key for encryption = "aws:kms"; the bucket\'s if not set.'
    )
    storage_class: str | None = _key("text", "Storage class of what is stored, e.g. STANDARD_IA.")
    checksum: str | None = _key("text", "Checksum sent to S3 with each request.", allowed=CHECKSUMS)
    account: str | None = _key("text", "Azure: the storage account.")
    account_key: SecretSource | None = _key("secret", "Azure: key of the account.")
    sas_token: SecretSource | None = _key("secret", "Azure: token of a shared access signature.")
    credentials_file: Path | None = _key("path", "Google: JSON file of a service account.")
    anonymous: bool = _key("flag", "Send no credentials at all.", default=False)
    ca_file: Path | None = _key("path", "Certificates to trust beside the system's.")
    timeout: float | None = _key(
        "duration", "Longest silence of a server before a request is given up; 20 s."
    )
    request_timeout: float | None = _key("duration", "Longest duration of one request; 5 min.")
    retry: float | None = _key("duration", "How long to try again in all; 2 min; 0s: never.")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSettings(SnapshotSettings):
    """A database that is kept; `[[database]]`."""

    path: Path = _required("path", "The SQLite file.")
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
        "size", "Bound of the compressed file that waits for stores where none is local."
    )
    snapshot: SnapshotSettings = field(default_factory=SnapshotSettings)
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
