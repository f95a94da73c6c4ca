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
from litekeep.repository.layout import Layout, Repository
from litekeep.store.open import open_store
from litekeep.store.options import StoreOptions


def open_all(
    places: Sequence[Place], database: str, zone: tzinfo, environ: Mapping[str, str]
) -> tuple[Repository, ...]:
    """Open the repositories, those on this machine first: distant ones are fed from them."""
    opened = [open_repository(place, database, zone, environ) for place in places]
    return tuple(sorted(opened, key=lambda repository: repository.store.staging is None))


def open_repository(
    place: Place, database: str, zone: tzinfo, environ: Mapping[str, str]
) -> Repository:
    """Return one database's repository; nothing is asked of a server yet."""
    store = open_store(place.url, options_of(place.store, environ))
    return Repository(store, database, cast("Layout", place.store.layout), zone)


def options_of(store: StoreSettings, environ: Mapping[str, str]) -> StoreOptions:
    """
    Return how to reach a store, its secrets fetched.

    Raises:
        ConfigError: A secret cannot be had.
    """
    access_key_id = fetch_secret(store.access_key_id, environ)
    default = StoreOptions()
    return StoreOptions(
        endpoint=store.endpoint,
        region=store.region,
        path_style=store.path_style,
        profile=store.profile,
        access_key_id=access_key_id.reveal() if access_key_id else None,
        secret_access_key=fetch_secret(store.secret_access_key, environ),
        session_token=fetch_secret(store.session_token, environ),
        encryption=store.encryption,
        kms_key_id=store.kms_key_id,
        storage_class=store.storage_class,
        checksum=store.checksum,
        account=store.account,
        account_key=fetch_secret(store.account_key, environ),
        sas_token=fetch_secret(store.sas_token, environ),
        credentials_file=store.credentials_file,
        ca_file=store.ca_file,
        is_anonymous=store.anonymous,
        timeout_seconds=given(store.timeout, default.timeout_seconds),
        request_seconds=given(store.request_timeout, default.request_seconds),
        retry_seconds=given(store.retry, default.retry_seconds),
    )


def given(value: float | None, default: float) -> float:
    """Return *value*, or *default* where nothing is configured."""
    return default if value is None else value
