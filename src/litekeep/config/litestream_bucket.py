"""
Where a replica on S3 lies: Litestream's bucket, endpoint and region, as ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

#: Hosts that name bucket and server at once; Litestream takes them apart, and so do we.
_HOSTS = (
    (r"(?P<bucket>.+)\.s3[.-](?P<region>[^.]+)\.amazonaws\.com", None),
    (r"(?P<bucket>.+)\.s3\.amazonaws\.com", None),
    (r"(?P<bucket>.+)\.(?P<host>s3\.(?P<region>[^.]+)\.backblazeb2\.com)", "https"),
    (r"(?P<bucket>.+)\.(?P<host>(?P<region>[^.]+)\.digitaloceanspaces\.com)", "https"),
    (r"(?P<bucket>.+)\.(?P<host>(?P<region>[^.]+)\.linodeobjects\.com)", "https"),
    (r"(?P<bucket>.+)\.(?P<host>s3\.(?P<region>[^.]+)\.scw\.cloud)", "https"),
    (r"(?P<bucket>.+)\.(?P<host>s3\.filebase\.com)", "https"),
    (r"(?P<bucket>.+)\.(?P<host>localhost(?::\d+)?)", "http"),
)


def bucket_of(
    values: Mapping[str, Any],
    text: Mapping[str, str],
    bucket: str,
    inside: str,
    query: Mapping[str, str],
) -> dict[str, str | bool]:
    """
    Return the URL of a bucket and how to reach it, by our keys.

    Args:
        values: What the replica says, by Litestream's keys.

        text: The same, as texts with their variables filled in.

        bucket: Its name, or a host that names it.

        inside: The folder in it.

        query: The parameters of the replica's URL.
    """
    endpoint = text.get("endpoint", query.get("endpoint", ""))
    region = text.get("region", query.get("region", ""))
    for pattern, scheme in _HOSTS:
        match = re.fullmatch(pattern, bucket)
        if match is not None:
            found = match.groupdict()
            bucket, region = found["bucket"], region or found.get("region") or ""
            endpoint = endpoint or (f"{scheme}://{found['host']}" if scheme else "")
            break
    if endpoint and "://" not in endpoint:
        endpoint = f"https://{endpoint}"
    reached: dict[str, str | bool] = {
        "url": f"s3://{bucket}/{quote(inside)}" if inside else f"s3://{bucket}"
    }
    reached |= {"endpoint": endpoint} if endpoint else {}
    reached |= {"region": region} if region else {}
    style = values.get("force-path-style", query.get("forcePathStyle"))
    if style is not None:
        reached["path_style"] = str(style).lower() == "true"
    if key := text.get("sse-kms-key-id"):
        reached |= {"encryption": "aws:kms", "kms_key_id": key}
    if storage_class := text.get("storage-class"):
        reached["storage_class"] = storage_class
    return reached
