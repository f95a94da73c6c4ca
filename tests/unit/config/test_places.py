"""Where the backups of a database lie."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from litekeep.config.environment import environment_stores
from litekeep.config.places import (
    folder_beside,
    join_url,
    places_named,
    places_of_listed,
    places_of_unlisted,
)
from litekeep.config.settings import DatabaseSettings, Settings, StoreSettings
from litekeep.errors import ConfigError, UserError

S3 = StoreSettings(name="s3", url="s3://bucket/prefix", region="eu-central-1")
DISK = StoreSettings(name="disk", url="/backups", layout="flat")
APP = DatabaseSettings(path=Path("/srv/app.db"), name="app")
SHOP = DatabaseSettings(path=Path("/srv/shop.db"), name="shop")
FILE = Path("/etc/litekeep.toml")


def urls(places):
    return [place.url for place in places]


def test_a_single_database_lies_as_the_url_says():
    settings = Settings(stores=(S3, DISK), databases=(APP,), file=FILE)

    assert urls(places_of_listed(settings, APP)) == ["s3://bucket/prefix", "/backups"]


def test_several_databases_get_a_folder_each():
    settings = Settings(stores=(S3, DISK), databases=(APP, SHOP), file=FILE)

    assert urls(places_of_listed(settings, SHOP)) == ["s3://bucket/prefix/shop", "/backups/shop"]


def test_a_store_of_one_database_alone_is_not_shared():
    only_s3 = replace(APP, stores=("s3",))
    settings = Settings(
        stores=(S3, DISK), databases=(only_s3, replace(SHOP, stores=("disk",))), file=FILE
    )

    assert urls(places_of_listed(settings, only_s3)) == ["s3://bucket/prefix"]


def test_a_prefix_keeps_a_database_where_it_was():
    """So a second database can be added without the first one moving."""
    first = replace(APP, prefix="")
    settings = Settings(stores=(S3,), databases=(first, SHOP), file=FILE)

    assert urls(places_of_listed(settings, first)) == ["s3://bucket/prefix"]
    assert urls(places_of_listed(settings, SHOP)) == ["s3://bucket/prefix/shop"]


def test_a_database_that_is_not_listed_gets_a_folder_of_its_own():
    settings = Settings(stores=(S3,), databases=(APP,), file=FILE)

    assert urls(places_of_unlisted(settings, SHOP.path, "shop", {})) == ["s3://bucket/prefix/shop"]


def test_with_nothing_configured_backups_lie_beside_the_database():
    assert urls(places_of_unlisted(Settings(), APP.path, "app", {})) == ["/srv/app.db-backups"]
    assert urls(places_of_listed(Settings(databases=(APP,)), APP)) == ["/srv/app.db-backups"]
    assert folder_beside(Path("/srv/app.db")) == Path("/srv/app.db-backups")
    assert folder_beside(Path("/")) == Path("/-backups")


def test_the_environment_adds_a_bucket_and_moves_the_local_folder():
    bucket = {"S3_BUCKET": "b", "S3_PREFIX": "/p/"}
    both = {"S3_BUCKET": "b", "LOCAL_BACKUP_DIR": "/opt/b"}

    assert urls(places_of_unlisted(Settings(), APP.path, "app", bucket)) == [
        "/srv/app.db-backups",
        "s3://b/p",
    ]
    places = places_of_unlisted(Settings(), APP.path, "app", both)
    assert urls(places) == ["/opt/b", "s3://b/sqlite-backup"]
    assert [place.store.layout for place in places] == ["flat", "dated"]


def test_the_environment_does_not_count_where_a_file_is_in_force():
    places = places_of_unlisted(Settings(file=FILE), APP.path, "app", {"S3_BUCKET": "b"})

    assert urls(places) == ["/srv/app.db-backups"]


def test_a_store_is_named_by_its_name_or_its_url():
    settings = Settings(stores=(S3, DISK))

    by_name, by_url, path = places_named(
        settings, ["disk", "s3://bucket/prefix/else", "/elsewhere"], "app"
    )

    assert by_name.url == "/backups/app"
    assert by_name.store is DISK
    assert by_url.url == "s3://bucket/prefix/else/app"
    assert by_url.store is S3
    assert path.url == "/elsewhere/app"


def test_the_options_of_a_store_do_not_go_to_a_bucket_with_a_longer_name():
    (place,) = places_named(Settings(stores=(S3,)), ["s3://bucket/prefixed"])

    assert place.store.region is None


def test_the_same_place_twice_is_refused():
    with pytest.raises(UserError, match="named twice"):
        places_named(Settings(stores=(DISK,)), ["disk", "/backups"])


def test_a_prefix_goes_before_the_parameters_of_a_url():
    assert join_url("s3://b?region=x", "a b%") == "s3://b/a%20b%25?region=x"
    assert join_url("file:///var/x/", "a") == "file:///var/x/a"
    assert join_url("/var/a?b", "c") == "/var/a?b/c"


def test_a_bucket_in_the_environment_is_a_name_and_no_url():
    for bucket in ("s3://b", "b/folder", "b?region=x"):
        with pytest.raises(ConfigError, match="S3_BUCKET is ") as caught:
            environment_stores({"S3_BUCKET": bucket})
        assert "S3_PREFIX" in (caught.value.hint or "")
