"""
Litestream's configuration in ours: each key is carried over or named.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from litekeep.config.file import read_text
from litekeep.config.keys import SecretSource
from litekeep.config.litestream import Imported, import_litestream
from litekeep.config.settings import KeepSettings, Settings


def imported(document: object, **environ: str) -> tuple[Settings, dict[str, str], Imported]:
    done = import_litestream(document, environ)
    settings = read_text(done.text, Path("/etc/litekeep.toml"), os.environ)
    return settings, {note.key: note.text for note in done.notes}, done


def test_the_form_of_0_3_gives_a_store_for_each_replica():
    settings, notes, _ = imported(
        {
            "access-key-id": "${ID}",
            "secret-access-key": "$KEY",
            "dbs": [
                {
                    "path": "/srv/shop.db",
                    "busy-timeout": "1s",
                    "replicas": [
                        {"url": "s3://bucket/shop", "retention": "36h", "sync-interval": "1s"},
                        {"name": "disk", "type": "file", "path": "/mnt/shop"},
                        {"type": "sftp", "host": "h:22", "user": "u", "password": "p"},
                    ],
                }
            ],
        }
    )
    (database,) = settings.databases
    assert (str(database.path), database.name) == ("/srv/shop.db", "shop")
    assert database.stores == ("shop-s3", "disk")
    first, second = settings.stores
    assert (first.url, second.url) == ("s3://bucket/shop", "/mnt/shop")
    assert first.access_key_id == SecretSource("env", "ID")
    assert first.secret_access_key == SecretSource("env", "KEY")
    assert first.keep == KeepSettings(within=36 * 3600)
    assert second.keep is None
    assert settings.stream.sync_interval == 1.0
    assert notes.keys() == {
        "dbs[0].busy-timeout",
        *(f"dbs[0].replicas[2].{key}" for key in ("host", "user", "password", "type")),
    }


def test_the_form_of_0_5_gives_retention_to_each_store():
    settings, notes, _ = imported(
        {
            "snapshot": {"interval": "24h", "retention": "168h"},
            "levels": [{"interval": "30s"}],
            "dbs": [
                {"path": "/srv/a/app.db", "replica": {"url": "gs://bucket/a"}},
                {
                    "path": "/srv/b/app.db",
                    "snapshot": {"retention": "1h30m"},
                    "replica": {
                        "type": "abs",
                        "account-name": "me",
                        "account-key": "plain",
                        "bucket": "box",
                        "path": "b",
                    },
                },
                {"dir": "/srv/tenants", "replica": {"path": "/mnt/t"}},
            ],
        }
    )
    assert [database.name for database in settings.databases] == ["app", "app-2"]
    first, second = settings.stores
    assert (first.url, first.keep) == ("gs://bucket/a", KeepSettings(within=7 * 86400))
    assert (second.url, second.account) == ("az://box/b", "me")
    assert second.keep == KeepSettings(within=5400)
    assert second.account_key == SecretSource("env", "AZURE_STORAGE_ACCOUNT_KEY")
    assert "levels" in notes
    assert "dbs[2].dir" in notes


@pytest.mark.parametrize(
    ("replica", "expected"),
    [
        (
            {"url": "s3://box.nyc3.digitaloceanspaces.com/db"},
            ("s3://box/db", "https://nyc3.digitaloceanspaces.com", "nyc3", None),
        ),
        (
            {"url": "s3://box.localhost:9000/db"},
            ("s3://box/db", "http://localhost:9000", None, None),
        ),
        ({"url": "s3://my.box/a b"}, ("s3://my.box/a%20b", None, None, None)),
        (
            {"type": "s3", "bucket": "box", "endpoint": "minio:9000", "force-path-style": True},
            ("s3://box", "https://minio:9000", None, True),
        ),
        (
            {"url": "s3://box/db?endpoint=http://127.0.0.1:9000&region=r&forcePathStyle=true"},
            ("s3://box/db", "http://127.0.0.1:9000", "r", True),
        ),
    ],
)
def test_where_a_bucket_is_reached_is_carried_over(replica, expected):
    settings, _, _ = imported({"dbs": [{"path": "/a.db", "replica": replica}]})
    (store,) = settings.stores
    assert (store.url, store.endpoint, store.region, store.path_style) == expected


def test_a_secret_in_plain_text_is_neither_copied_nor_shown():
    replica = {"url": "s3://box", "access-key-id": "AKIA", "secret-access-key": "hidden"}
    settings, notes, done = imported({"dbs": [{"path": "/a.db", "replica": replica}]})
    assert settings.stores[0].secret_access_key == SecretSource("env", "AWS_SECRET_ACCESS_KEY")
    assert "hidden" not in done.text + repr(done.notes)
    assert "set AWS_SECRET_ACCESS_KEY" in notes["dbs[0].replica.secret-access-key"]


def test_the_shortest_sync_interval_counts_within_what_is_allowed():
    replicas = [{"path": "/a", "sync-interval": "10s"}, {"path": "/b", "sync-interval": "1ms"}]
    settings, notes, _ = imported({"dbs": [{"path": "/a.db", "replicas": replicas}]})
    assert settings.stream.sync_interval == 0.05
    assert notes.keys() == {"dbs[0].replicas[1].sync-interval"}


def test_variables_outside_of_secrets_are_written_down_as_they_are_now():
    document = {"dbs": [{"path": "${DATA}/a.db", "replica": "/mnt/$HOST"}]}
    settings, notes, _ = imported(document, DATA="/srv", HOST="one")
    assert str(settings.databases[0].path) == "/srv/a.db"
    assert settings.stores[0].url == "/mnt/one"
    assert "dbs[0].path" in notes
