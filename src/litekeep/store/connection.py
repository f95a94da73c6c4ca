"""
From our options to obstore's: what each service is to be told before the first request.

Nothing is asked of a server here, and obstore is not imported: `bucket.py` does.

What is looked up where, for S3, first found:

    keys           given directly; a configured profile (boto3); AWS_ACCESS_KEY_ID;
                   AWS_PROFILE (boto3); web identity, ECS from the environment (obstore);
                   the shared AWS files (boto3); the instance's role
    endpoint       given; AWS_ENDPOINT_URL_S3; AWS_ENDPOINT_URL; AWS itself
    region         given; AWS_REGION; AWS_DEFAULT_REGION; the profile's; of an endpoint that
                   is not AWS's us-east-1; else what `region.py` finds with the first request
    authorities    ca_file, AWS_CA_BUNDLE: in addition to the system's

Nothing else of the environment counts.  obstore would take any of its settings from a
variable; it is told each, or does not see the variable while it opens.

Plain http is allowed where the endpoint says so.  (obstore allows it for instance
metadata and ECS, which have no TLS, and never for web identity.)

https is signed without hashing the payload: TLS keeps the bytes whole, and hashing costs
half a CPU second per GiB.  Over http the payload is hashed.
"""

from __future__ import annotations

import enum
import json
import os
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import replace as changed
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from litekeep.aws.credentials import (
    Access,
    GivenKeys,
    Provider,
    has_boto3,
    has_shared_files,
)
from litekeep.errors import AccessDenied, ConfigError
from litekeep.store.options import StoreOptions
from litekeep.store.region import DEFAULT_REGION, METADATA, s3_domain

#: Environment that obstore turns into credentials by itself.
_KEYS_IN_ENVIRONMENT = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
#: What obstore takes from there unasked, and cannot be told to do without.
_UNASKED = (
    "AWS_SERVER_SIDE_ENCRYPTION",
    "AWS_SSE_KMS_KEY_ID",
    "AWS_SSE_BUCKET_KEY_ENABLED",
    "AWS_CHECKSUM_ALGORITHM",
)
_CONNECT_TIMEOUT = timedelta(seconds=10)
_NO_LIMIT = timedelta(days=7)
_RETRY_PARTS = {
    "max_retries": 4,
    "retry_timeout": timedelta(seconds=60),
    "backoff": {
        "init_backoff": timedelta(milliseconds=200),
        "max_backoff": timedelta(seconds=5),
        "base": 2,
    },
}


_hiding = threading.Lock()


class Use(enum.Enum):
    """
    What a client is for.

    Silence of a server that is still being sent to is no silence, so what carries
    many bytes up has a limit in all instead.  What brings many down is bounded by
    the silence alone.  Only parts of an upload are tried
    again by obstore: all else is by `retry.py`.
    """

    QUICK = "small requests"
    READING = "a large answer"
    BULK = "a large body in one request, a copy"
    PARTS = "the parts of an upload"


@dataclass(frozen=True, slots=True)
class Connection:
    """
    What `bucket.py` opens a store with; it holds secrets, so it is never shown.

    Where `is_region_known` is not true, `region` is the one of AWS that stands for those
    that nobody named.
    """

    config: Mapping[str, Any]
    client_options: Mapping[str, Any]
    base_url: str = ""
    region: str = ""
    is_region_known: bool = True
    provider: Provider | GivenKeys | None = None
    access: Access | None = None
    credentials_hint: str = ""

    def __repr__(self) -> str:
        return f"Connection({self.base_url!r})"

    @property
    def is_amazon(self) -> bool:
        """Whether the server is AWS's own."""
        return self.access is not None and self.access.endpoint is None

    def in_region(self, region: str) -> Connection:
        """Return the same for a bucket of AWS that lies in *region*."""
        assert self.access is not None, "only S3 has regions"
        access = changed(self.access, region=region)
        base_url = _s3_url(self.config["bucket"], access, region)
        config = {**self.config, "endpoint": base_url, "region": region}
        return changed(
            self,
            config=config,
            base_url=base_url,
            region=region,
            is_region_known=True,
            access=access,
        )

    def client(self, use: Use, options: StoreOptions) -> dict[str, Any]:
        """Return the arguments of obstore's store for *use*."""
        silence = timedelta(seconds=options.timeout_seconds)
        limits = {"timeout": timedelta(seconds=options.request_seconds)}
        if use is Use.QUICK:
            limits["read_timeout"] = silence
        elif use is Use.READING:
            limits = {"timeout": _NO_LIMIT, "read_timeout": silence}
        arguments: dict[str, Any] = {
            "config": dict(self.config),
            "client_options": {
                **self.client_options,
                **limits,
                "connect_timeout": min(_CONNECT_TIMEOUT, silence),
            },
            "retry_config": _RETRY_PARTS if use is Use.PARTS else {"max_retries": 0},
        }
        if self.provider is not None:
            arguments["credential_provider"] = self.provider
        return arguments


@contextmanager
def unasked_settings_hidden() -> Iterator[None]:
    """Hide what obstore must not take from the environment, while it opens a store."""
    with _hiding:
        hidden = {name: os.environ.pop(name) for name in _UNASKED if name in os.environ}
        try:
            yield
        finally:
            os.environ.update(hidden)


def connect(
    scheme: str, bucket: str, options: StoreOptions, environ: Mapping[str, str] = os.environ
) -> Connection:
    """
    Return what is needed to open *bucket*.

    Raises:
        ConfigError: Options contradict each other, or a file cannot be read.

        MissingExtra: A profile needs boto3, which is not installed.

        AccessDenied: No credentials can be found without asking anybody.
    """
    client = _client(options, environ)
    if scheme == "s3":
        return _s3(bucket, options, environ, client)
    if scheme == "gs":
        return _google(bucket, options, environ, client)
    return _azure(bucket, options, environ, client)


def _client(options: StoreOptions, environ: Mapping[str, str]) -> dict[str, Any]:
    client: dict[str, Any] = {"user_agent": "litekeep"}
    bundle = options.ca_file or (
        Path(environ["AWS_CA_BUNDLE"]) if environ.get("AWS_CA_BUNDLE") else None
    )
    if bundle is not None:
        hint = "Check ca_file and AWS_CA_BUNDLE."
        try:
            client["root_certificate"] = bundle.read_bytes()
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(bundle)
        except ssl.SSLError as error:
            raise ConfigError(f"{bundle} holds no certificates in PEM", hint=hint) from error
        except OSError as error:
            raise ConfigError(
                f"the certificates in {bundle} cannot be read: {error.strerror}", hint=hint
            ) from error
    return client


def _s3(
    bucket: str, options: StoreOptions, environ: Mapping[str, str], client: dict[str, Any]
) -> Connection:
    endpoint = _endpoint(options, environ, "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    access = Access(
        endpoint=endpoint,
        region=options.region or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION"),
        path_style=_is_path_style(bucket, endpoint, options),
        profile=options.profile or _profile_of(environ),
        access_key_id=options.access_key_id,
        secret_access_key=options.secret_access_key,
        session_token=options.session_token,
        ca_file=options.ca_file,
    )
    config, provider = _s3_identity(options, access, environ)
    named = access.region or (provider.region if provider else None)
    region = named or DEFAULT_REGION
    base_url = _s3_url(bucket, access, region)
    client["allow_http"] = base_url.startswith("http:")
    config |= {
        "bucket": bucket,
        "endpoint": base_url,
        "region": region,
        "virtual_hosted_style_request": not access.path_style,
        "unsigned_payload": base_url.startswith("https:") and options.checksum is None,
        # One DELETE a blob: every server knows that, and its refusal has a status.
        "disable_bulk_delete": True,
        "skip_signature": options.is_anonymous,
        # Each of these would be taken from the environment.
        "conditional_put": "etag",
        "request_payer": False,
        "s3_express": False,
    }
    if options.checksum:
        config["checksum_algorithm"] = options.checksum
    if options.encryption:
        config["server_side_encryption"] = options.encryption
    if options.kms_key_id:
        if not (options.encryption or "").startswith("aws:kms"):
            raise ConfigError(
                "kms_key_id is set, but encryption is not aws:kms",
                hint='Set encryption to "aws:kms".',
            )
        config["sse_kms_key_id"] = options.kms_key_id
    hint = _hint_of_shared_files(environ)
    return Connection(
        config,
        client,
        base_url,
        region,
        is_region_known=bool(named or endpoint),
        provider=provider,
        access=access,
        credentials_hint=hint,
    )


def _s3_url(bucket: str, access: Access, region: str) -> str:
    """Return where requests go to: the bucket is in the name, or not."""
    base_url = access.endpoint or f"https://{s3_domain(region)}"
    if access.path_style:
        return base_url
    parts = urlsplit(base_url)
    return f"{parts.scheme}://{bucket}.{parts.netloc}{parts.path}"


def _s3_identity(
    options: StoreOptions, access: Access, environ: Mapping[str, str]
) -> tuple[dict[str, Any], Provider | GivenKeys | None]:
    """Return obstore's settings for the credentials, or a provider of them."""
    config: dict[str, Any] = {}
    if (options.access_key_id is None) != (options.secret_access_key is None):
        raise ConfigError(
            "access_key_id and secret_access_key belong together",
            hint="Give both, or neither.",
        )
    if options.is_anonymous:
        return config, None
    if options.access_key_id and options.secret_access_key:
        return config, GivenKeys(
            access_key_id=options.access_key_id,
            secret_access_key=options.secret_access_key,
            token=options.session_token,
        )
    if access.profile:
        return config, Provider(access)
    if any(environ.get(name) for name in _KEYS_IN_ENVIRONMENT):
        if environ.get("AWS_ENDPOINT_URL_STS"):
            config["aws_endpoint_url_sts"] = environ["AWS_ENDPOINT_URL_STS"]
        return config, None
    if has_shared_files(environ) and has_boto3():
        return config, Provider(access)
    if environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        extra = _hint_of_shared_files(environ)
        raise AccessDenied(
            "no AWS credentials were found",
            hint=f"Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile.{extra}",
        )
    metadata = environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or METADATA
    if not metadata.startswith(("http://", "https://")):
        raise ConfigError(
            "AWS_EC2_METADATA_SERVICE_ENDPOINT is not an http URL",
            hint=f"Leave it out: it is {METADATA} on every instance.",
        )
    config["metadata_endpoint"] = metadata.rstrip("/")
    return config, None


def _hint_of_shared_files(environ: Mapping[str, str]) -> str:
    if has_boto3() or not has_shared_files(environ):
        return ""
    return " To read ~/.aws install boto3."


def _profile_of(environ: Mapping[str, str]) -> str | None:
    # As the AWS tools do: keys of the environment come before its profile.
    return None if environ.get("AWS_ACCESS_KEY_ID") else environ.get("AWS_PROFILE")


def _is_path_style(bucket: str, endpoint: str | None, options: StoreOptions) -> bool:
    if options.path_style is not None:
        return options.path_style
    # A certificate for *.s3.amazonaws.com does not cover a bucket with dots.
    return endpoint is not None or "." in bucket


def _google(
    bucket: str, options: StoreOptions, environ: Mapping[str, str], client: dict[str, Any]
) -> Connection:
    config: dict[str, Any] = {"bucket": bucket}
    endpoint = _endpoint(options, environ, "GOOGLE_BASE_URL", "STORAGE_EMULATOR_HOST")
    if endpoint:
        config["base_url"] = endpoint
    if options.credentials_file:
        config["service_account"] = str(options.credentials_file)
    base_url = endpoint or "https://storage.googleapis.com"
    if options.is_anonymous:
        # obstore 0.12 asks for a token even where it is told to skip_signature.
        account = {"gcs_base_url": base_url, "disable_oauth": True}
        account |= {"client_email": "", "private_key": "", "private_key_id": ""}
        config["service_account_key"] = json.dumps(account)
    client["allow_http"] = base_url.startswith("http:")
    return Connection(config, client, base_url)


def _azure(
    bucket: str, options: StoreOptions, environ: Mapping[str, str], client: dict[str, Any]
) -> Connection:
    account = options.account or environ.get("AZURE_STORAGE_ACCOUNT_NAME")
    account = account or environ.get("AZURE_STORAGE_ACCOUNT")
    if not account:
        raise ConfigError(
            "the storage account is not known",
            hint="Set account, or AZURE_STORAGE_ACCOUNT_NAME.",
        )
    config: dict[str, Any] = {"container_name": bucket, "account_name": account}
    endpoint = _endpoint(options, environ, "AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT")
    if endpoint:
        config["endpoint"] = endpoint
    provider = None
    if options.account_key:
        provider = GivenKeys(access_key=options.account_key)
    elif options.sas_token:
        provider = GivenKeys(sas_token=options.sas_token.reveal().removeprefix("?"))
    if options.is_anonymous:
        config["skip_signature"] = True
    base_url = endpoint or f"https://{account}.blob.core.windows.net"
    client["allow_http"] = base_url.startswith("http:")
    return Connection(config, client, base_url, provider=provider)


def _endpoint(options: StoreOptions, environ: Mapping[str, str], *names: str) -> str | None:
    candidates = (options.endpoint, *(environ.get(name) for name in names))
    endpoint = next((candidate for candidate in candidates if candidate), None)
    if endpoint is None:
        return None
    if "://" not in endpoint:
        endpoint = f"https://{endpoint}"
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise ConfigError(
            "the endpoint of a store is not an http or https URL without a user",
            hint="Write it like https://minio.example.com:9000.",
        )
    return endpoint.rstrip("/")
