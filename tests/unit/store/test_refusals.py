"""
One clear error with a hint for everything a server can refuse, by servers that do.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from litekeep.errors import (
    AccessDenied,
    BlobNotFound,
    ConfigError,
    NoSpace,
    StoreError,
    StoreUnavailable,
)
from litekeep.secret import Secret
from litekeep.store.base import Store
from litekeep.store.open import open_store
from litekeep.store.options import StoreOptions
from litekeep.store.translate import Asked, translate
from tests.servers.iam import add_identity
from tests.servers.odd import DATE, OddServer, say
from tests.servers.process import free_ports
from tests.servers.s3 import S3Server

pytestmark = pytest.mark.usefixtures("no_cloud_environment")

MIB = 1 << 20

ASK: dict[str, Callable[[Store], object]] = {
    "put": lambda store: store.put("a", b"1"),
    "create": lambda store: store.put("new", b"1", create=True),
    "upload": lambda store: store.put("large", [bytes(MIB)] * 20),
    "get": lambda store: b"".join(store.get("a")),
    "head": lambda store: store.head("a"),
    "list": lambda store: list(store.list()),
    "delete": lambda store: store.delete("a"),
    "copy": lambda store: store.copy("a", "b"),
}
RIGHTS = {
    "put": "s3:PutObject",
    "create": "s3:PutObject",
    "upload": "s3:PutObject",
    "get": "s3:GetObject",
    "head": "s3:GetObject",
    "list": "s3:ListBucket",
    "delete": "s3:DeleteObject",
}


def opened(server: S3Server, bucket: str, identity: str | None = None, **changes) -> Store:
    options = server.options(identity, **{"retry_seconds": 0, **changes})
    return open_store(f"s3://{bucket}/prefix", options)


@pytest.mark.parametrize("action", ASK)
def test_a_missing_bucket_is_named(seaweedfs: S3Server, action: str):
    with pytest.raises(AccessDenied, match="no bucket 'no-such-bucket'") as caught:
        ASK[action](opened(seaweedfs, "no-such-bucket"))

    assert "Create it" in (caught.value.hint or "")


@pytest.mark.parametrize("action", RIGHTS)
def test_the_missing_right_is_named(seaweedfs: S3Server, action: str):
    bucket = seaweedfs.new_bucket()
    opened(seaweedfs, bucket).put("a", b"1")
    with pytest.raises(AccessDenied, match="does not allow") as caught:
        ASK[action](opened(seaweedfs, bucket, "none"))

    where = bucket if action == "list" else f"{bucket}/prefix/*"
    assert RIGHTS[action] in (caught.value.hint or "")
    assert f"arn:aws:s3:::{where} " in (caught.value.hint or "")


def test_a_reader_may_read_and_not_write(seaweedfs: S3Server):
    bucket = seaweedfs.new_bucket()
    opened(seaweedfs, bucket).put("a", b"1")
    reader = opened(seaweedfs, bucket, "ro")

    assert reader.read("a", size_max=1) == b"1"
    for action in ("put", "create", "upload", "delete", "copy"):
        with pytest.raises(AccessDenied):
            ASK[action](reader)
    assert seaweedfs.open_uploads(bucket) == []


def test_iam_names_the_right_itself(iam_s3: S3Server):
    bucket = iam_s3.new_bucket()
    statement = {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "*"}
    add_identity(iam_s3, "putter", {"Version": "2012-10-17", "Statement": [statement]})
    store = opened(iam_s3, bucket, "putter")
    store.put("a", b"1")
    for action in ("get", "list", "delete"):
        with pytest.raises(AccessDenied) as caught:
            ASK[action](store)
        assert RIGHTS[action] in (caught.value.hint or ""), action
    with pytest.raises(AccessDenied, match="does not accept the credentials"):
        opened(iam_s3, bucket, "putter", secret_access_key=Secret("wrong")).put("a", b"1")


@pytest.mark.parametrize("action", ["put", "head", "list"])
def test_unknown_keys_and_wrong_secrets(seaweedfs: S3Server, action: str):
    bucket = seaweedfs.new_bucket()
    for changes in ({"access_key_id": "AKNOBODY"}, {"secret_access_key": Secret("wrong")}):
        with pytest.raises(AccessDenied, match="does not accept the credentials") as caught:
            ASK[action](opened(seaweedfs, bucket, **changes))
        assert "Check the key" in (caught.value.hint or "")


def test_a_closed_port_and_a_name_that_is_none(seaweedfs: S3Server):
    (port,) = free_ports(1)
    for endpoint, words in (
        (f"http://127.0.0.1:{port}", "refuses connections"),
        ("http://litekeep.invalid:9000", "cannot be resolved"),
    ):
        with pytest.raises(StoreUnavailable, match=words) as caught:
            opened(seaweedfs, "bucket", endpoint=endpoint).put("a", b"1")
        assert endpoint in caught.value.message
        assert caught.value.hint


def test_tls_needs_an_authority_that_is_trusted(
    seaweedfs: S3Server, monkeypatch: pytest.MonkeyPatch
):
    """By option or by AWS_CA_BUNDLE; without, the error says which file to set."""
    bucket = seaweedfs.new_bucket()
    endpoint = seaweedfs.tls_endpoint
    with pytest.raises(StoreError, match="is not trusted") as caught:
        opened(seaweedfs, bucket, endpoint=endpoint).put("a", b"1")
    assert "ca_file" in (caught.value.hint or "")
    assert not caught.value.retryable

    opened(seaweedfs, bucket, endpoint=endpoint, ca_file=seaweedfs.ca_file).put("a", b"1")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(seaweedfs.ca_file))
    assert opened(seaweedfs, bucket, endpoint=endpoint).read("a", size_max=1) == b"1"
    monkeypatch.setenv("AWS_CA_BUNDLE", "/does/not/exist")
    with pytest.raises(ConfigError, match="/does/not/exist cannot be read"):
        opened(seaweedfs, bucket, endpoint=endpoint)


def test_tls_where_there_is_none_and_none_where_there_is(seaweedfs: S3Server):
    bucket = seaweedfs.new_bucket()
    swapped = seaweedfs.endpoint.replace("http:", "https:")
    with pytest.raises(StoreError, match="TLS"):
        opened(seaweedfs, bucket, endpoint=swapped).put("a", b"1")
    assert seaweedfs.tls_endpoint
    swapped = seaweedfs.tls_endpoint.replace("https:", "http:")
    with pytest.raises(StoreError) as caught:
        opened(seaweedfs, bucket, endpoint=swapped).put("a", b"1")
    assert "TLS" in (caught.value.hint or "")


class Sayer:
    """Answers every request with one refusal: for what no server can be made to say."""

    def __init__(self) -> None:
        self.status, self.body = 200, b""
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def say(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                self.rfile.read(size)
                self.send_response(owner.status)
                self.send_header("Content-Length", str(len(owner.body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(owner.body)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = say

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"

    def says(self, status: int, code: str, more: str = "") -> None:
        self.status = status
        self.body = (
            f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>words</Message>{more}</Error>'
        ).encode()


@pytest.fixture
def sayer() -> Iterator[Sayer]:
    sayer = Sayer()
    thread = threading.Thread(target=sayer.server.serve_forever, args=(0.02,))
    thread.start()
    yield sayer
    sayer.server.shutdown()
    thread.join()
    sayer.server.server_close()


@pytest.mark.parametrize("action", ["put", "head", "get", "list"])
@pytest.mark.parametrize(
    ("status", "code", "more", "kind", "words", "hint"),
    [
        (403, "RequestTimeTooSkewed", "", AccessDenied, "clock of this machine", "Set the clock"),
        (400, "ExpiredToken", "", AccessDenied, "have expired", "aws sso login"),
        (403, "ExpiredToken", "", AccessDenied, "have expired", "aws sso login"),
        (
            *(301, "PermanentRedirect", "", AccessDenied),
            *("not in region us-east-1", "Set region to the bucket's region"),
        ),
        (
            *(400, "AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>", AccessDenied),
            *("not in region us-east-1; it is in eu-west-1", "Set region to eu-west-1"),
        ),
        (503, "SlowDown", "", StoreUnavailable, "cannot serve", "try later"),
        (500, "InternalError", "", StoreUnavailable, "cannot serve", "try later"),
        (429, "TooManyRequests", "", StoreUnavailable, "cannot serve", "try later"),
        (507, "InsufficientStorage", "", NoSpace, "no room is left", "Free room"),
        (403, "QuotaExceeded", "", NoSpace, "no room is left", "Free room"),
        (400, "KMS.DisabledException", "", StoreError, "KMS.DisabledException", "is enabled"),
        (403, "InvalidObjectState", "", StoreError, "in an archive", "restore-object"),
        (501, "NotImplemented", "", StoreError, "NotImplemented", "lacks a feature"),
    ],
)
def test_each_refusal_has_its_words(
    sayer: Sayer, action: str, status: int, code: str, more: str, kind: type, words: str, hint: str
):
    sayer.says(status, code, more)
    options = StoreOptions(
        endpoint=sayer.endpoint,
        access_key_id="AK",
        secret_access_key=Secret("SK"),
        retry_seconds=0,
    )
    with pytest.raises(StoreError) as caught:
        ASK[action](open_store("s3://bucket/prefix", options))

    assert type(caught.value) is kind
    assert words in caught.value.message
    assert hint in (caught.value.hint or "")


def test_a_missing_blob_is_no_missing_bucket(seaweedfs: S3Server):
    store = opened(seaweedfs, seaweedfs.new_bucket())
    for action in ("get", "head", "copy"):
        with pytest.raises(BlobNotFound):
            ASK[action](store)


@pytest.mark.parametrize(
    ("scheme", "server", "hint"),
    [
        ("s3", "https://bucket.s3.us-east-1.amazonaws.com", "AWS_ACCESS_KEY_ID"),
        ("gs", "https://storage.googleapis.com", "GOOGLE_APPLICATION_CREDENTIALS"),
        ("az", "https://acct.blob.core.windows.net", "AZURE_STORAGE_ACCOUNT_KEY"),
    ],
)
def test_each_cloud_has_credentials_of_its_own(scheme: str, server: str, hint: str):
    asked = Asked(scheme, f"{scheme}://b/p", "b", server, "", "list")
    text = (
        "Error performing GET http://169.254.169.254/token?secret=hunter2 in 1s - HTTP error\n"
        "inner: Http(HttpError { kind: Connect, ConnectionRefused })"
    )
    error = translate(asked, text)

    assert isinstance(error, StoreUnavailable)
    assert hint in (error.hint or "")
    assert "hunter2" not in error.message


BY_BOTO3: dict[str, Callable[[Store], object]] = {
    "clean": lambda store: store.clean(["dead"]),
    "copy in parts": lambda store: store.copy("a", "b"),
}


@pytest.mark.parametrize("action", BY_BOTO3)
@pytest.mark.parametrize(
    ("status", "code", "kind", "words"),
    [
        (503, "SlowDown", StoreUnavailable, "cannot serve"),
        (400, "ExpiredToken", AccessDenied, "have expired"),
        (403, "RequestTimeTooSkewed", AccessDenied, "clock of this machine"),
        (404, "NoSuchBucket", AccessDenied, "no bucket 'bucket'"),
        (403, "InvalidAccessKeyId", AccessDenied, "does not accept the credentials"),
        (403, "AccessDenied", AccessDenied, "does not allow"),
    ],
)
def test_what_boto3_asks_for_is_refused_in_the_same_words(
    odd: OddServer,
    monkeypatch: pytest.MonkeyPatch,
    action: str,
    status: int,
    code: str,
    kind: type,
    words: str,
):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")

    def answer(request: Any) -> None:
        if request.command == "HEAD":
            say(request, 200, bytes(20), ETag='"e"', Last_Modified=DATE)
        else:
            say(request, status, f"<Error><Code>{code}</Code></Error>".encode())

    odd.answer = answer
    with pytest.raises(StoreError, match=words) as caught:
        BY_BOTO3[action](odd.store(copy_size_max=10))

    assert type(caught.value) is kind
    assert caught.value.hint


def test_a_role_that_may_not_be_taken_is_told_so(
    odd: OddServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """By STS, which a profile sends us to; one that is busy is asked again later."""
    config = tmp_path / "config"
    config.write_text(
        "[profile ops]\nrole_arn = arn:aws:iam::123456789012:role/r\nregion = us-east-1\n"
        "credential_source = Environment\n"
    )
    for name, value in {
        "AWS_CONFIG_FILE": str(config),
        "AWS_ACCESS_KEY_ID": "AK",
        "AWS_SECRET_ACCESS_KEY": "SK",
        "AWS_ENDPOINT_URL_STS": odd.endpoint,
        "AWS_MAX_ATTEMPTS": "1",
    }.items():
        monkeypatch.setenv(name, value)
    for status, code, kind in (
        (403, "AccessDenied", AccessDenied),
        (400, "Throttling", StoreUnavailable),
    ):
        body = f"<ErrorResponse><Error><Code>{code}</Code></Error></ErrorResponse>".encode()
        odd.answer = partial(say, status=status, body=body)
        store = odd.store(profile="ops", access_key_id=None, secret_access_key=None)
        with pytest.raises(StoreError) as caught:
            store.put("a", b"1")
        assert type(caught.value) is kind
