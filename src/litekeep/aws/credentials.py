"""
Who we are to AWS, where boto3 knows better: profiles, SSO, credential_process.

Keys from the environment, web identity, ECS and instance roles need no boto3:
obstore finds those itself.  What only boto3 can read are the shared files under
``~/.aws``.

Every module of this package takes an `Access`, imports boto3 when it is called
(240 ms), and turns botocore's errors into ours.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

from litekeep.clock import Clock, now
from litekeep.errors import (
    AccessDenied,
    ConfigError,
    LitekeepError,
    MissingExtra,
    StoreError,
    StoreUnavailable,
)
from litekeep.secret import Secret

#: Shorter than any temporary credentials are still valid when boto3 hands them out.
CREDENTIALS_TTL = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Access:
    """Which S3, and as whom; what is None boto3 looks up itself."""

    endpoint: str | None = None
    region: str | None = None
    path_style: bool | None = None
    profile: str | None = None
    access_key_id: str | None = None
    secret_access_key: Secret | None = None
    session_token: Secret | None = None
    ca_file: Path | None = None


class Refused(StoreError):
    """
    A refusal by S3, as it came: whoever asked puts it into words (`store/translate.py`).

    `text` has the form in which that module finds status, code and message.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"S3 refuses ({code or status})")
        self.code = code
        self.status = status
        self.text = (
            f"Server returned non-2xx status code: {status}"
            f"<Code>{code}</Code><Message>{message}</Message>"
        )


def has_boto3() -> bool:
    """Tell whether boto3 can be imported."""
    import importlib.util

    return importlib.util.find_spec("boto3") is not None


def has_shared_files(environ: Mapping[str, str] = os.environ) -> bool:
    """Tell whether the user has shared AWS files, which only boto3 reads."""
    home = Path(os.path.expanduser(environ.get("HOME", "~")))
    config = environ.get("AWS_CONFIG_FILE", str(home / ".aws/config"))
    shared = environ.get("AWS_SHARED_CREDENTIALS_FILE", str(home / ".aws/credentials"))
    return os.path.isfile(config) or os.path.isfile(shared)


def session(access: Access) -> Any:
    """
    Return a boto3 session.

    Raises:
        MissingExtra: boto3 is not installed.

        ConfigError: There is no such profile.
    """
    try:
        import boto3
    except ImportError as error:
        raise MissingExtra(
            "boto3 is not installed, which profiles and SSO need",
            hint="Install it with the pip of Litekeep's environment: pip install boto3.",
        ) from error
    keys: dict[str, str | None] = {"aws_access_key_id": access.access_key_id}
    if access.secret_access_key is not None:
        keys["aws_secret_access_key"] = access.secret_access_key.reveal()
    if access.session_token is not None:
        keys["aws_session_token"] = access.session_token.reveal()
    with translated(access):
        return boto3.Session(profile_name=access.profile, region_name=access.region, **keys)


def client(access: Access, service: str = "s3") -> Any:
    """Return a boto3 client that behaves with other servers than AWS too."""
    from botocore.config import Config

    config = Config(
        # The default checksums break R2, B2 and older servers.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "path" if access.path_style else "auto"},
        connect_timeout=10,
        read_timeout=120,
        retries={"mode": "standard", "max_attempts": 4},
    )
    opened = session(access)
    with translated(access):
        return opened.client(
            service,
            endpoint_url=access.endpoint,
            region_name=access.region or opened.region_name or "us-east-1",
            verify=str(access.ca_file) if access.ca_file else None,
            config=config,
        )


class GivenKeys:
    """
    Keys that were given directly, in the form that obstore calls for.

    As settings they would be mixed with what obstore finds in the environment: the
    session token, or a bearer token, of somebody else.
    """

    error: LitekeepError | None = None
    region: str | None = None

    def __init__(self, **keys: Secret | str | None) -> None:
        self._keys = keys

    def __call__(self) -> dict[str, Any]:
        plain = {
            name: value.reveal() if isinstance(value, Secret) else value
            for name, value in self._keys.items()
        }
        return {**plain, "expires_at": None}


class Provider:
    """
    Credentials from boto3, in the form that obstore calls for.

    obstore wraps what is raised here into an error of its own; `error` keeps ours.
    """

    def __init__(self, access: Access, *, clock: Clock = now) -> None:
        self.error: LitekeepError | None = None
        self._access = access
        self._clock = clock
        self._session = session(access)
        self.region: str | None = self._session.region_name

    def __call__(self) -> dict[str, Any]:
        try:
            with translated(self._access):
                found = self._session.get_credentials()
                if found is None:
                    raise AccessDenied(
                        "no AWS credentials were found",
                        hint="Set keys or a profile (aws configure), or use an instance role.",
                    )
                frozen = found.get_frozen_credentials()
        except LitekeepError as error:
            self.error = error
            raise
        self.error = None
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": self._clock().astimezone(UTC) + CREDENTIALS_TTL,
        }


@contextmanager
def translated(access: Access) -> Iterator[None]:
    """Turn botocore's errors about credentials into ours."""
    from botocore import exceptions as aws

    login = f"aws sso login{f' --profile {access.profile}' if access.profile else ''}"
    try:
        yield
    except aws.ProfileNotFound as error:
        raise ConfigError(
            f"there is no AWS profile {access.profile!r}",
            hint="Look into ~/.aws/config, or AWS_CONFIG_FILE.",
        ) from error
    except (
        aws.SSOError,
        aws.TokenRetrievalError,
        aws.UnauthorizedSSOTokenError,
    ) as error:
        raise AccessDenied("the SSO session has expired", hint=f"Run: {login}.") from error
    except (aws.NoCredentialsError, aws.CredentialRetrievalError) as error:
        raise AccessDenied(
            "the AWS credentials cannot be read",
            hint="Try: aws sts get-caller-identity, with the same profile.",
        ) from error
    except aws.ClientError as error:  # of STS, most often: the role may not be taken
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = error.response.get("Error", {}).get("Code", "")
        if status == HTTPStatus.TOO_MANY_REQUESTS or status >= 500 or "Throttl" in code:
            raise StoreUnavailable(
                "the service that gives AWS credentials is busy",
                hint="It was tried again several times; try later.",
            ) from error
        raise AccessDenied(
            f"the AWS credentials cannot be had ({code or status})",
            hint="Try: aws sts get-caller-identity, with the same profile.",
        ) from error
    except aws.HTTPClientError as error:
        kind = type(error).__name__
        raise StoreUnavailable(
            f"the connection to AWS failed ({kind})", hint="Check this machine's network."
        ) from error
    except aws.BotoCoreError as error:
        raise StoreError(
            f"AWS cannot be asked ({type(error).__name__})",
            hint="Try: aws sts get-caller-identity, with the same profile.",
        ) from error


@contextmanager
def explained(access: Access) -> Iterator[None]:
    """Turn botocore's errors into ours, and what S3 refuses into `Refused`."""
    from botocore.exceptions import ClientError

    with translated(access):
        try:
            yield
        except ClientError as error:
            said = error.response.get("Error", {})
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            raise Refused(status, said.get("Code", ""), said.get("Message", "")) from error
