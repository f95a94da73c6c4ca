"""
The tables of a configuration file, held to their keys: TOML goes in, settings come out.

Nothing in it is passed over.  Each thing that is wrong is an error that says where
(file, line, key), what was found and what is allowed.

Relative paths in the file start from its own folder, whoever runs the command and
from wherever.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from litekeep.config.keys import Key, keys_of
from litekeep.config.lines import find_line
from litekeep.config.notify import AppriseSettings, NotifySettings, PingSettings, WebhookSettings
from litekeep.config.places import Place, kind_of, places_of_listed
from litekeep.config.settings import (
    DISTANT,
    FORMAT_DEFAULT,
    LEVELS,
    AssertSettings,
    DamageSettings,
    DatabaseSettings,
    DrillSettings,
    KeepSettings,
    RetentionSettings,
    Settings,
    SnapshotSettings,
    StatusSettings,
    StoreSettings,
)
from litekeep.config.stream import StreamSettings
from litekeep.config.values import allowed_of, is_name, near_of, shown, value_of
from litekeep.errors import ConfigError

_TABLES = (
    *("snapshot", "stream", "retention", "damage", "drill", "status", "notify"),
    *("store", "database"),
)
_TABLE = Key("text", "A table, not a value.")

Section = TypeVar("Section")


@dataclass(frozen=True, slots=True)
class _Place:
    """
    Where in the file a table stands: ``[[store]]`` number 2, for instance.

    `under` is the key that holds it, where it stands in a line: ``keep = { ... }``.
    """

    table: str = ""
    number: int | None = None
    under: str = ""

    def key(self, name: str) -> str:
        if not self.table:
            return name
        number = f"[{self.number}]" if self.number is not None else ""
        under = f".{self.under}" if self.under else ""
        return f"{self.table}{number}{under}.{name}"


class Reader:
    """Turns the tables of one file into settings."""

    def __init__(self, path: Path, text: str, environ: Mapping[str, str]) -> None:
        self._path = path
        self._lines = text.splitlines()
        self._environ = environ

    def settings(self, tables: dict[str, Any]) -> Settings:
        top = _Place()
        known = [name for name, _ in keys_of(Settings)]
        self._refuse_unknown(tables, [*known, *_TABLES], top)
        values = self._values(Settings, tables, top)
        snapshot = self._one(tables.get("snapshot", {}), "snapshot", SnapshotSettings)
        retention = self._one(tables.get("retention", {}), "retention", RetentionSettings)
        damage = self._one(tables.get("damage", {}), "damage", DamageSettings)
        status = self._one(tables.get("status", {}), "status", StatusSettings)
        stores = self._stores(tables.get("store", []))
        databases = self._many(tables.get("database", []), "database", DatabaseSettings)
        self._refuse_twins("store", [item.name for item in stores])
        databases = tuple(self._with_name(item, n) for n, item in enumerate(databases, 1))
        self._refuse_twins("database", [item.name for item in databases])
        for number, database in enumerate(databases, 1):
            self._refuse_unknown_stores(database, stores, _Place("database", number))
        drill = self._drill(tables.get("drill", {}), [item.name for item in databases])
        notify = self._notify(tables.get("notify", {}))
        stream = self._one(tables.get("stream", {}), "stream", StreamSettings)
        settings = Settings(
            **values,
            snapshot=snapshot,
            retention=retention,
            damage=damage,
            status=status,
            drill=drill,
            notify=notify,
            stream=stream,
            stores=stores,
            databases=databases,
            file=self._path,
        )
        self._refuse_shared_places(settings)
        self._refuse_levels(settings)
        return settings

    def _drill(self, table: Any, databases: list[str]) -> DrillSettings:
        if not isinstance(table, dict):
            raise self._no_table("drill", table, "a table, [drill]")
        known = [name for name, _ in keys_of(DrillSettings)]
        self._refuse_unknown(table, [*known, "assert"], _Place("drill"))
        asserts = self._many(table.get("assert", []), "drill.assert", AssertSettings)
        for number, item in enumerate(asserts, 1):
            if item.database is not None and item.database not in databases:
                where = self._where(_Place("drill.assert", number), "database")
                raise ConfigError(
                    f"{where}: no database is called {item.database!r}",
                    hint=f"There are: {', '.join(databases) or 'none'}.",
                )
        rest = self._one({n: v for n, v in table.items() if n != "assert"}, "drill", DrillSettings)
        return dataclasses.replace(rest, assertions=asserts)

    def _notify(self, table: Any) -> NotifySettings:
        if not isinstance(table, dict):
            raise self._no_table("notify", table, "a table, [notify]")
        parts = ("ping", "webhook", "apprise")
        known = [name for name, _ in keys_of(NotifySettings)]
        self._refuse_unknown(table, [*known, *parts], _Place("notify"))
        webhooks = self._many(table.get("webhook", []), "notify.webhook", WebhookSettings)
        services = self._many(table.get("apprise", []), "notify.apprise", AppriseSettings)
        self._refuse_twins("notify.webhook", [item.name for item in webhooks])
        self._refuse_twins("notify.apprise", [item.name for item in services])
        ping = self._one(table.get("ping", {}), "notify.ping", PingSettings)
        own = {name: value for name, value in table.items() if name not in parts}
        rest = self._one(own, "notify", NotifySettings)
        return dataclasses.replace(rest, ping=ping, webhooks=webhooks, services=services)

    def _one(self, table: Any, name: str, section: type[Section]) -> Section:
        place = _Place(name)
        if not isinstance(table, dict):
            raise self._no_table(name, table, f"a table, [{name}]")
        self._refuse_unknown(table, [key for key, _ in keys_of(section)], place)
        return section(**self._values(section, table, place))

    def _many(self, tables: Any, name: str, section: type[Section]) -> tuple[Section, ...]:
        if not isinstance(tables, list) or not all(isinstance(item, dict) for item in tables):
            raise self._no_table(name, tables, f"a list of tables, each a [[{name}]]")
        made = []
        for number, table in enumerate(tables, 1):
            place = _Place(name, number)
            self._refuse_unknown(table, [key for key, _ in keys_of(section)], place)
            made.append(section(**self._values(section, table, place)))
        return tuple(made)

    def _stores(self, tables: Any) -> tuple[StoreSettings, ...]:
        """Read the stores; a key that a store of its kind cannot honour is not passed over."""
        made = []
        for number, store in enumerate(self._many(tables, "store", StoreSettings), 1):
            place, kind = _Place("store", number), kind_of(store.url)
            for name, key in keys_of(StoreSettings):
                is_known = kind in ("local", *DISTANT)
                if (
                    name in tables[number - 1]
                    and is_known
                    and key.stores
                    and kind not in key.stores
                ):
                    what = "a local folder" if kind == "local" else f"{kind}://"
                    kinds = " or ".join(f"{item}://" for item in key.stores)
                    raise ConfigError(
                        f"{self._where(place, name)}: {place.key(name)} means nothing for {what}",
                        hint=f"Remove it: it is for {kinds}.",
                    )
            made.append(dataclasses.replace(store, where=self._where(place, "url")))
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
        taken: dict[str, tuple[str | None, str]] = {}
        for number, database in enumerate(settings.databases, 1):
            for place in places_of_listed(settings, database, self._environ):
                name, store = taken.setdefault(place.url, (database.name, place.store.name))
                if store != place.store.name and name == database.name:
                    raise self._one_place(settings, place, store)
                if name != database.name:
                    raise ConfigError(
                        f"{self._where(_Place('database', number), 'prefix')}: "
                        f"{database.name!r} and {name!r} would share {place.url}",
                        hint="Give each database a prefix of its own.",
                    )

    def _one_place(self, settings: Settings, place: Place, other: str) -> ConfigError:
        number = settings.stores.index(place.store) + 1
        return ConfigError(
            f"{self._where(_Place('store', number), 'url')}: the stores {other!r} and "
            f"{place.store.name!r} are one place, {place.url}",
            hint="Give each store a place of its own, or remove one of the two.",
        )

    def _refuse_levels(self, settings: Settings) -> None:
        """Refuse a level that the format in force with it does not have."""
        default = settings.snapshot
        for number, item in enumerate(settings.databases or (default,), 1):
            is_own = item.level is not None and item is not default
            level = item.level if item.level is not None else default.level
            format_name = item.format or default.format or FORMAT_DEFAULT
            low, high = LEVELS[format_name]
            if level is not None and not low <= level <= high:
                place = _Place("database", number) if is_own else _Place("snapshot")
                raise ConfigError(
                    f"{self._where(place, 'level')}: {place.key('level')} is {level}, "
                    f"and {format_name} has no such level",
                    hint=f"Allowed: from {low} to {high}, or leave it out.",
                )

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
            if name in table and key.kind == "keep" and isinstance(table[name], dict):
                under = dataclasses.replace(place, under=name)
                self._refuse_unknown(table[name], [n for n, _ in keys_of(KeepSettings)], under)
                values[name] = KeepSettings(**self._values(KeepSettings, table[name], under))
            elif name in table:
                values[name] = self._value(key, table[name], place, name)
            elif key.is_required:
                raise ConfigError(
                    f"{self._where(place, '')}: {place.key(name)} is missing",
                    hint=f"Add {name} = ... ({key.meaning})",
                )
        return values

    def _value(self, key: Key, found: Any, place: _Place, name: str) -> Any:
        try:
            return value_of(key, found, self._full_path)
        except ValueError:
            near, allowed = near_of(key, found), allowed_of(key)
            raise ConfigError(
                f"{self._where(place, name)}: {place.key(name)} is {shown(key, found)}",
                hint=f"{near}Allowed: {allowed}.",
            ) from None

    def _full_path(self, text: str) -> Path:
        if (home := self._environ.get("HOME")) and (text == "~" or text.startswith("~/")):
            text = home + text[1:]
        return self._path.absolute().parent / text

    def _no_table(self, name: str, found: Any, allowed: str) -> ConfigError:
        table, _, key = name.rpartition(".")
        # Where a URL that is a secret is looked for, what stands there may be one.
        kind = _TABLE if table != "notify" else dataclasses.replace(_TABLE, kind="secret")
        return ConfigError(
            f"{self._where(_Place(table), key)}: {name} is {shown(kind, found)}",
            hint=f"Allowed: {allowed}.",
        )

    def _where(self, place: _Place, name: str) -> str:
        line = find_line(self._lines, place.table, place.number, place.under or name)
        return f"{self._path}, line {line}" if line else str(self._path)
