"""
This module opens stores: settings and a place go in, a repository comes out.

The one place where stores are opened, for the command line and the library alike, so that
both reach the same things.  Opening asks nothing of a server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from typing import cast

from litekeep.config.places import Place
from litekeep.config.secrets import fetch_secret
from litekeep.config.settings import StoreSettings
from litekeep.errors import AccessDenied, LitekeepError, UserError
from litekeep.repository.layout import Layout, Repository
from litekeep.secret import Secret
from litekeep.store.open import check_url, open_store
from litekeep.store.options import StoreOptions
from litekeep.store.unopened import UnopenedStore


def open_all(
    places: Sequence[Place],
    database: str,
    zone: tzinfo,
    environ: Mapping[str, str],
    *,
    is_written: bool = False,
) -> tuple[Repository, ...]:
    """
    Open the repositories, those on this machine first: distant ones are fed from them.

    A store that cannot be opened is in its place all the same and fails when it is used, so
    that the others go on.

    Raises:
        UserError: Something *is_written* to them, and two are one by two spellings.
    """
    opened = [_opened_or_not(place, database, zone, environ) for place in places]
    if is_written:
        _refuse_twice(opened)
    return tuple(sorted(opened, key=lambda repository: repository.store.staging is None))


def _refuse_twice(opened: Sequence[Repository]) -> None:
    seen: set[str] = set()
    for store in (repository.store for repository in opened):
        address = store.address.rstrip("/")
        if address in seen:
            raise UserError(f"{store.url} is named twice", hint="Name each store once.")
        seen.add(address)


def _opened_or_not(
    place: Place, database: str, zone: tzinfo, environ: Mapping[str, str]
) -> Repository:
    try:
        return open_repository(place, database, zone, environ)
    except LitekeepError as error:
        store = UnopenedStore(place.url, error)
        return Repository(store, database, _layout(place), zone, place.store.name)


def open_repository(
    place: Place, database: str, zone: tzinfo, environ: Mapping[str, str]
) -> Repository:
    """
    Return one database's repository; nothing is asked of a server yet.

    Raises:
        UserError: What is configured cannot be right; it says where that stands.

        AccessDenied: There are no credentials, as far as can be told here.
    """
    try:
        store = open_store(place.url, options_of(place.store, environ))
    except (UserError, AccessDenied) as error:
        if not place.store.where:
            raise
        message = f"{place.store.where}: the store {place.store.name!r}: {error.message}"
        raise type(error)(message, hint=error.hint) from error
    return Repository(store, database, _layout(place), zone, place.store.name)


def _layout(place: Place) -> Layout:
    return cast("Layout", place.store.layout)


def refuse_url(url: str) -> None:
    """
    Raise where no store can be at *url*, as far as its text alone tells.

    Raises:
        UserError: It is of no known kind, names no bucket, holds a secret, and the like.
    """
    check_url(url)


def options_of(store: StoreSettings, environ: Mapping[str, str]) -> StoreOptions:
    """
    Return how to reach a store, its secrets fetched.

    Raises:
        ConfigError: A secret cannot be had.
    """
    access_key_id = _secret(store, "access_key_id", environ)
    default = StoreOptions()
    return StoreOptions(
        endpoint=store.endpoint,
        region=store.region,
        path_style=store.path_style,
        profile=store.profile,
        access_key_id=access_key_id.reveal() if access_key_id else None,
        secret_access_key=_secret(store, "secret_access_key", environ),
        session_token=_secret(store, "session_token", environ),
        encryption=store.encryption,
        kms_key_id=store.kms_key_id,
        storage_class=store.storage_class,
        checksum=store.checksum,
        account=store.account,
        account_key=_secret(store, "account_key", environ),
        sas_token=_secret(store, "sas_token", environ),
        credentials_file=store.credentials_file,
        ca_file=store.ca_file,
        is_anonymous=store.anonymous,
        timeout_seconds=given(store.timeout, default.timeout_seconds),
        request_seconds=given(store.request_timeout, default.request_seconds),
        retry_seconds=given(store.retry, default.retry_seconds),
    )


def _secret(store: StoreSettings, key: str, environ: Mapping[str, str]) -> Secret | None:
    """Return the secret under *key*; its error names the key."""
    try:
        return fetch_secret(getattr(store, key), environ)
    except UserError as error:
        raise type(error)(f"{key}: {error.message}", hint=error.hint) from error


def given(value: float | None, default: float) -> float:
    """Return *value*, or *default* where nothing is configured."""
    return default if value is None else value
