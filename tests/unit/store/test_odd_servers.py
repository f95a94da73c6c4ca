"""
What a server says that keeps to no rule: hostile, broken, or only odd.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from litekeep.errors import AccessDenied, BlobChanged, BlobNotFound, StoreError, StoreUnavailable
from litekeep.store.base import PIECE_SIZE_MAX, Store
from litekeep.store.memory import MemoryStore
from litekeep.store.open import open_store
from tests.servers.odd import DATE, OddServer, blob, listing, say
from tests.servers.s3 import S3Server

pytestmark = pytest.mark.usefixtures("no_cloud_environment")

MIB = 1 << 20
AWS = "litekeep.store.objects.ObjectsStore._lists_in_order"


def content(store: Store, **range_of: Any) -> bytes:
    return b"".join(store.get("a", **range_of))


def names(store: Store, prefix: str = "") -> list[str]:
    return [found.name for found in store.list(prefix)]


def test_no_more_is_taken_than_was_asked_for(odd: OddServer):
    """A range of 1,000 bytes is answered with 64 MiB."""
    sent = 0

    def answer(request: Any) -> None:
        nonlocal sent
        facts = {"Content_Range": "bytes 0-999/1000", "Last_Modified": DATE, "ETag": '"e"'}
        say(request, 206, **facts, Content_Length=str(64 * MIB))
        while sent < 64 * MIB:
            request.wfile.write(bytes(MIB))
            sent += MIB

    odd.answer = answer
    assert content(odd.store(), size=1000) == bytes(1000)
    assert sent < 32 * MIB


def test_a_blob_that_grows_while_it_is_read_is_too_large():
    """Whatever a store yields, `read` keeps no more than it may."""

    class Endless(MemoryStore):
        def get(self, name, **range_of):
            while True:
                yield bytes(PIECE_SIZE_MAX)

    with pytest.raises(StoreError, match="is larger than 10 bytes"):
        Endless().read("a", size_max=10)


@pytest.mark.parametrize("size", [1000, 5 * MIB])
def test_an_answer_that_is_too_short_is_no_answer(odd: OddServer, size: int):
    odd.answer = lambda request: say(
        request,
        206,
        b"z" * 10,
        Content_Range=f"bytes 0-{size - 1}/{size}",
        Last_Modified=DATE,
        ETag='"e"',
    )
    with pytest.raises(StoreUnavailable, match=f"{size - 10} of the {size} bytes"):
        content(odd.store(), size=size, version="e")


@pytest.mark.parametrize("is_aws", [True, False])
@pytest.mark.parametrize("keys", [("pre/a", "pre/b"), ("other/a",), ("pre/folder/",)])
def test_a_list_that_repeats_itself_ends(
    odd: OddServer, monkeypatch: pytest.MonkeyPatch, is_aws: bool, keys: tuple[str, ...]
):
    monkeypatch.setattr(AWS, is_aws)
    monkeypatch.setattr("litekeep.store.bucket.LISTED_AT_ONCE", 1)
    monkeypatch.setattr("litekeep.store.listing.REPEATED_COUNT_MAX", 10)
    more = "<IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken>"
    odd.answer = lambda request: say(request, 200, listing(*keys, more=more))
    with pytest.raises(StoreError, match="again and again"):
        names(odd.store())


def test_keys_that_do_not_ascend_are_refused_where_they_must(
    odd: OddServer, monkeypatch: pytest.MonkeyPatch
):
    odd.answer = lambda request: say(request, 200, listing("pre/b", "pre/a"))
    assert names(odd.store()) == ["a", "b"]

    monkeypatch.setattr(AWS, True)
    with pytest.raises(StoreError, match="in no order"):
        names(odd.store())


def test_other_keys_and_repeated_ones_are_not_listed(odd: OddServer):
    odd.answer = lambda request: say(
        request, 200, listing("other/a", "pre", "pre/a", "pre/a", "prefix/b", "pre/.x.meta")
    )
    assert names(odd.store()) == ["a"]


@pytest.mark.parametrize("is_aws", [True, False])
def test_folders_of_programs_that_show_trees_are_no_blobs(
    seaweedfs: S3Server, moto_s3: S3Server, monkeypatch: pytest.MonkeyPatch, is_aws: bool
):
    """They end in a slash, which the list loses; an empty blob of another name is one."""
    monkeypatch.setattr(AWS, is_aws)
    for server in (moto_s3,) if is_aws else (moto_s3, seaweedfs):
        bucket = server.new_bucket()
        store = open_store(f"s3://{bucket}/p", server.options())
        store.put("2025/empty", b"")
        store.put("2025-a", b"data")
        for key in ("p/", "p/2025/", "p/other/"):
            server.client().put_object(Bucket=bucket, Key=key, Body=b"")

        assert names(store) == ["2025-a", "2025/empty"]


@pytest.mark.parametrize("name", ["x-amz-meta-", "x-amz-meta-:"])
def test_metadata_without_a_name_is_none(odd: OddServer, name: str):
    def answer(request: Any) -> None:
        request.send_response(200)
        request.send_header(name, "value")
        request.send_header("x-amz-meta-a", "1")
        request.send_header("Last-Modified", DATE)
        request.send_header("Content-Length", "1")
        request.end_headers()

    odd.answer = answer
    assert odd.store().head("a").metadata["a"] == "1"


def test_a_weak_version_is_compared_here(odd: OddServer):
    """No condition matches it, so a server that is asked for it always says no."""
    etags = iter(['W/"1"'] * 4 + ['W/"2"'])
    body = bytes(3 * MIB)

    def answer(request: Any) -> None:
        if "If-Match" in request.headers:
            say(request, 412)
            return
        blob(request, body, ETag=next(etags))

    odd.answer = answer
    store = odd.store()
    assert store.head("a").version == 'W/"1"'
    assert content(store) == body  # head, get
    with pytest.raises(BlobChanged):
        content(store)


def test_a_small_request_has_a_bound_in_time(odd: OddServer):
    """Silence is not the only way to keep somebody waiting: a byte a second is another."""

    def drip(request: Any) -> None:
        request.send_response(206 if "Range" in request.headers else 200)
        request.send_header("Content-Length", "1000")
        request.send_header("Content-Range", "bytes 0-999/1000")
        request.send_header("Last-Modified", DATE)
        request.end_headers()
        for _ in range(1000):
            request.wfile.write(b" ")
            request.wfile.flush()
            time.sleep(0.1)

    odd.answer = drip
    store = odd.store(timeout_seconds=1, request_seconds=1.5)
    began = time.monotonic()
    for ask in (lambda: names(store), lambda: content(store, size=1000)):
        with pytest.raises(StoreUnavailable):
            ask()
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (400, "ExpiredToken", "have expired"),
        (403, "RequestTimeTooSkewed", "clock"),
        (301, "PermanentRedirect", "not in region"),
    ],
)
def test_a_refused_head_has_its_reason_at_any_time(
    odd: OddServer, status: int, code: str, words: str
):
    """Also after the server has done what it was asked: credentials expire."""
    store = odd.store()
    odd.answer = lambda request: say(request, 200, ETag='"e"')
    store.put("a", b"1")
    odd.answer = lambda request: say(
        request, status, f"<Error><Code>{code}</Code></Error>".encode()
    )
    with pytest.raises(AccessDenied, match=words):
        store.head("a")


def test_a_small_blob_is_one_request(odd: OddServer):
    """Most of what a list of restore points asks for."""
    odd.answer = lambda request: blob(request, b"{}")
    assert odd.store().read("a.json", size_max=MIB) == b"{}"

    assert [method for method, _, _ in odd.seen] == ["GET"]


ODD_KEYS = ("p/reports//x.csv", "p/a/../b", "p/./c", "p//d")


@pytest.mark.parametrize("has_boto3", [True, False])
@pytest.mark.parametrize("is_aws", [True, False])
def test_a_key_that_is_no_name_hides_no_other(
    moto_s3: S3Server, monkeypatch: pytest.MonkeyPatch, has_boto3: bool, is_aws: bool
):
    """Two slashes, most often.  Without boto3, folder by folder: only its own is lost."""
    monkeypatch.setattr("litekeep.store.objects.has_boto3", lambda: has_boto3)
    monkeypatch.setattr(AWS, is_aws)
    bucket = moto_s3.new_bucket()
    store = open_store(f"s3://{bucket}/p", moto_s3.options())
    wanted = ["2025/09/app.gz", "2025/09/app.gz.json", "latest.gz", "reports-a"]
    for name in wanted:
        store.put(name, b"data")
    client = moto_s3.client()
    client.put_object(Bucket=bucket, Key="p/reports/deep//x.csv", Body=b"1")
    assert [b.name for b in store.list("2025/")] == wanted[:2]
    if has_boto3:
        for key in ODD_KEYS:
            client.put_object(Bucket=bucket, Key=key, Body=b"1")
        for _ in range(2):
            assert names(store) == wanted
        assert [b.name for b in store.list("", start_after="latest.gz")] == ["reports-a"]
        assert store.head("latest.gz").version == next(iter(store.list("latest"))).version
    else:
        assert names(store) == wanted
        with pytest.raises(StoreError, match="p/reports/deep//") as caught:
            names(store, "reports/deep/x")
        assert "boto3" in (caught.value.hint or "")
        client.put_object(Bucket=bucket, Key="p/2025//x", Body=b"1")
        with pytest.raises(StoreError, match="p/2025//"):
            names(store)  # what is behind it would be taken for nothing
        assert names(store, "l") == ["latest.gz"]


def uploading(odd: OddServer, *, has_blob: bool) -> Callable[[Any], None]:
    """A server that completes an upload, or not, and then knows nothing of it."""
    attributes: dict[str, str] = {}

    def answer(request: Any) -> None:
        if request.command == "POST" and "uploads" in request.path:
            attributes["x_amz_meta_id"] = request.headers.get("x-amz-meta-id", "")
            kind = "InitiateMultipartUploadResult"
            facts = "<Bucket>bucket</Bucket><Key>pre/a</Key><UploadId>u</UploadId>"
            say(request, 200, f"<{kind}>{facts}</{kind}>".encode())
        elif request.command == "POST":
            say(request, 404, b"<Error><Code>NoSuchUpload</Code></Error>")
        elif request.command == "PUT":
            say(request, 200, ETag='"p"')
        elif request.command == "DELETE" or not has_blob:
            say(request, 204 if request.command == "DELETE" else 404)
        else:
            say(request, 200, bytes(20 * MIB), Last_Modified=DATE, ETag='"e"', **attributes)

    return answer


def test_an_upload_whose_completion_was_not_heard_of_is_looked_for(odd: OddServer):
    """The answer was lost, and the next attempt hears that there is no such upload."""
    body = [bytes(MIB)] * 20
    odd.answer = uploading(odd, has_blob=True)
    assert odd.store().put("a", body, metadata={"id": "ours"}).version == "e"
    with pytest.raises(StoreUnavailable):
        odd.store().put("a", body)  # nothing tells it from an older one

    odd.answer = uploading(odd, has_blob=False)
    with pytest.raises(StoreUnavailable, match="was aborted"):
        odd.store().put("a", body, metadata={"id": "ours"})


def test_a_name_that_is_too_long_behind_its_prefix_is_refused(odd: OddServer):
    store = open_store("s3://bucket/" + "p" * 200, odd.options)
    name = "/".join(["n" * 200] * 4) + "/" + "n" * 30
    with pytest.raises(StoreError, match="longer than the 1024 bytes"):
        store.put(name, b"body")
    with pytest.raises(StoreError, match="longer than the 1024 bytes"):
        store.head(name)
    assert odd.seen == []


def test_a_missing_blob_stays_missing(odd: OddServer):
    odd.answer = lambda request: say(request, 404, b"<Error><Code>NoSuchKey</Code></Error>")
    with pytest.raises(BlobNotFound):
        odd.store().head("a")
