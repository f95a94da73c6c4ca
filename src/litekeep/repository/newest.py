"""
The newest manifest of a repository, found with as few requests as can be.

Reading the whole catalogue takes a get for each snapshot; this takes a list of one month,
most often, and a get or two.
"""

from __future__ import annotations

from litekeep.errors import BlobNotFound, CorruptionError
from litekeep.repository.layout import (
    ACCEPTED_SUFFIX,
    MANIFEST_SUFFIX,
    Repository,
    parse_object,
)
from litekeep.repository.manifest import SIZE_MAX, Manifest, decode
from litekeep.when import is_ahead

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


def good_manifest(
    repository: Repository, name: str, *, is_counted: bool = False
) -> Manifest | None:
    """
    Return the manifest of the newest snapshot that is ok, or was accepted.

    The month of the snapshot *name* is looked at first, and no more than a few of each: None
    says that there is none among these.  What is no manifest is passed over, and what lies
    behind *name*, because a clock was wrong, comes last.

    Args:
        repository: Of one database.

        name: Of the snapshot under way.

        is_counted: Whether its rows must have been counted, or somebody have accepted it.
    """
    begun = parse_object(f"{name}.db", repository.zone)
    assert begun is not None, "it is the name of a snapshot"
    for prefix in (repository.beside(name), ""):
        names = {blob.name for blob in repository.store.list(prefix)}
        found = [
            (not is_ahead(parsed.time, begun.time), parsed.time, manifest)
            for manifest in names
            if (parsed := parse_object(manifest, repository.zone)) is not None
            and parsed.database == repository.database
            and parsed.companion == MANIFEST_SUFFIX
        ]
        for *_, manifest_name in sorted(found, reverse=True)[:_GOOD_LOOKS_MAX]:
            try:
                manifest = decode(repository.store.read(manifest_name, size_max=SIZE_MAX))
            except (CorruptionError, BlobNotFound):
                continue
            accepted = manifest_name.removesuffix(MANIFEST_SUFFIX) + ACCEPTED_SUFFIX
            if is_good(manifest, is_accepted=accepted in names, is_counted=is_counted):
                return manifest
    return None


def is_good(manifest: Manifest, *, is_accepted: bool, is_counted: bool) -> bool:
    """Say whether a snapshot is what the next one is to be compared with."""
    if manifest.state == "suspect":
        return is_accepted
    if manifest.state != "ok":
        return False
    return not is_counted or manifest.check.result == "ok" or bool(manifest.row_counts)
