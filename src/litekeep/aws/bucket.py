"""
How a bucket is set up: versions, encryption, who may see it, what becomes of open uploads.

Each question is one request with a right of its own (`RIGHTS`).  What S3 refuses comes out
as `credentials.Refused`; that a thing is not set up at all is an answer and no refusal.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from litekeep.aws.credentials import Access, Refused, client, explained

#: What each question needs, by the name of its method.
RIGHTS: Mapping[str, str] = {
    "versioning": "s3:GetBucketVersioning",
    "encryption": "s3:GetEncryptionConfiguration",
    "public_block": "s3:GetBucketPublicAccessBlock",
    "is_policy_public": "s3:GetBucketPolicyStatus",
    "public_grants": "s3:GetBucketAcl",
    "abort_rules": "s3:GetLifecycleConfiguration",
}

_BLOCKS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
_GROUPS = "http://acs.amazonaws.com/groups/global/"
_NOT_SET = frozenset(
    {
        "ServerSideEncryptionConfigurationNotFoundError",
        "NoSuchPublicAccessBlockConfiguration",
        "NoSuchBucketPolicy",
        "NoSuchLifecycleConfiguration",
    }
)


@dataclass(frozen=True, slots=True)
class AbortRule:
    """A rule that aborts open uploads below *prefix* after *days*; None: it does not say."""

    prefix: str
    days: int | None


class BucketSetup:
    """Asks how one bucket is set up."""

    def __init__(self, access: Access, bucket: str) -> None:
        self._access = access
        self._bucket = bucket
        self._client = client(access)

    def versioning(self) -> str:
        """Return ``"Enabled"``, ``"Suspended"``, or nothing where it never was."""
        return str((self._ask("get_bucket_versioning") or {}).get("Status", ""))

    def encryption(self) -> tuple[str, ...]:
        """Return how new objects are encrypted by default; nothing where they are not."""
        answer = self._ask("get_bucket_encryption") or {}
        rules = answer.get("ServerSideEncryptionConfiguration", {}).get("Rules", [])
        named = (
            rule.get("ApplyServerSideEncryptionByDefault", {}).get("SSEAlgorithm", "")
            for rule in rules
        )
        return tuple(name for name in named if name)

    def public_block(self) -> tuple[str, ...] | None:
        """Return which parts of the public access block are off; None where there is none."""
        answer = self._ask("get_public_access_block")
        if answer is None:
            return None
        block = answer.get("PublicAccessBlockConfiguration", {})
        return tuple(name for name in _BLOCKS if not block.get(name))

    def is_policy_public(self) -> bool:
        """Say whether the bucket's policy lets everybody in."""
        answer = self._ask("get_bucket_policy_status") or {}
        return bool(answer.get("PolicyStatus", {}).get("IsPublic"))

    def public_grants(self) -> tuple[str, ...]:
        """Return what the bucket's access list grants to everybody, or to every AWS account."""
        answer = self._ask("get_bucket_acl") or {}
        return tuple(
            str(grant.get("Permission", ""))
            for grant in answer.get("Grants", [])
            if str(grant.get("Grantee", {}).get("URI", "")).startswith(_GROUPS)
        )

    def abort_rules(self) -> tuple[AbortRule, ...]:
        """Return the lifecycle rules in force that abort open uploads."""
        answer = self._ask("get_bucket_lifecycle_configuration") or {}
        return tuple(
            AbortRule(prefix, rule["AbortIncompleteMultipartUpload"].get("DaysAfterInitiation"))
            for rule in answer.get("Rules", [])
            if rule.get("Status") == "Enabled" and "AbortIncompleteMultipartUpload" in rule
            if (prefix := _prefix_of(rule)) is not None
        )

    def _ask(self, method: str) -> dict[str, Any] | None:
        """Ask; return None where that thing is not set up."""
        try:
            with explained(self._access):
                return dict(getattr(self._client, method)(Bucket=self._bucket))
        except Refused as error:
            if error.code in _NOT_SET:
                return None
            raise


def _prefix_of(rule: Mapping[str, Any]) -> str | None:
    """Return what keys a rule is for begin with; None where tags or sizes narrow it."""
    chosen = rule.get("Filter", {})
    if set(chosen) - {"Prefix", "And"}:
        return None
    if "And" in chosen:
        return None
    return str(chosen.get("Prefix", rule.get("Prefix", "")) or "")
