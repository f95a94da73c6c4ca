"""
How names, metadata and versions travel: between a blob and an object.

    blob                        S3, Google              Azure: identifiers only
    name                        prefix and name
    metadata litekeep-id        x-amz-meta-litekeep-id  x-ms-meta-litekeep_id
    version                     ETag; generation        ETag

obstore names the attributes that every object has with capitals, metadata without.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from litekeep.errors import StoreError

KEY_SIZE_MAX = 1024

#: Cheaper storage classes bill at least this much per blob.
STORAGE_CLASS_SIZE_MIN = 128 * 1024


def key_of(prefix: str, name: str, url: str) -> str:
    """
    Return the key of the blob *name* of the store at *url*.

    Raises:
        StoreError: It is too long.
    """
    key = prefix + name
    if len(key.encode()) > KEY_SIZE_MAX:
        raise StoreError(
            f"{url}/{name} is longer than the {KEY_SIZE_MAX} bytes of a key",
            hint="Use a shorter prefix.",
        )
    return key


def attributes_of(
    scheme: str, metadata: Mapping[str, str] | None, storage_class: str | None, size: int
) -> dict[Any, str]:
    """Return obstore's attributes for a blob of *size* bytes, or more."""
    attributes = {"Content-Type": "application/octet-stream"}
    if storage_class and size >= STORAGE_CLASS_SIZE_MIN:
        attributes["Storage-Class"] = storage_class
    for name, value in (metadata or {}).items():
        attributes[name.replace("-", "_") if scheme == "az" else name] = value
    return attributes


def metadata_of(scheme: str, attributes: Mapping[Any, str]) -> dict[str, str]:
    """
    Return the metadata among obstore's *attributes*.

    >>> metadata_of("az", {"Content-Type": "text/plain", "litekeep_id": "x", "": "of no name"})
    {'litekeep-id': 'x'}
    """
    return {
        name.replace("_", "-") if scheme == "az" else name: value
        for name, value in attributes.items()
        if name and not name[0].isupper()
    }


def version_of(scheme: str, meta: Any) -> str:
    """
    Return what changes with the bytes of the object that *meta* is about.

    A weak ETag keeps its form, ``W/"..."``: no condition ever matches one.
    """
    version = str((meta.get("version") if scheme == "gs" else meta.get("e_tag")) or "")
    # Some servers leave the quotes away in a listing.
    return version if is_weak(version) else version.strip('"')


def is_weak(version: str) -> bool:
    """Tell whether a server cannot be asked for just this version."""
    return version.startswith("W/")
