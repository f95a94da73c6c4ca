"""
From URLs to stores.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from litekeep.errors import ConfigError, UserError
from litekeep.secret import Secret
from litekeep.store.connection import connect
from litekeep.store.directory import DirectoryStore
from litekeep.store.memory import MemoryStore
from litekeep.store.open import check_url, open_store
from litekeep.store.options import StoreOptions

KEYS = StoreOptions(access_key_id="AK", secret_access_key=Secret("SK"))


def test_paths_and_file_urls_are_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a b").mkdir()
    for url in (f"{tmp_path}/a b", "a b", "./a b/", "~/a b", f"file://{tmp_path}/a%20b"):
        store = open_store(url)
        assert isinstance(store, DirectoryStore)
        assert store.url == str(tmp_path / "a b")
        assert open_store(store.url).url == store.url
    assert isinstance(open_store("memory:"), MemoryStore)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/", "s3://bucket"),
        ("s3://bucket/a/b/", "s3://bucket/a/b"),
        ("s3://bucket/a%20b?endpoint=http://127.0.0.1:9000", "s3://bucket/a b"),
        ("s3://bucket/a?endpoint=localhost:9000&forcePathStyle=true&region=eu-west-1", None),
        ("s3://bucket/a?path_style=false&storage-class=STANDARD_IA&encryption=AES256", None),
        ("gs://bucket/a", "gs://bucket/a"),
        ("az://container/a?account=acct", "az://container/a"),
    ],
)
def test_object_stores_print_where_they_are_and_no_more(url: str, expected: str | None):
    store = open_store(url, StoreOptions(**{**_fields(KEYS), "account_key": Secret("a2V5")}))

    assert store.url == (expected or "s3://bucket/a")
    assert store.staging is None


def _fields(options: StoreOptions) -> dict[str, object]:
    return {"access_key_id": options.access_key_id, "secret_access_key": options.secret_access_key}


@pytest.mark.parametrize(
    ("url", "message", "hint"),
    [
        ("", "is empty", ""),
        ("ftp://host/path", "ftp:// is not a kind of store", "s3://"),
        ("s3:///prefix", "names no bucket", "s3://BUCKET/PREFIX"),
        ("s3://bucket/a//b", "cannot be the prefix", ""),
        ("s3://bucket/../b", "cannot be the prefix", ""),
        ("s3://bucket/a#b", "behind #", ""),
        ("s3://bucket/a?endpint=x", "endpint is not a parameter", "Did you mean endpoint?"),
        ("s3://bucket/a?path_style=maybe", "path_style=maybe", "path_style=true"),
        ("gs://bucket/a?storage_class=X", "storage_class is not a parameter", "Known are"),
        ("s3://bucket/a?account=X", "account is not a parameter of a store's URL with s3://", ""),
        ("file://host/path", "is not the URL of a folder", "three slashes"),
        ("s3://bucket/a?endpoint=ftp://x", "not an http or https URL", "https://"),
    ],
)
def test_what_cannot_be_understood_is_an_error_with_a_hint(url: str, message: str, hint: str):
    with pytest.raises(UserError) as caught:
        open_store(url, KEYS)

    assert message in caught.value.message
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    "url",
    [
        "s3://AKIA:hunter2@bucket/prefix",
        "s3://hunter2@bucket/prefix",
        "s3://bucket/p?secret_access_key=hunter2",
        "s3://bucket/p?access-key-id=hunter2",
        "az://container/p?sas_token=hunter2",
        "s3://bucket/p?endpoint=http://user:hunter2@host",
        "s3://bucket/p?secret_access_key=hunter2#x",
        "s3://bucket/p#hunter2",
        "s3:///p?token=hunter2",
        "file:///p?secret=hunter2",
    ],
)
def test_secrets_in_a_url_are_refused_and_not_repeated(url: str):
    with pytest.raises(UserError) as caught:
        open_store(url, KEYS)

    assert "hunter2" not in caught.value.message + (caught.value.hint or "")
    assert caught.value.hint


def test_addresses_follow_style_and_region(no_cloud_environment: pytest.MonkeyPatch):
    def base(bucket: str = "bucket", **options: object) -> str:
        return connect("s3", bucket, StoreOptions(**{**_fields(KEYS), **options})).base_url

    assert base() == "https://bucket.s3.us-east-1.amazonaws.com"
    assert base("a.b", region="eu-west-1") == "https://s3.eu-west-1.amazonaws.com"
    assert base(region="cn-north-1") == "https://bucket.s3.cn-north-1.amazonaws.com.cn"
    assert base(path_style=True) == "https://s3.us-east-1.amazonaws.com"
    assert base(endpoint="http://h:9000/") == "http://h:9000"
    assert base(endpoint="h:9000", path_style=False) == "https://bucket.h:9000"
    no_cloud_environment.setenv("AWS_DEFAULT_REGION", "eu-west-3")
    no_cloud_environment.setenv("AWS_ENDPOINT_URL", "http://env:1")
    assert base() == "http://env:1"
    no_cloud_environment.setenv("AWS_ENDPOINT_URL_S3", "http://env:2")
    assert base() == "http://env:2"
    assert connect("s3", "b", KEYS).region == "eu-west-3"


def test_plain_http_is_allowed_only_where_the_endpoint_says_so(
    no_cloud_environment: pytest.MonkeyPatch,
):
    plain = connect("s3", "bucket", StoreOptions(**_fields(KEYS), endpoint="http://h"))
    tls = connect("s3", "bucket", KEYS)

    assert (plain.client_options["allow_http"], tls.client_options["allow_http"]) == (True, False)
    # TLS keeps the bytes whole; without it they are hashed for the signature.
    assert (plain.config["unsigned_payload"], tls.config["unsigned_payload"]) == (False, True)


@pytest.mark.parametrize(
    "url", ["", "ftp://h", "s3:///p", "s3://u:p@b", "s3://b?x=y", "file://host/p", "s3://b/../c"]
)
def test_a_url_is_checked_without_credentials(url: str):
    with pytest.raises(UserError):
        check_url(url)


def test_a_url_that_is_right_passes_without_credentials(no_cloud_environment: pytest.MonkeyPatch):
    for url in ("memory:", "/var/b", "file:///b", "s3://b/p?region=x", "az://c/p", "gs://b"):
        check_url(url)


def test_an_azure_account_is_needed(no_cloud_environment: pytest.MonkeyPatch):
    with pytest.raises(ConfigError, match="account is not known"):
        open_store("az://container/p")


def test_secrets_do_not_show():
    options = StoreOptions(secret_access_key=Secret("hunter2"), sas_token=Secret("hunter2"))
    connection = connect("s3", "b", StoreOptions(**_fields(KEYS)))

    assert "hunter2" not in f"{options} {options!r} {Secret('hunter2')}"
    assert "SK" not in repr(connection)
    assert pickle.loads(pickle.dumps(options)) == options
    assert Secret("a") != Secret("b")
