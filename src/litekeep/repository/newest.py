"""
The newest manifest of a repository, found with as few requests as can be.

Reading the whole catalogue takes a get for each snapshot; this takes a list of one month,
most often, and a get or two.
"""

from __future__ import annotations

from litekeep.repository.layout import (
    ACCEPTED_SUFFIX,
    MANIFEST_SUFFIX,
    Repository,
    parse_object,
)
from litekeep.repository.manifest import SIZE_MAX, Manifest, decode

#: How many manifests are read to find one that is good.
_GOOD_LOOKS_MAX = 50


def newest_manifest(repository: Repository, name: str) -> Manifest | None:
    """
    Return the manifest of the newest snapshot, going by names, or None if there is none.

    The month of the snapshot *name* is looked at first, so that this is most often one short
    list request and one small get.

    Raises:
        FormatError: It is no manifest.
    """
    for prefix in (repository.beside(name), ""):
        found = [
            (parsed.time, blob.name)
            for blob in repository.store.list(prefix)
            if (parsed := parse_object(blob.name, repository.zone)) is not None
            and parsed.database == repository.database
            and parsed.companion == MANIFEST_SUFFIX
        ]
        if found:
            return decode(repository.store.read(max(found)[1], size_max=SIZE_MAX))
    return None


def good_manifest(repository: Repository, name: str) -> Manifest | None:
    """
    Return the manifest of the newest snapshot that is ok, or was accepted; None if none is.

    The month of the snapshot *name* is looked at first, and no more than a few of each.

    Raises:
        FormatError: One of them is no manifest.
    """
    for prefix in (repository.beside(name), ""):
        names = {blob.name for blob in repository.store.list(prefix)}
        found = [
            (parsed.time, manifest)
            for manifest in names
            if (parsed := parse_object(manifest, repository.zone)) is not None
            and parsed.database == repository.database
            and parsed.companion == MANIFEST_SUFFIX
        ]
        for _, manifest_name in sorted(found, reverse=True)[:_GOOD_LOOKS_MAX]:
            manifest = decode(repository.store.read(manifest_name, size_max=SIZE_MAX))
            accepted = manifest_name.removesuffix(MANIFEST_SUFFIX) + ACCEPTED_SUFFIX
            if manifest.state == "ok" or (manifest.state == "suspect" and accepted in names):
                return manifest
    return None
