"""
What an S3 store does with multipart uploads by hand: see `aws/uploads.py`, which needs boto3.

An open upload does not say who began it.  So two rules decide what may go: its
name is one that a run was putting which the caller knows to be dead; or it is
older than `UPLOAD_AGE_MAX`, which no live upload is.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta

from litekeep.aws import uploads
from litekeep.aws.credentials import Access, has_boto3
from litekeep.store.bucket import Bucket
from litekeep.store.options import StoreOptions

#: The lifecycle rule that AWS proposes says the same.
UPLOAD_AGE_MAX = timedelta(days=7)


def clean_uploads(
    access: Access, bucket: Bucket, unfinished: AbstractSet[str], *, at: datetime
) -> list[str]:
    """
    Abort the uploads below the prefix of *bucket* that nobody will finish.

    Args:
        unfinished: Names that dead runs were putting.

        at: Now.

    Returns:
        A line for a person on each, or on what could not be looked for.
    """
    place, prefix = bucket.url, bucket.prefix
    if not has_boto3():
        line = f"uploads left open in {place} were not looked for: it needs boto3"
        return [line] if unfinished else []
    lines = []
    with bucket.asking_boto3("list uploads"):
        found = list(uploads.open_uploads(access, bucket.name, prefix))
    for upload in found:
        name = upload.key.removeprefix(prefix)
        # Without a prefix the whole bucket is below it, and other programs' uploads too.
        is_old = bool(prefix) and at - upload.begun > UPLOAD_AGE_MAX
        if name in unfinished or is_old:
            with bucket.asking_boto3("abort", name):
                uploads.abort_upload(access, bucket.name, upload)
            lines.append(f"aborted the upload of {name}, left open in {place}")
    return lines


def copy_settings(options: StoreOptions) -> dict[str, str]:
    """
    Return what the upload of a copy is begun with.

    No storage class, as where the server copies by one request: what is copied is
    replaced by the next copy, and cheaper classes bill for thirty days at least.
    """
    settings = {
        "ServerSideEncryption": options.encryption,
        "SSEKMSKeyId": options.kms_key_id,
    }
    return {name: value for name, value in settings.items() if value}
