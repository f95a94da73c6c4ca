"""
What becomes of bytes on their way into S3: encryption, classes, parts, what is left open.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import pytest

from litekeep import faults
from litekeep.errors import AccessDenied, ConfigError
from litekeep.store import multipart
from litekeep.store.base import Store
from litekeep.store.feed import PART_SIZE_MIN, UPLOAD_MEMORY, part_size_for
from litekeep.store.objects import ObjectsStore
from litekeep.store.open import open_store
from litekeep.store.options import StoreOptions
from tests.servers.s3 import S3Server

MIB = 1 << 20
METADATA = {"litekeep-id": "x", "note": "kept"}


@pytest.fixture
def bucket(seaweedfs: S3Server) -> str:
    return seaweedfs.new_bucket()


def opened(server: S3Server, bucket: str, **changes) -> Store:
    return open_store(f"s3://{bucket}/p", server.options(**changes))


@pytest.mark.parametrize("size", [10, 20 * MIB])
def test_encryption_and_class_are_asked_for(seaweedfs: S3Server, bucket: str, size: int):
    body = [bytes(MIB)] * (size // MIB) or bytes(size)
    opened(seaweedfs, bucket, encryption="AES256").put("sse", body)
    kms = opened(seaweedfs, bucket, encryption="aws:kms", kms_key_id="some-key")
    kms.put("kms", body)
    kms.copy("sse", "copied")
    opened(seaweedfs, bucket, storage_class="STANDARD_IA").put("class", body)

    client = seaweedfs.client()
    heads = {
        name: client.head_object(Bucket=bucket, Key=f"p/{name}")
        for name in ("sse", "kms", "copied", "class")
    }
    assert heads["sse"]["ServerSideEncryption"] == "AES256"
    assert heads["kms"]["SSEKMSKeyId"] == "some-key"
    assert heads["copied"]["SSEKMSKeyId"] == "some-key"
    # Small blobs are billed as large ones there, so they stay where they are.
    assert heads["class"].get("StorageClass") == ("STANDARD_IA" if size >= MIB else None)
    assert kms.head("kms").size == size
    assert b"".join(kms.get("kms")) == bytes(size)


@pytest.mark.parametrize("checksum", ["sha256", "crc64nvme"])
def test_checksums_go_along(seaweedfs: S3Server, bucket: str, checksum: str):
    store = opened(seaweedfs, bucket, checksum=checksum)
    data = os.urandom(9 * MIB)
    store.put("small", b"data")
    store.put("large", [data, data])

    assert store.read("small", size_max=4) == b"data"
    assert b"".join(store.get("large")) == data * 2


def test_options_that_contradict_are_refused(seaweedfs: S3Server, bucket: str):
    with pytest.raises(ConfigError, match="kms_key_id"):
        opened(seaweedfs, bucket, kms_key_id="key")
    with pytest.raises(ConfigError, match="cannot be opened"):
        opened(seaweedfs, bucket, checksum="md5")


def test_parts_always_suffice_and_fit_into_memory():
    for power in range(20, 43):
        part_size = part_size_for(1 << power)
        assert part_size * 10_000 >= 1 << power
        assert part_size >= PART_SIZE_MIN
    assert part_size_for(300 * 10**9) <= UPLOAD_MEMORY


@pytest.mark.parametrize("has_boto3", [True, False])
def test_a_blob_too_large_for_one_copy_is_copied_in_parts(
    seaweedfs: S3Server, bucket: str, has_boto3: bool, monkeypatch: pytest.MonkeyPatch
):
    """On the server with boto3; without it, read and put again."""
    monkeypatch.setattr("litekeep.store.objects.has_boto3", lambda: has_boto3)
    store = opened(seaweedfs, bucket, copy_size_max=10 * MIB)
    data = os.urandom(70 * MIB)
    store.put("large", [data], metadata=METADATA)
    steps: list[str] = []
    faults.listen(steps.append)
    try:
        store.copy("large", "latest")
    finally:
        faults.listen(None)

    assert ("get p/large" in steps or "get large" in steps) is not has_boto3
    assert b"".join(store.get("latest")) == data
    assert store.head("latest").metadata == METADATA
    assert seaweedfs.open_uploads(bucket) == []


def begin_upload(server: S3Server, bucket: str, key: str) -> None:
    client = server.client()
    upload = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"part")


def test_only_uploads_that_nobody_will_finish_are_aborted(seaweedfs: S3Server, bucket: str):
    """By name where a dead run is known; else by age; never outside of the prefix."""
    keys = ["other/dead", "p/dead", "p/live", "p2/dead"]
    for key in keys:
        begin_upload(seaweedfs, bucket, key)
    store = opened(seaweedfs, bucket)
    assert list(store.clean()) == []
    assert seaweedfs.open_uploads(bucket) == keys

    assert list(store.clean(["dead"])) == [
        f"aborted the upload of dead, left open in s3://{bucket}/p"
    ]
    assert seaweedfs.open_uploads(bucket) == ["other/dead", "p/live", "p2/dead"]

    later = datetime.now(UTC) + multipart.UPLOAD_AGE_MAX + timedelta(minutes=1)
    old = ObjectsStore("s3", bucket, "p", seaweedfs.options(), clock=lambda: later)
    assert len(old.clean()) == 1
    assert seaweedfs.open_uploads(bucket) == ["other/dead", "p2/dead"]


def test_cleaning_says_what_it_may_not_or_cannot_do(
    seaweedfs: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
):
    forbidden = open_store(f"s3://{bucket}/p", seaweedfs.options("none"))
    with pytest.raises(AccessDenied) as caught:
        forbidden.clean(["dead"])
    assert "s3:ListBucketMultipartUploads" in (caught.value.hint or "")

    monkeypatch.setattr("litekeep.store.multipart.has_boto3", lambda: False)
    store = opened(seaweedfs, bucket)
    assert list(store.clean()) == []
    assert "boto3" in next(iter(store.clean(["dead"])))


@pytest.mark.usefixtures("no_cloud_environment")
def test_a_store_without_credentials_is_not_asked_for_open_uploads(seaweedfs: S3Server):
    """It would ask the shared files and the instance for somebody's."""
    options = StoreOptions(endpoint=seaweedfs.endpoint, is_anonymous=True, retry_seconds=0)

    assert list(open_store("s3://bucket/p", options).clean(["dead"])) == []
