"""
Where a bucket of AWS lies, if nobody says so: S3 is asked, once, and believed within reason.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from litekeep.errors import AccessDenied, ConfigError, StoreError, StoreUnavailable
from litekeep.secret import Secret
from litekeep.store.base import Store
from litekeep.store.open import open_store
from litekeep.store.options import StoreOptions
from tests.guide import policy_for
from tests.servers.aws import AmazonFront
from tests.servers.iam import keys_of_role
from tests.servers.metadata import MetadataServer
from tests.servers.odd import OddServer, say

TOKYO = "ap-northeast-1"


@pytest.fixture
def there(amazon: AmazonFront, no_cloud_environment: pytest.MonkeyPatch) -> AmazonFront:
    """AWS, as this process sees it."""
    for name, value in amazon.environ.items():
        no_cloud_environment.setenv(name, value)
    return amazon


def opened(front: AmazonFront, bucket: str, **changes: Any) -> Store:
    """The store, with keys that are given; nothing names a region."""
    options = StoreOptions(
        access_key_id=front.server.access_key,
        secret_access_key=Secret(front.server.secret_key),
        retry_seconds=0,
        timeout_seconds=5,
    )
    return open_store(f"s3://{bucket}/p", replace(options, **changes))


@pytest.mark.parametrize("region", [TOKYO, "us-east-1"])
@pytest.mark.parametrize("is_in_path", [False, True])
def test_a_bucket_is_found_wherever_it_is(there: AmazonFront, region: str, is_in_path: bool):
    store = opened(there, there.new_bucket(region), path_style=is_in_path)
    assert there.seen == [], "opening a store asked S3"
    store.put("name", b"body")
    assert [blob.name for blob in store.list()] == ["name"]

    search, *others = there.seen
    assert there.searches == [search], "it was asked for more than once"
    assert (search.region, search.headers.get("Authorization")) == ("us-east-1", None)
    assert {(each.region, each.scope) for each in others} == {(region, region)}


def test_a_process_asks_once_for_a_bucket(there: AmazonFront):
    """All stores in it, on all threads."""
    bucket = there.new_bucket(TOKYO)
    stores = [opened(there, bucket) for _ in range(6)]
    threads = [
        threading.Thread(target=store.put, args=(f"name-{index}", b"body"))
        for index, store in enumerate(stores)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(list(opened(there, bucket).list())) == len(stores)
    assert len(there.searches) == 1


def test_who_names_a_region_is_believed(
    there: AmazonFront, no_cloud_environment: pytest.MonkeyPatch
):
    bucket = there.new_bucket(TOKYO)
    opened(there, bucket, region=TOKYO).put("name", b"body")
    no_cloud_environment.setenv("AWS_DEFAULT_REGION", TOKYO)
    opened(there, bucket).put("name", b"body")

    assert there.searches == []


ASK: dict[str, Callable[[Store], object]] = {
    "put": lambda store: store.put("name", b"body"),
    "head": lambda store: store.head("name"),
    "list": lambda store: list(store.list()),
    "get": lambda store: store.read("name", size_max=9),
}


@pytest.mark.parametrize("action", ASK)
def test_who_names_a_wrong_region_is_told_the_right_one(there: AmazonFront, action: str):
    bucket = there.new_bucket(TOKYO)
    with pytest.raises(AccessDenied) as caught:
        ASK[action](opened(there, bucket, region="eu-west-1"))

    said = f"bucket {bucket!r} is not in region eu-west-1; it is in {TOKYO}"
    assert caught.value.message == said
    assert caught.value.hint == f"Set region to {TOKYO}."
    assert not there.seen[0].is_search, "it was asked for before it was needed"


def test_another_server_than_amazon_is_not_asked(
    there: AmazonFront, no_cloud_environment: pytest.MonkeyPatch
):
    with OddServer() as odd:
        odd.answer = lambda request: say(request, 200, ETag='"e"')
        opened(there, "bucket", endpoint=odd.endpoint).put("name", b"body")
        assert [method for method, _, _ in odd.seen] == ["PUT"]
        assert "/us-east-1/s3/" in odd.seen[0][2]["authorization"]
    assert there.seen == []


def test_boto3_goes_to_the_same_region(there: AmazonFront):
    """Uploads left open, copies in parts: and if it is the first that asks, it finds it too."""
    bucket = there.new_bucket(TOKYO)
    there.server.client().create_multipart_upload(Bucket=bucket, Key="p/left")
    assert [line.split(",")[0] for line in opened(there, bucket).clean(["left"])] == [
        "aborted the upload of left"
    ]
    store = opened(there, bucket, copy_size_max=3)
    store.put("name", b"body")
    store.copy("name", "other")

    search, *others = there.seen
    assert search.is_search and there.searches == [search]
    assert {(each.region, each.scope) for each in others} == {(TOKYO, TOKYO)}
    assert any(each.headers.get("x-amz-copy-source-range") for each in others)


@pytest.mark.parametrize(
    ("status", "more"),
    [
        (403, {}),
        (200, {}),
        (403, {"x_amz_bucket_region": "evil.example/?"}),
        (301, {"x_amz_bucket_region": "a" * 3000}),
        (307, {"Location": "https://elsewhere.invalid/"}),
    ],
)
def test_an_answer_that_names_no_region_leaves_the_usual_one(
    there: AmazonFront, status: int, more: dict[str, str]
):
    bucket = there.new_bucket("us-east-1")
    there.search = lambda request: say(request, status, **more)
    store = opened(there, bucket)
    store.put("name", b"body")
    store.put("other", b"body")

    assert len(there.searches) == 1
    assert {each.region for each in there.seen} == {"us-east-1"}


@pytest.mark.parametrize("status", [500, 503, 429])
def test_who_cannot_say_now_is_asked_again(there: AmazonFront, status: int):
    bucket = there.new_bucket(TOKYO)
    there.search = lambda request: say(request, status)
    with pytest.raises(StoreUnavailable, match="cannot say now") as caught:
        opened(there, bucket).put("name", b"body")
    assert "AWS_REGION" in (caught.value.hint or "")
    assert len(there.seen) == 1, "it went on without knowing"

    there.search = None
    opened(there, bucket).put("name", b"body")
    assert there.seen[-1].region == TOKYO


def test_a_silent_server_is_unavailable_and_patience_finds_it(there: AmazonFront):
    """The answer is lost once; the store's own patience asks again."""
    bucket = there.new_bucket(TOKYO)

    def lose(request: Any) -> None:
        there.search = None
        request.close_connection = True

    there.search = lose
    with pytest.raises(StoreUnavailable, match="does not answer"):
        opened(there, bucket).put("name", b"body")
    there.search = lose
    opened(there, bucket, retry_seconds=5).put("name", b"body")

    assert len(there.searches) == 3


def test_a_bucket_that_is_nowhere_is_said_to_be(there: AmazonFront):
    """And found once it is there."""
    store = opened(there, "litekeep-nowhere")
    with pytest.raises(AccessDenied, match="there is no bucket 'litekeep-nowhere'"):
        store.put("name", b"body")
    with pytest.raises(AccessDenied, match="there is no bucket"):
        list(store.list())

    assert len(there.searches) == 2, "that there is none was remembered"


def test_a_stranger_in_between_is_not_believed(
    there: AmazonFront, no_cloud_environment: pytest.MonkeyPatch
):
    bucket = there.new_bucket(TOKYO)
    no_cloud_environment.delenv("AWS_CA_BUNDLE")
    with pytest.raises(StoreError, match="is not trusted") as caught:
        opened(there, bucket).put("name", b"body")

    assert "AWS_CA_BUNDLE" in (caught.value.hint or "")
    assert there.seen == []


@pytest.fixture
def instance(there: AmazonFront, no_cloud_environment: Any) -> Iterator[MetadataServer]:
    """A machine of EC2 in Oregon, with a role that may do what the guide allows."""
    role = keys_of_role(there.server, f"role-{id(there)}", policy_for("*"))
    with MetadataServer(*role[:2], token=role[2]) as metadata:
        metadata.region = "us-west-2"
        no_cloud_environment.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.endpoint)
        yield metadata


@pytest.mark.parametrize(
    ("said", "asked"), [("us-west-2", "us-west-2"), ("evil.example#", "us-east-1")]
)
def test_an_instance_asks_the_region_that_it_is_in(
    there: AmazonFront, instance: MetadataServer, said: str, asked: str
):
    """Its network may lead to no other."""
    instance.region = said
    bucket = there.new_bucket(TOKYO)
    store = open_store(f"s3://{bucket}/sqlite-backup", StoreOptions(retry_seconds=0))
    store.put("name", b"body")

    assert [each.region for each in there.seen] == [asked, TOKYO]
    assert instance.requests[:2] == [
        "PUT /latest/api/token",
        "GET /latest/meta-data/placement/region",
    ]


def test_an_answer_without_a_region_leaves_that_of_the_instance(
    there: AmazonFront, instance: MetadataServer
):
    bucket = there.new_bucket("us-west-2")
    there.search = lambda request: say(request, 403)
    open_store(f"s3://{bucket}/sqlite-backup", StoreOptions(retry_seconds=0)).put("name", b"body")

    assert [each.region for each in there.seen] == ["us-west-2", "us-west-2"]


def test_the_address_of_metadata_is_no_file(no_cloud_environment: pytest.MonkeyPatch):
    no_cloud_environment.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "file:///etc")
    with pytest.raises(ConfigError, match="is not an http URL"):
        open_store("s3://bucket/p")
