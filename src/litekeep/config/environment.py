"""
The environment that works without any file: the variables of the shell script that
many people run from cron today.

    S3_BUCKET             bucket to upload to; without it the backup stays local
    S3_PREFIX             folder in it                       sqlite-backup
    LOCAL_BACKUP_DIR      local folder, laid out flat        <database>-backups, dated
    RETAIN_LOCAL_DAYS     days that local snapshots stay     7, where LOCAL_BACKUP_DIR is set
    SQLITE_VOLUME_NAME    Docker volume of the database      manual_instance
    DB_FILE_NAME          file in the volume                 manual_generator.db

`S3_BUCKET` is a name that other programs use too.  So these variables count only
where no configuration file is in force and no store is named on the command line.
`AWS_*` variables are read by the stores themselves, always.
"""

from __future__ import annotations

import string
from collections.abc import Mapping

from litekeep.config.settings import KeepSettings, StoreSettings
from litekeep.errors import ConfigError

LOCAL = "local"
S3 = "s3"
PREFIX_DEFAULT = "sqlite-backup"
VOLUME_DEFAULT = "manual_instance"
FILE_DEFAULT = "manual_generator.db"
DAYS_DEFAULT = "7"
DAYS_MAX = 36_500
VARIABLES = frozenset(
    {
        *("S3_BUCKET", "S3_PREFIX", "LOCAL_BACKUP_DIR", "RETAIN_LOCAL_DAYS"),
        *("SQLITE_VOLUME_NAME", "DB_FILE_NAME"),
    }
)

_IN_BUCKETS = frozenset(string.ascii_letters + string.digits + ".-_")


def environment_stores(environ: Mapping[str, str]) -> tuple[StoreSettings, ...]:
    """
    Return the stores that the environment names, the local one first.

    >>> [(s.url, s.layout) for s in environment_stores({"S3_BUCKET": "b"})]
    [('s3://b/sqlite-backup', 'dated')]
    >>> [(s.url, s.layout) for s in environment_stores({"LOCAL_BACKUP_DIR": "/opt/b"})]
    [('/opt/b', 'flat')]

    Raises:
        ConfigError: `S3_BUCKET` holds more than a name.
    """
    stores = []
    if folder := environ.get("LOCAL_BACKUP_DIR"):
        stores.append(StoreSettings(name=LOCAL, url=folder, layout="flat"))
    if bucket := environ.get("S3_BUCKET"):
        if not set(bucket) <= _IN_BUCKETS:
            raise ConfigError(
                f"S3_BUCKET is {bucket!r}, which is no bucket's name",
                hint="Give the name alone, without s3://; the folder in it is S3_PREFIX.",
            )
        prefix = environ.get("S3_PREFIX", PREFIX_DEFAULT).strip("/")
        url = f"s3://{bucket}/{prefix}" if prefix else f"s3://{bucket}"
        stores.append(StoreSettings(name=S3, url=url))
    return tuple(stores)


def environment_keep(environ: Mapping[str, str]) -> KeepSettings | None:
    """
    Return how long local snapshots stay; None: for ever, for nobody asked for less.

    >>> environment_keep({"LOCAL_BACKUP_DIR": "/opt/b"}).within
    604800.0
    >>> environment_keep({"S3_BUCKET": "b"}) is None
    True

    Raises:
        ConfigError: `RETAIN_LOCAL_DAYS` is no number of days.
    """
    days = environ.get("RETAIN_LOCAL_DAYS")
    if not days:
        if not environ.get("LOCAL_BACKUP_DIR"):
            return None
        days = DAYS_DEFAULT
    if not (days.isascii() and days.isdecimal()) or not 0 < int(days) <= DAYS_MAX:
        raise ConfigError(
            f"RETAIN_LOCAL_DAYS is {days!r}, which is no number of days",
            hint=f"Write a whole number from 1 to {DAYS_MAX}.",
        )
    return KeepSettings(within=int(days) * 86400.0)


def environment_database(environ: Mapping[str, str]) -> str | None:
    """
    Return the database that is meant when none is named, in `docker:` spelling.

    >>> environment_database({"S3_BUCKET": "b"})
    'docker:manual_instance/manual_generator.db'
    """
    if not environ.get("S3_BUCKET") and not environ.get("DB_FILE_NAME"):
        return None
    volume = environ.get("SQLITE_VOLUME_NAME") or VOLUME_DEFAULT
    return f"docker:{volume}/{environ.get('DB_FILE_NAME') or FILE_DEFAULT}"
