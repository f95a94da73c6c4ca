"""
Where the backups of a database lie: from settings and `--to` to URLs.

    --to given              those, and nothing else; a configured store by its name
    file in force, [[store]]    the stores of the database, or all of them
    file in force, none         <database>-backups beside it; for a database in Docker in
                                the folder for local state
    no file                 the environment's stores, and that folder

A store that several databases share holds each in a folder of its own name; one
that has a single listed database holds it as the URL says.  A database that the
file does not list gets a folder of its name, so that it meets no other.

Local state has a place too.  Nothing is opened here, and no file is looked at.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from litekeep.config.environment import LOCAL, environment_stores
from litekeep.config.settings import DatabaseSettings, Settings, StoreSettings
from litekeep.dockername import Address, DockerName
from litekeep.errors import UserError
from litekeep.paths import full_path

_URL = re.compile(r"[a-z][a-z0-9+.-]*:(?://|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Place:
    """One database's place: `url` with the prefix in it, and how to reach the store."""

    url: str
    store: StoreSettings


def is_url(text: str) -> bool:
    """
    Say whether *text* is a URL and no path.

    >>> is_url("s3://bucket/app"), is_url("memory:"), is_url("a/b"), is_url("c:d")
    (True, True, False, False)
    """
    return _URL.match(text) is not None


def kind_of(url: str) -> str:
    """
    Return the kind of store at *url*: its scheme, or ``"local"``.

    >>> kind_of("s3://bucket/app"), kind_of("/var/backups"), kind_of("file:///var/backups")
    ('s3', 'local', 'local')
    """
    scheme = url.partition(":")[0].lower() if is_url(url) else "file"
    return "local" if scheme == "file" else scheme


def join_url(url: str, prefix: str) -> str:
    """
    Return the URL of the folder *prefix* in a store.

    >>> join_url("s3://bucket/a?region=eu-west-1", "my app")
    's3://bucket/a/my%20app?region=eu-west-1'
    >>> join_url("/var/backups", "app")
    '/var/backups/app'
    """
    if not prefix:
        return url
    if not is_url(url):
        return os.path.join(url, prefix)
    base, mark, parameters = url.partition("?")
    return f"{base.rstrip('/')}/{quote(prefix)}{mark}{parameters}"


def folder_beside(database: Path) -> Path:
    """Return where the backups of a database go when nothing is configured."""
    return database.parent / f"{database.name}-backups"


def default_folder(address: Address, state: Path) -> Path:
    """
    Return where the backups of *address* go when nothing is configured.

    Those of a database in Docker go into the folder for local state: beside it they would
    lie in the volume, be lost with it, and be within the application's reach.
    """
    if not isinstance(address, DockerName):
        return folder_beside(address)
    kind = "containers" if address.is_in_container else "volumes"
    return folder_beside(Path(state, "docker", kind, address.holder, address.path.lstrip("/")))


def places_of_listed(
    settings: Settings, database: DatabaseSettings, environ: Mapping[str, str] | None = None
) -> tuple[Place, ...]:
    """Return the places of a database that the configuration lists."""
    local = _local(settings, database.path, os.environ if environ is None else environ)
    if not settings.stores:
        return (local,)
    places = []
    for store in settings.stores:
        if _uses(database, store):
            is_shared = sum(_uses(other, store) for other in settings.databases) > 1
            prefix = database.prefix
            if prefix is None:
                prefix = database.name if is_shared else ""
            places.append(Place(join_url(store.url, prefix), store))
    return tuple(places) or (local,)


def places_of_unlisted(
    settings: Settings, address: Address, name: str, environ: Mapping[str, str]
) -> tuple[Place, ...]:
    """Return the places of a database that no configuration lists."""
    if settings.stores:
        return tuple(Place(join_url(store.url, name), store) for store in settings.stores)
    local = _local(settings, address, environ)
    if settings.file is not None:
        return (local,)
    stores = environment_stores(environ)
    places = tuple(Place(_full(store.url), store) for store in stores)
    has_local = any(store.name == LOCAL for store in stores)
    return places if has_local else (local, *places)


def places_named(settings: Settings, targets: Sequence[str], prefix: str = "") -> tuple[Place, ...]:
    """
    Return the places that `--to` names.

    Args:
        settings: Whose stores may be called by name; what they say of a URL that
            is theirs holds for it.

        targets: Names of stores, URLs or paths.

        prefix: Folder in each of them.

    Raises:
        UserError: One place is named twice, or by nothing.
    """
    places: list[Place] = []
    for target in targets:
        if not target:
            raise UserError("the name of a store is empty", hint="Give a URL, a folder or a name.")
        store = next((store for store in settings.stores if store.name == target), None)
        url = store.url if store else _full(target)
        place = Place(join_url(url, prefix), store or store_at(settings, url))
        if any(place.url == other.url for other in places):
            raise UserError(f"{place.url} is named twice", hint="Name each store once.")
        places.append(place)
    return tuple(places)


def store_at(settings: Settings, url: str) -> StoreSettings:
    """Return the configured store that *url* lies in, or a plain one."""
    for store in settings.stores:
        base = store.url.partition("?")[0].rstrip("/")
        if url.partition("?")[0].rstrip("/") == base or url.startswith(f"{base}/"):
            return store
    return StoreSettings(name=url, url=url)


def state_folder(settings: Settings, environ: Mapping[str, str]) -> Path:
    """Return the folder for local state."""
    if variable := environ.get("LITEKEEP_STATE"):
        return full_path(variable)
    if settings.state_dir is not None:
        return settings.state_dir
    if os.geteuid() == 0:
        return Path("/var/lib/litekeep")
    home = environ.get("XDG_STATE_HOME") or full_path("~/.local/state")
    return Path(home, "litekeep")


def _uses(database: DatabaseSettings, store: StoreSettings) -> bool:
    return database.stores is None or store.name in database.stores


def _local(settings: Settings, address: Address, environ: Mapping[str, str]) -> Place:
    url = str(default_folder(address, state_folder(settings, environ)))
    return Place(url, StoreSettings(name=LOCAL, url=url))


def _full(place: str) -> str:
    return place if is_url(place) else os.path.normpath(full_path(place))
