"""
Litestream's configuration, 0.3 or 0.5, as ours.

    dbs[].path                          [[database]] path
    dbs[].replica, dbs[].replicas[]     [[store]], one each, with how to reach it
    retention                           keep = { within = "..." } of the store
    sync-interval                       [stream] sync_interval, the shortest of them
    ${NAME} in a secret                 { env = "NAME" }
    ${NAME} elsewhere                   what it holds now
    a secret in plain text              { env = "..." }, and a note to set that variable

Every other key becomes a note that says why it has no counterpart, or what is in its place.  A
secret in plain text is neither copied nor shown.

The new stores lie where Litestream's did.  Nothing is mixed: what Litekeep writes there bears
dates, or lies below the database's name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from litekeep.config.litestream_bucket import bucket_of
from litekeep.config.litestream_keys import DATABASE_KEYS, GLOBAL_KEYS, REPLICA_KEYS, SECRETS
from litekeep.config.template import toml_text
from litekeep.config.values import fresh_name, is_name
from litekeep.errors import ConfigError

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
#: What sync_interval allows.
_SYNC_MIN, _SYNC_MAX = 0.05, 3600.0
_NO_STORE = "Litekeep has no such store: copy to a folder or a bucket instead."


@dataclass(frozen=True, slots=True)
class Note:
    """A key without counterpart, where it stands, and one line about it."""

    key: str
    text: str


@dataclass(frozen=True, slots=True)
class Imported:
    """Our configuration's text, and what it does not carry over."""

    text: str
    database_count: int
    notes: tuple[Note, ...]


def import_litestream(document: object, environ: Mapping[str, str]) -> Imported:
    """
    Return our configuration for Litestream's.

    Args:
        document: What its YAML holds.

        environ: What variables outside of secrets stand for.

    Raises:
        ConfigError: It is none of Litestream's, lists no database, or a variable is not set.
    """
    return _Importer(environ).run(document)


class _Importer:
    """What was written and noted so far."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._notes: list[Note] = []
        self._sections: list[str] = []
        self._databases: list[str] = []
        self._stores: list[str] = []
        self._sync_intervals: list[float] = []

    def run(self, document: object) -> Imported:
        whole = _mapping(document, "the file")
        for key in whole:
            if key in GLOBAL_KEYS:
                self._note(key, GLOBAL_KEYS[key])
            elif key not in (
                "dbs",
                "snapshot",
                "sync-interval",
                *REPLICA_KEYS,
                *SECRETS,
                *_REACHING,
            ):
                self._note(key, "not a key of Litestream that is known here.")
        defaults = {key: value for key, value in whole.items() if key in {*_REACHING, *SECRETS}}
        self._note_known(whole, "", REPLICA_KEYS)
        self._sync_interval(whole, "")
        retention = self._snapshot(whole.get("snapshot"), "snapshot")
        for number, found in enumerate(_sequence(whole.get("dbs"), "dbs")):
            self._database(_mapping(found, f"dbs[{number}]"), number, defaults, retention)
        if not self._databases:
            raise ConfigError(
                "it lists no database with a path",
                hint="litekeep init FOLDER looks for databases, and writes a configuration.",
            )
        head = (
            "# Made from Litestream's configuration.  Relative paths start from the folder of this "
            "file.\n# Try it with: litekeep backup --dry-run\n"
        )
        if self._sync_intervals:
            shortest = min(self._sync_intervals)
            self._sections.insert(0, f"[stream]\nsync_interval = {toml_text(_shown(shortest))}\n")
        text = "\n".join([head, *self._sections])
        return Imported(text, len(self._databases), tuple(self._notes))

    def _database(
        self,
        found: Mapping[str, Any],
        number: int,
        defaults: Mapping[str, Any],
        retention: str | None,
    ) -> None:
        where = f"dbs[{number}]"
        self._note_known(found, f"{where}.", DATABASE_KEYS)
        if not isinstance(found.get("path"), str):
            return
        path = self._text(found["path"], f"{where}.path").removeprefix("sqlite3://")
        path = path.removeprefix("sqlite://").removeprefix("file://")
        stem = PurePosixPath(path).stem
        name = fresh_name(stem if is_name(stem) else "database", self._databases)
        self._databases.append(name)
        retention = self._snapshot(found.get("snapshot"), f"{where}.snapshot") or retention
        replicas = [
            (f"{where}.replicas[{at}]", item)
            for at, item in enumerate(_sequence(found.get("replicas"), f"{where}.replicas"))
        ]
        if found.get("replica") is not None:
            replicas.append((f"{where}.replica", found["replica"]))
        stores = []
        for place, replica in replicas:
            store = self._store(_replica(replica, place), place, name, defaults, retention)
            stores += [store] if store is not None else []
        lines = [f"path = {toml_text(path)}", f"name = {toml_text(name)}"]
        if stores:
            lines.append(f"stores = [{', '.join(map(toml_text, stores))}]")
        else:
            self._note(where, "no store is left: its backups go to a folder beside it.")
        self._sections.append("[[database]]\n" + "\n".join(lines) + "\n")

    def _store(
        self,
        own: Mapping[str, Any],
        where: str,
        database: str,
        defaults: Mapping[str, Any],
        retention: str | None,
    ) -> str | None:
        """Write a replica's store; return its name, or None where we have none of its kind."""
        self._note_known(own, f"{where}.", REPLICA_KEYS)
        self._sync_interval(own, f"{where}.")
        values = {**defaults, **own}
        reached = self._reached(values, where)
        if reached is None:
            return None
        wanted = own.get("name")
        scheme, mark, _ = str(reached["url"]).partition("://")
        kind = scheme if mark else "local"
        name = wanted if isinstance(wanted, str) and is_name(wanted) else f"{database}-{kind}"
        name = fresh_name(name, self._stores)
        self._stores.append(name)
        lines = [f"name = {toml_text(name)}"]
        for key, value in reached.items():
            lines.append(f"{key} = {_toml(value)}")
        if kind == "s3":
            lines += self._secrets(values, where)
        elif kind == "az" and values.get("account-key") is not None:
            lines.append(self._secret("account-key", values, where))
        if own.get("retention") is not None:
            retention = self._duration(own["retention"], f"{where}.retention")
        if retention is not None:
            lines.append(f"keep = {{ within = {toml_text(retention)} }}")
        self._sections.append("[[store]]\n" + "\n".join(lines) + "\n")
        return name

    def _reached(self, values: Mapping[str, Any], where: str) -> dict[str, str | bool] | None:
        """Return the URL of a replica's store and how to reach it, by our keys."""
        text = {
            key: self._text(str(value), f"{where}.{key}")
            for key, value in values.items()
            if key in _REACHING and not isinstance(value, bool) and value is not None
        }
        url = text.get("url", "")
        parts = urlsplit(url)
        kind = parts.scheme if "://" in url else text.get("type", "file")
        path = text.get("path", parts.path if "://" in url else url)
        if kind == "file":
            return {"url": path}
        bucket = text.get("bucket", parts.netloc)
        inside = path.strip("/")
        place = f"{bucket}/{quote(inside)}" if inside else bucket
        if kind == "gs":
            return {"url": f"gs://{place}"}
        if kind == "abs":
            account, _, container = bucket.rpartition("@")
            reached: dict[str, str | bool] = {
                "url": f"az://{container}/{quote(inside)}".rstrip("/")
            }
            if account := text.get("account-name", account):
                reached["account"] = account
            return reached
        if kind != "s3":
            self._note(f"{where}.type", f"{kind}: {_NO_STORE}")
            return None
        return bucket_of(values, text, bucket, inside, dict(parse_qsl(parts.query)))

    def _secrets(self, values: Mapping[str, Any], where: str) -> list[str]:
        keys = ("access-key-id", "secret-access-key", "session-token")
        return [self._secret(key, values, where) for key in keys if values.get(key) is not None]

    def _secret(self, key: str, values: Mapping[str, Any], where: str) -> str:
        ours = key.replace("-", "_")
        match = _VARIABLE.fullmatch(str(values[key]).strip())
        if match is not None:
            variable = match[1] or match[2]
        else:
            variable = SECRETS[key]
            self._note(
                f"{where}.{key}",
                f"it stands there in plain text, and is not copied: set {variable} in the "
                "environment, or write { file = ... } in its place.",
            )
        return f"{ours} = {{ env = {toml_text(variable)} }}"

    def _snapshot(self, found: object, where: str) -> str | None:
        """Return how long snapshots stay, as 0.5 says it."""
        if found is None:
            return None
        values = _mapping(found, where)
        if "interval" in values:
            self._note(f"{where}.interval", REPLICA_KEYS["snapshot-interval"])
        if values.get("retention") is None:
            return None
        return self._duration(values["retention"], f"{where}.retention")

    def _sync_interval(self, found: Mapping[str, Any], before: str) -> None:
        if found.get("sync-interval") is None:
            return
        where = f"{before}sync-interval"
        seconds = self._seconds(found["sync-interval"], where)
        if seconds is None:
            return
        self._sync_intervals.append(min(max(seconds, _SYNC_MIN), _SYNC_MAX))
        if self._sync_intervals[-1] != seconds:
            self._note(where, "sync_interval lies between 50ms and 1h.")

    def _duration(self, found: object, where: str) -> str | None:
        seconds = self._seconds(found, where)
        return None if seconds is None else _shown(seconds)

    def _seconds(self, found: object, where: str) -> float | None:
        text = self._text(str(found), where)
        if not re.fullmatch(rf"(?:{_DURATION.pattern})+", text):
            self._note(where, f"{text!r} is no duration, and is left out.")
            return None
        return sum(float(number) * _SECONDS[unit] for number, unit in _DURATION.findall(text))

    def _text(self, text: str, where: str) -> str:
        """Return *text* with its variables as they are now."""

        def value(match: re.Match[str]) -> str:
            name = match[1] or match[2]
            if name not in self._environ:
                raise ConfigError(
                    f"{where}: the environment variable {name} is not set",
                    hint="Set it for this command: outside of secrets our configuration holds "
                    "values, and no variables.",
                )
            return self._environ[name]

        expanded = _VARIABLE.sub(value, text)
        if expanded != text:
            self._note(where, f"the variables in {text} are written down as they are now.")
        return expanded

    def _note_known(self, found: Mapping[str, Any], before: str, known: Mapping[str, str]) -> None:
        for key in found:
            if key in known:
                self._note(f"{before}{key}", known[key])
            elif before and key not in _OURS:
                self._note(f"{before}{key}", "not a key of Litestream that is known here.")

    def _note(self, key: str, text: str) -> None:
        note = Note(key, text)
        if note not in self._notes:
            self._notes.append(note)


#: Keys that say where a replica lies and how it is reached.
_REACHING = (
    *("url", "type", "path", "bucket", "endpoint", "region", "force-path-style"),
    *("account-name", "sse-kms-key-id", "storage-class"),
)
_OURS = {
    *_REACHING,
    *SECRETS,
    "name",
    "retention",
    "sync-interval",
    "replica",
    "replicas",
    "snapshot",
}


def _replica(found: object, where: str) -> Mapping[str, Any]:
    return {"url": found} if isinstance(found, str) else _mapping(found, where)


def _mapping(found: object, where: str) -> Mapping[str, Any]:
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise ConfigError(
            f"{where} is not what Litestream's configuration has there: a mapping",
            hint="Check the path, and the file with litestream databases.",
        )
    return found


def _sequence(found: object, where: str) -> Iterator[object]:
    if found is not None and not isinstance(found, list):
        raise ConfigError(
            f"{where} is not what Litestream's configuration has there: a list",
            hint="Check the path, and the file with litestream databases.",
        )
    return iter(found or ())


def _toml(value: str | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else toml_text(value)


def _shown(seconds: float) -> str:
    """
    Return a duration as our configuration has it.

    >>> _shown(259200), _shown(5400), _shown(1.5), _shown(0.05)
    ('3d', '90m', '1500ms', '50ms')
    """
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        if seconds and seconds % size == 0:
            return f"{int(seconds // size)}{unit}"
    return f"{round(seconds * 1000)}ms"
