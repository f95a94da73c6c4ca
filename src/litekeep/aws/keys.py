"""
The keys of a bucket, all of them: also those that obstore cannot list.

A key may hold an empty segment, "." or "..": programs that put two slashes make one.
obstore gives the whole page up then, which holds 1,000 keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from litekeep.aws.credentials import Access, client, explained


@dataclass(frozen=True, slots=True)
class Key:
    """One object, as a list tells of it."""

    name: str
    size: int
    modified: datetime
    etag: str


def pages(access: Access, bucket: str, folder: str, start_after: str) -> Iterator[Sequence[Key]]:
    """Yield the keys below *folder*, behind *start_after*, in the server's order."""
    prefix = f"{folder}/" if folder else ""
    with explained(access):
        found = client(access).get_paginator("list_objects_v2")
        for page in found.paginate(Bucket=bucket, Prefix=prefix, StartAfter=start_after):
            yield [
                Key(item["Key"], item["Size"], item["LastModified"], item["ETag"].strip('"'))
                for item in page.get("Contents", [])
            ]
