"""
The configuration file: found, read, and held to its keys.

Nothing in it is passed over.  Each thing that is wrong is an error that says where
(file, line, key), what was found and what is allowed.

    first found    --config FILE, $LITEKEEP_CONFIG, ./litekeep.toml,
                   ~/.config/litekeep/litekeep.toml, /etc/litekeep.toml

Relative paths in the file start from its own folder, whoever runs the command and
from wherever.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from litekeep.config.places import is_url, places_of_listed
from litekeep.config.settings import (
    DatabaseSettings,
    Key,
    SecretSource,
    Settings,
    SnapshotSettings,
    StoreSettings,
    keys_of,
)
from litekeep.errors import ConfigError, UserError
from litekeep.units import parse_duration, parse_size

SIZE_MAX = 1 << 20
NAME_SIZE_MAX = 100

_TABLES = {"snapshot": SnapshotSettings, "store": StoreSettings, "database": DatabaseSettings}
_SECRET_KINDS = ("env", "file", "ssm")

Section = TypeVar("Section")


def find_file(given: Path | None, environ: Mapping[str, str], folder: Path) -> Path | None:
    """
    Return the configuration file in force, or None.

    Args:
        given: Of `--config`.

        environ: The environment.

        folder: The current one.

    Raises:
        ConfigError: The file named by `--config` or `$LITEKEEP_CONFIG` is not there.
    """
    named = [(given, "--config")]
    if variable := environ.get("LITEKEEP_CONFIG"):
        named.append((Path(variable), "$LITEKEEP_CONFIG"))
    for path, source in named:
        if path is not None:
            if not path.is_file():
                raise ConfigError(
                    f"there is no configuration file {path}, which {source} names",
                    hint="Correct the path, or write one with litekeep init.",
                )
            return folder / path
    places = [folder / "litekeep.toml"]
    if home := environ.get("HOME"):
        places.append(Path(home, ".config/litekeep/litekeep.toml"))
    places.append(Path("/etc/litekeep.toml"))
    # Unlike Path.is_file, this takes a folder that may not be entered for an empty one.
    return next((path for path in places if os.path.isfile(path)), None)


def read_file(path: Path, environ: Mapping[str, str]) -> Settings:
    """
    Return what the file says.

    Args:
        path: The file.

        environ: Where ``~`` finds the home folder.

    Raises:
        ConfigError: The file cannot be read, or something in it is wrong.
    """
    try:
        with path.open("rb") as file:
            data = file.read(SIZE_MAX + 1)
        text = data.decode()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text", hint="Save it as UTF-8.") from error
    if len(data) > SIZE_MAX:
        raise ConfigError(f"{path} is larger than {SIZE_MAX} bytes")
    return read_text(text, path, environ)


def read_text(text: str, path: Path, environ: Mapping[str, str]) -> Settings:
    """
    Return what *text*, the contents of the file at *path*, says.

    Raises:
        ConfigError: Something in it is wrong.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"{path} is not TOML: {error}", hint="See https://toml.io for the format."
        ) from error
    return _Reader(path, text, environ).settings(tables)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in the file a table stands: ``[[store]]`` number 2, for instance."""

    table: str = ""
    number: int | None = None

    def key(self, name: str) -> str:
        if not self.table:
            return name
        number = f"[{self.number}]" if self.number is not None else ""
        return f"{self.table}{number}.{name}"


class _Reader:
    """Turns the tables of one file into settings."""

    def __init__(self, path: Path, text: str, environ: Mapping[str, str]) -> None:
        self._path = path
        self._lines = text.splitlines()
        self._home = environ.get("HOME")

    def settings(self, tables: dict[str, Any]) -> Settings:
        top = _Place()
        known = [name for name, _ in keys_of(Settings)]
        self._refuse_unknown(tables, [*known, *_TABLES], top)
        values = self._values(Settings, tables, top)
        snapshot = self._one(tables.get("snapshot", {}), "snapshot", SnapshotSettings)
        stores = self._many(tables.get("store", []), "store", StoreSettings)
        databases = self._many(tables.get("database", []), "database", DatabaseSettings)
        self._refuse_twins("store", [item.name for item in stores])
        databases = tuple(self._with_name(item, n) for n, item in enumerate(databases, 1))
        self._refuse_twins("database", [item.name for item in databases])
        for number, database in enumerate(databases, 1):
            self._refuse_unknown_stores(database, stores, _Place("database", number))
        settings = Settings(
            **values, snapshot=snapshot, stores=stores, databases=databases, file=self._path
        )
        self._refuse_shared_places(settings)
        return settings

    def _one(self, table: Any, name: str, section: type[Section]) -> Section:
        place = _Place(name)
        if not isinstance(table, dict):
            raise self._error(_Place(), name, table, f"a table, [{name}]")
        self._refuse_unknown(table, [key for key, _ in keys_of(section)], place)
        return section(**self._values(section, table, place))

    def _many(self, tables: Any, name: str, section: type[Section]) -> tuple[Section, ...]:
        if not isinstance(tables, list) or not all(isinstance(item, dict) for item in tables):
            raise self._error(_Place(), name, tables, f"a list of tables, each a [[{name}]]")
        made = []
        for number, table in enumerate(tables, 1):
            place = _Place(name, number)
            self._refuse_unknown(table, [key for key, _ in keys_of(section)], place)
            made.append(section(**self._values(section, table, place)))
        return tuple(made)

    def _refuse_unknown(self, table: dict[str, Any], known: Iterable[str], place: _Place) -> None:
        known = sorted(known)
        for name in table:
            if name in known:
                continue
            near = difflib.get_close_matches(name, known, 1, 0.5)
            meant = f"Did you mean {near[0]}? " if near else ""
            raise ConfigError(
                f"{self._where(place, name)}: unknown key {place.key(name)}",
                hint=f"{meant}Known here: {', '.join(known)}.",
            )

    def _refuse_twins(self, table: str, names: list[str]) -> None:
        for number, name in enumerate(names, 1):
            if name in names[: number - 1]:
                place = _Place(table, number)
                raise ConfigError(
                    f"{self._where(place, 'name')}: two of [[{table}]] are called {name!r}",
                    hint=f"Give {place.key('name')} a name of its own.",
                )

    def _with_name(self, database: DatabaseSettings, number: int) -> DatabaseSettings:
        name = database.name or database.path.stem
        if not is_name(name):
            place = _Place("database", number)
            raise ConfigError(
                f"{self._where(place, 'path')}: {name!r}, from the path, is no name",
                hint=f"Set {place.key('name')}.",
            )
        return dataclasses.replace(database, name=name)

    def _refuse_shared_places(self, settings: Settings) -> None:
        taken: dict[str, str] = {}
        for number, database in enumerate(settings.databases, 1):
            for place in places_of_listed(settings, database):
                if place.url in taken:
                    raise ConfigError(
                        f"{self._where(_Place('database', number), 'prefix')}: "
                        f"{database.name!r} and {taken[place.url]!r} would share {place.url}",
                        hint="Give each database a prefix of its own.",
                    )
                taken[place.url] = database.name

    def _refuse_unknown_stores(
        self, database: DatabaseSettings, stores: tuple[StoreSettings, ...], place: _Place
    ) -> None:
        known = sorted(store.name for store in stores)
        for name in database.stores or ():
            if name not in known:
                near = difflib.get_close_matches(name, known, 1, 0.5)
                meant = f"Did you mean {near[0]!r}? " if near else ""
                raise ConfigError(
                    f"{self._where(place, 'stores')}: no [[store]] is called {name!r}",
                    hint=f"{meant}There are: {', '.join(known) or 'none'}.",
                )

    def _values(self, section: type[Any], table: dict[str, Any], place: _Place) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, key in keys_of(section):
            if name in table:
                values[name] = self._value(key, table[name], place, name)
            elif key.is_required:
                raise ConfigError(
                    f"{self._where(place, '')}: {place.key(name)} is missing",
                    hint=f"Add {name} = ... ({key.meaning})",
                )
        return values

    def _value(self, key: Key, found: Any, place: _Place, name: str) -> Any:
        match key.kind, found:
            case "flag", bool():
                return found
            case "number", int() if not isinstance(found, bool) and _within(key, found):
                return found
            case "text", str() if found and (not key.allowed or found in key.allowed):
                return found
            case "name", str() if is_name(found):
                return found
            case "names", list() if all(isinstance(item, str) and item for item in found):
                return tuple(found)
            case "prefix", str() if not found or all(map(is_name, found.split("/"))):
                return found
            case "path", str() if found:
                return self._full_path(found)
            case "place", str() if found:
                return found if is_url(found) else str(self._full_path(found))
            case "timezone", str() if zone_named(found):
                return found
            case "secret", _ if source := self._secret(found):
                return source
            case "size" | "duration", str():
                with contextlib.suppress(UserError):
                    return parse_size(found) if key.kind == "size" else parse_duration(found)
        raise self._error(place, name, found, allowed_of(key))

    def _full_path(self, text: str) -> Path:
        if self._home and (text == "~" or text.startswith("~/")):
            text = self._home + text[1:]
        return self._path.absolute().parent / text

    def _secret(self, found: Any) -> SecretSource | None:
        if isinstance(found, str) and found:
            return SecretSource("text", found)
        if not isinstance(found, dict) or len(found) != 1:
            return None
        ((kind, value),) = found.items()
        if kind not in _SECRET_KINDS or not isinstance(value, str) or not value:
            return None
        return SecretSource(kind, str(self._full_path(value)) if kind == "file" else value)

    def _error(self, place: _Place, name: str, found: Any, allowed: str) -> ConfigError:
        # A value where a secret belongs is never shown, not even a wrong one.
        section = _TABLES.get(place.table, Settings)
        is_secret = any(key == name and k.kind == "secret" for key, k in keys_of(section))
        shown = f"a {type(found).__name__}" if is_secret else _toml(found)
        return ConfigError(
            f"{self._where(place, name)}: {place.key(name)} is {shown}",
            hint=f"Allowed: {allowed}.",
        )

    def _where(self, place: _Place, name: str) -> str:
        line = find_line(self._lines, place.table, place.number, name)
        return f"{self._path}, line {line}" if line else str(self._path)


def _within(key: Key, number: int) -> bool:
    return (key.low is None or key.low <= number) and (key.high is None or number <= key.high)


def _toml(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return f'"{value}"'
        case dict():
            return "a table"
        case list():
            return "a list"
    return str(value)


def find_line(lines: list[str], table: str, number: int | None, name: str) -> int | None:
    """
    Return the line of a key, or of its table's head, as far as a plain look can tell.

    Args:
        lines: Of the file.

        table: The table's name; empty at the top level.

        number: Which of several ``[[table]]``, from 1.

        name: The key; empty for the head itself.
    """
    found = None
    count, is_inside = 0, not table
    for line_number, line in enumerate(lines, 1):
        stripped = line.strip()
        if stripped.startswith("["):
            head = stripped.partition("#")[0].strip().strip("[]").strip()
            count += head == table
            is_inside = head == table and count == (number or 1)
            if is_inside:
                found = line_number
            if name and not table and head == name:
                return line_number
        elif is_inside and name and re.match(rf'"?{re.escape(name)}"?\s*[=.]', stripped):
            return line_number
    return found


def allowed_of(key: Key) -> str:
    """Return what a key may hold, for a person."""
    if key.allowed:
        return " or ".join(f'"{value}"' for value in key.allowed)
    return {
        "flag": "true or false",
        "number": f"a whole number from {key.low} to {key.high}",
        "text": "text that is not empty",
        "name": f"up to {NAME_SIZE_MAX} characters, with no / and no leading dot",
        "names": "a list of names",
        "prefix": 'names with / between them, or "" for none',
        "path": "a path",
        "place": "a folder or a URL",
        "timezone": 'the name of a time zone, such as "Europe/Berlin"',
        "secret": 'text, { env = "NAME" }, { file = "PATH" } or { ssm = "/PARAMETER" }',
        "size": 'a size, such as "16 GiB"',
        "duration": 'a duration, such as "90s" or "5 min"',
    }[key.kind]


def is_name(text: str) -> bool:
    r"""
    Say whether *text* may name a database or a store.

    >>> is_name("manual_generator"), is_name("a/b"), is_name(".hidden"), is_name("a\n")
    (True, False, False, False)
    """
    return (
        0 < len(text.encode("utf-8", "surrogatepass")) <= NAME_SIZE_MAX
        and not text.startswith(".")
        and text == text.strip()
        and text.isprintable()
        and not set(text) & set("/\\")
    )


def zone_named(name: str) -> ZoneInfo | None:
    """Return the time zone of this name, or None."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
