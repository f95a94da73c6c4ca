"""
Multipart uploads, where they must be handled one by one: what was left open, and
copies above the 5 GiB that one request can copy.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html

What S3 refuses comes out as `credentials.Refused`, for the store to put into words.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from litekeep import faults
from litekeep.aws.credentials import Access, Refused, client, explained

PART_COUNT_MAX = 10_000
COPY_PART_SIZE_MIN = 64 << 20


@dataclass(frozen=True, slots=True)
class Upload:
    """A multipart upload that was neither completed nor aborted."""

    key: str
    id: str
    begun: datetime


def open_uploads(access: Access, bucket: str, prefix: str) -> Iterator[Upload]:
    """Yield the open uploads whose key starts with *prefix*."""
    with explained(access):
        pages = client(access).get_paginator("list_multipart_uploads")
        for page in pages.paginate(Bucket=bucket, Prefix=prefix):
            for found in page.get("Uploads", []):
                # Some servers take the prefix as a hint.
                if found["Key"].startswith(prefix):
                    yield Upload(found["Key"], found["UploadId"], found["Initiated"])


def abort_upload(access: Access, bucket: str, upload: Upload) -> None:
    """Remove the parts of an open upload; one that is gone is a success."""
    faults.reach(f"abort {upload.key}")
    try:
        with explained(access):
            client(access).abort_multipart_upload(Bucket=bucket, Key=upload.key, UploadId=upload.id)
    except Refused as error:
        if error.code != "NoSuchUpload":
            raise


def copy_in_parts(
    access: Access,
    bucket: str,
    source: str,
    target: str,
    *,
    settings: dict[str, str],
    part_size_min: int = COPY_PART_SIZE_MIN,
) -> None:
    """
    Copy a blob of any size on the server, metadata included.

    Args:
        settings: More arguments of CreateMultipartUpload: encryption, storage class.

        part_size_min: Parts are larger where 10,000 of them would not suffice.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    with explained(access):
        s3 = client(access)
        head = s3.head_object(Bucket=bucket, Key=source)
        size = head["ContentLength"]
        part_size = max(part_size_min, -(-size // PART_COUNT_MAX))
        faults.reach(f"copy {target}")
        upload = s3.create_multipart_upload(
            Bucket=bucket,
            Key=target,
            Metadata=head.get("Metadata", {}),
            ContentType=head.get("ContentType", "application/octet-stream"),
            **settings,
        )["UploadId"]
        where = {"Bucket": bucket, "Key": target, "UploadId": upload}
        try:
            parts = _copy_parts(s3, where, source, head["ETag"], size, part_size)
            s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
        except BaseException:
            with suppress(BotoCoreError, ClientError):  # `clean` removes it
                s3.abort_multipart_upload(**where)
            raise


def _copy_parts(
    s3: Any, where: dict[str, str], source: str, etag: str, size: int, part_size: int
) -> list[dict[str, Any]]:
    parts = []
    for number, start in enumerate(range(0, size, part_size), 1):
        faults.reach(f"part {where['Key']}")
        answer = s3.upload_part_copy(
            **where,
            PartNumber=number,
            CopySource={"Bucket": where["Bucket"], "Key": source},
            CopySourceIfMatch=etag,  # the source must not change under way
            CopySourceRange=f"bytes={start}-{min(size, start + part_size) - 1}",
        )
        parts.append({"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]})
    return parts
