"""
How to reach a store: everything that a URL must not or need not say.

Frozen values, filled by the configuration, the command line and the URL's own
parameters.  What is None is looked up where the store's own tools look: in the
environment, the shared AWS files, the instance's metadata.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from litekeep.secret import Secret

GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """
    Options of object stores; a directory needs none.

    S3:
        endpoint: URL of an S3-compatible server; AWS itself if None.
        region: Also taken from the environment; AWS is asked for it at last.
        path_style: Bucket in the path instead of the host name.  None means yes
            with an endpoint, no without.
        profile: Name in the shared AWS files: keys, SSO, credential_process.
        access_key_id, secret_access_key, session_token: Keys given directly.
        encryption: ``"AES256"`` (SSE-S3) or ``"aws:kms"``, with *kms_key_id*.
        storage_class: For the blobs that are stored, e.g. ``"STANDARD_IA"``.
        checksum: ``"sha256"`` or ``"crc64nvme"``: sent with each request.
    Azure:
        account, account_key, sas_token.
    Google:
        credentials_file: A service account's JSON.
    All:
        ca_file: Certificates to trust beside the system's.
        is_anonymous: Send no credentials at all.
        timeout_seconds: Longest silence of a server before a request is given up.
        request_seconds: Longest duration of one request.
        retry_seconds: How long to try again in all; 0 means never.
    """

    endpoint: str | None = None
    region: str | None = None
    path_style: bool | None = None
    profile: str | None = None
    access_key_id: str | None = None
    secret_access_key: Secret | None = None
    session_token: Secret | None = None
    encryption: str | None = None
    kms_key_id: str | None = None
    storage_class: str | None = None
    checksum: str | None = None
    account: str | None = None
    account_key: Secret | None = None
    sas_token: Secret | None = None
    credentials_file: Path | None = None
    ca_file: Path | None = None
    is_anonymous: bool = False
    timeout_seconds: float = 20.0
    request_seconds: float = 300.0
    retry_seconds: float = 120.0
    copy_size_max: int = 5 * GIB
