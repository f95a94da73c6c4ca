"""
What an object store's refusals mean, in our words, with what to do about each.

obstore hands on the server's answer as text: the status, the XML or JSON body,
and for a connection that failed the description of the cause.  This is the one
place that reads that text.  It looks for the server's documented error codes
(``<Code>``), never for phrases; only connections, which have no codes, are told
apart by the names of the kinds of errors.

    asked + text  ->  one of errors.StoreError

Nothing of a request but its store, name and action gets into a message.

https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
https://learn.microsoft.com/en-us/rest/api/storageservices/blob-service-error-codes
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from dataclasses import replace as changed

from litekeep.errors import (
    AccessDenied,
    BlobChanged,
    BlobNotFound,
    NoSpace,
    StoreError,
    StoreUnavailable,
    StoreUnreachable,
)

_STATUS = re.compile(r"non-2xx status code: (\d{3})")
_CODE = re.compile(r"<Code>\s*([\w.:-]+)\s*</Code>")
_MESSAGE = re.compile(r"<Message>([^<]{1,2000})</Message>")
_JSON_REASON = re.compile(r'"reason"\s*:\s*\\*"(\w+)')
_MISSING_RIGHT = re.compile(r"to perform: ([a-z0-9-]+:\w+)")
_REGION = re.compile(r"<Region>([a-z0-9-]+)</Region>")
_REQUESTED = re.compile(r"Error performing [A-Z]+ (https?://\S+|REDACTED)")
_ODD_KEY = re.compile(r'Encountered object with invalid path: .*?[Pp]ath "([^"]*)"')
_ORIGIN = re.compile(r"https?://[^/?#]+")
_HTTP_KIND = re.compile(r"HttpError \{\s*kind: (\w+)")
_CERTIFICATE = re.compile(r"InvalidCertificate\(\s*(\w+)")

MESSAGE_SIZE_MAX = 200

# What each request needs on AWS; a server that names the right itself wins.
_RIGHTS = {
    "put": "s3:PutObject",
    "copy": "s3:GetObject and s3:PutObject",
    "get": "s3:GetObject (and s3:ListBucket, or what is missing looks forbidden)",
    "head": "s3:GetObject (and s3:ListBucket, or what is missing looks forbidden)",
    "list": "s3:ListBucket",
    "delete": "s3:DeleteObject",
    "list uploads": "s3:ListBucketMultipartUploads",
    "abort": "s3:AbortMultipartUpload",
}
_AZURE_ROLES = {"get": "Storage Blob Data Reader", "head": "Storage Blob Data Reader"}
_GOOGLE_RIGHTS = {
    "put": "storage.objects.create and storage.objects.delete",
    "copy": "storage.objects.get, storage.objects.create and storage.objects.delete",
    "get": "storage.objects.get",
    "head": "storage.objects.get",
    "list": "storage.objects.list",
    "delete": "storage.objects.delete",
}

_CREDENTIAL_HINTS = {
    "s3": "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or an instance role.",
    "gs": "Set credentials_file (or GOOGLE_APPLICATION_CREDENTIALS), or log in with "
    "gcloud auth application-default login.",
    "az": "Set account_key or sas_token (or AZURE_STORAGE_ACCOUNT_KEY), or give this machine "
    "a managed identity.",
}

_NO_BUCKET = {"NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted", "InvalidBucketName"}
_BAD_KEY = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "InvalidClientTokenId",
    "AuthenticationFailed",
    "InvalidSecurity",
    "authError",
}
_EXPIRED = {
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidToken",
    "RequestExpired",
    "TokenRefreshRequired",
}
_WRONG_REGION = {
    "AuthorizationHeaderMalformed",
    "PermanentRedirect",
    "TemporaryRedirect",
    "IllegalLocationConstraintException",
}
_REDIRECTS = (301, 307)
_BARE_REDIRECT = "inner: BareRedirect"  # one without an address
_BUSY = {
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "RequestLimitExceeded",
    "TooManyRequests",
    "ServiceUnavailable",
    "InternalError",
    "RequestTimeout",
    "ServerBusy",
    "OperationTimedOut",
    "OperationAborted",
    "ConditionalRequestConflict",
    "XMinioServerNotInitialized",
    "rateLimitExceeded",
}
_BUSY_STATUS = {408, 425, 429, 500, 502, 503, 504}
_FULL = {
    "QuotaExceeded",
    "InsufficientStorage",
    "InsufficientCapacity",
    "XMinioStorageFull",
    "XMinioAdminBucketQuotaExceeded",
    "AccountQuotaExceeded",
    "storageQuotaExceeded",
}


class RangeBehindEnd(StoreError):
    """A range begins behind the end of the blob; never leaves `objects.py`."""


class OddKey(StoreError):
    """The server holds a key that obstore cannot take; leaves `objects.py` if no road is left."""


class UploadGone(StoreUnavailable):
    """An upload that was to be completed is not there; see `objects.py`."""


class RangeIgnored(StoreError):
    """The server sent the whole blob, not the range; never leaves `objects.py`."""


@dataclass(frozen=True, slots=True)
class Asked:
    """
    One request, for the words of an error.

    `scheme` and `base_url` tell which service and server it went to; a failure at
    another address is one of the services that give out credentials, about which
    `credentials_hint` says what this machine has.  `region_found` is where the bucket is,
    if S3 was asked.
    """

    scheme: str
    url: str
    bucket: str
    base_url: str
    region: str
    action: str = ""
    name: str = ""
    credentials_hint: str = ""
    region_found: str = ""

    @property
    def server(self) -> str:
        """The server's address."""
        return self.base_url or self.url

    @property
    def place(self) -> str:
        """The blob, or the store where the request was about no blob."""
        return f"{self.url}/{self.name}" if self.name else self.url


def code_of(text: str) -> str:
    """Return the server's error code in *text*, or ""."""
    found = _CODE.search(text) or _JSON_REASON.search(text)
    return found[1] if found else ""


def status_of(text: str) -> int:
    """Return the HTTP status in *text*, or 0."""
    found = _STATUS.search(text)
    return int(found[1]) if found else 0


def is_silent_of_region(text: str) -> bool:
    """Tell whether *text* refuses another region than the bucket's, and does not name that."""
    is_redirect = status_of(text) in _REDIRECTS or _BARE_REDIRECT in text
    return (is_redirect or code_of(text) in _WRONG_REGION) and not _REGION.search(text)


def translate(asked: Asked, text: str) -> StoreError:
    """Return our error for a refusal or a failed connection described by *text*."""
    odd = _ODD_KEY.search(text)
    if odd:
        return OddKey(
            f"{asked.url} cannot be listed because of the key {odd[1][:MESSAGE_SIZE_MAX]!r}",
            hint="Remove that object, or install boto3, which lists past it."
            if asked.scheme == "s3"
            else "Remove that object.",
        )
    # The second: the server sent the whole blob, and obstore found it too short.
    if status_of(text) == 416 or "StartTooLarge" in text:
        return RangeBehindEnd(f"{asked.place} ends before that")
    if "source: NotPartial" in text:
        return RangeIgnored(f"{asked.server} sends whole objects where ranges are asked for")
    requested = _REQUESTED.search(text)
    if asked.base_url and requested and not requested[1].startswith(asked.base_url):
        # Its address alone: what follows may hold a token.
        service = _ORIGIN.match(requested[1])
        return _without_credentials(asked, service[0] if service else "their service", text)
    if status_of(text) or code_of(text):
        return _refused(asked, text)
    return _unreachable(asked, text)


def _refused(asked: Asked, text: str) -> StoreError:
    code, status = code_of(text), status_of(text)
    if code in _BUSY or (status in _BUSY_STATUS and code not in _FULL):
        return StoreUnavailable(
            f"{asked.server} cannot serve {asked.url} now ({code or status})",
            hint="It was tried again several times; try later, or look at the server's state.",
        )
    if code == "NoSuchUpload":
        return UploadGone(f"{asked.server} knows no more of the upload of {asked.place}")
    if code in _FULL or status == 507:
        return NoSpace(
            f"no room is left in {asked.url} ({code or status})",
            hint="Free room in the store, raise its quota, or shorten the retention.",
        )
    # Google has one code for all that is missing; nothing but the bucket can be here.
    is_bucket = status == 404 and asked.action in ("put", "list", "list uploads")
    if code in _NO_BUCKET or is_bucket:
        return AccessDenied(
            f"there is no bucket {asked.bucket!r} at {asked.server}",
            hint="Create it, or check its name, the region and the endpoint.",
        )
    if status == 404:
        return BlobNotFound(f"no object {asked.name!r} in {asked.url}")
    if status in (409, 412):
        return BlobChanged(f"{asked.place} was changed by somebody else")
    identity = _identity(asked, code, status, text)
    return identity or _other(asked, code, status, text)


def _identity(asked: Asked, code: str, status: int, text: str) -> StoreError | None:
    """Return the error if it is about who asks, from where, or when."""
    if code == "RequestTimeTooSkewed":
        return AccessDenied(
            f"{asked.server} says that the clock of this machine is wrong",
            hint="Set the clock (timedatectl set-ntp true), then try again.",
        )
    if code in _EXPIRED:
        return AccessDenied(
            f"the credentials for {asked.url} have expired ({code})",
            hint="Get new ones (aws sso login for SSO), or use an instance role or a plain key.",
        )
    if code in _WRONG_REGION or status in _REDIRECTS:
        return _wrong_region(asked, text)
    if code in _BAD_KEY or status == 401:
        return AccessDenied(
            f"{asked.server} does not accept the credentials for {asked.url} ({code or status})",
            hint="Check the key and its secret, and that they belong to this server.",
        )
    if code == "InvalidObjectState":
        return StoreError(
            f"{asked.place} lies in an archive and cannot be read",
            hint="Restore it from the archive first (aws s3api restore-object).",
        )
    if status == 403 or code in ("AccessDenied", "AuthorizationPermissionMismatch"):
        return AccessDenied(
            f"{asked.server} does not allow {asked.action} of {asked.place}",
            hint=_missing_right(asked, text),
        )
    return None


def _wrong_region(asked: Asked, text: str) -> AccessDenied:
    named = _REGION.search(text)
    found = named[1] if named else asked.region_found
    says = f"; it is in {found}" if found else ""
    return AccessDenied(
        f"bucket {asked.bucket!r} is not in region {asked.region}{says}",
        hint=f"Set region to {found}." if found else "Set region to the bucket's region.",
    )


def _missing_right(asked: Asked, text: str) -> str:
    if asked.scheme == "gs":
        return f"Grant {_GOOGLE_RIGHTS[asked.action]} on bucket {asked.bucket}."
    if asked.scheme == "az":
        role = _AZURE_ROLES.get(asked.action, "Storage Blob Data Contributor")
        return f"Assign the role {role!r} on container {asked.bucket}."
    named = _MISSING_RIGHT.search(text)
    right = named[1] if named else _RIGHTS[asked.action]
    resource = asked.url.removeprefix("s3://")
    where = asked.bucket if asked.action.startswith("list") else f"{resource}/*"
    return f"Allow {right} on arn:aws:s3:::{where} in the identity's and the bucket's policy."


def _other(asked: Asked, code: str, status: int, text: str) -> StoreError:
    said = _MESSAGE.search(text)
    words = f": {said[1].strip()[:MESSAGE_SIZE_MAX]}" if said else ""
    hint = "Look the code up in the server's documentation; its own log tells more."
    if code.startswith("KMS."):
        hint = "Check that the key exists, is enabled, and may be used by this identity."
    elif status == 501 or code == "NotImplemented":
        hint = "The server lacks a feature that was configured; leave that option out."
    elif status == 400 and not code:
        hint = "Check the endpoint: a port for TLS answers so when it is asked without."
    return StoreError(
        f"{asked.server} refuses {asked.action} of {asked.place} ({code or status}){words}",
        hint=hint,
    )


def _without_credentials(asked: Asked, service: str, text: str) -> StoreError:
    """Return the error of a request to *service*, which was to give us credentials."""
    code = code_of(text) or (str(status_of(text)) if status_of(text) else "")
    if code in _BUSY or status_of(text) in _BUSY_STATUS:
        return StoreUnavailable(
            f"the service that gives credentials for {asked.url} is busy",
            hint="It was tried again several times; try later.",
        )
    words = f"no credentials for {asked.url} were found"
    hint = _CREDENTIAL_HINTS[asked.scheme] + asked.credentials_hint
    if code:
        return AccessDenied(f"{words} ({code})", hint=hint)
    failed = _unreachable(changed(asked, base_url=service), text)
    if failed.retryable:
        return type(failed)(f"{words}: {failed.message}", hint=hint)
    return failed


def _unreachable(asked: Asked, text: str) -> StoreError:
    certificate = _CERTIFICATE.search(text)
    if certificate:
        return StoreError(
            f"the certificate of {asked.server} is not trusted ({certificate[1]})",
            hint="Set ca_file (or AWS_CA_BUNDLE) to the certificate of the server's authority.",
        )
    if "InvalidContentType" in text or "AlertReceived" in text or "HandshakeFailure" in text:
        return StoreError(
            f"{asked.server} does not speak TLS as it should",
            hint="Write http:// if the server has no TLS; check the port.",
        )
    if _BARE_REDIRECT in text:
        return _wrong_region(asked, text)
    if "kind: Builder" in text:
        return StoreError(
            f"the address of {asked.server} cannot be used",
            hint="Check the endpoint; an STS endpoint must be https.",
        )
    kind = _HTTP_KIND.search(text)
    for sign, words, hint in _CONNECTIONS:
        if sign in text:
            return StoreUnreachable(f"{asked.server} {words}", hint=hint)
    if kind is None and "Interrupted" not in text and "reqwest" not in text:
        return StoreError(
            f"{asked.action} of {asked.place} failed", hint="Look at the server's own log."
        )
    return StoreUnavailable(
        f"the connection to {asked.server} broke during {asked.action} of {asked.place}",
        hint="Check the network between here and the server.",
    )


_CONNECTIONS = (
    ("ConnectionRefused", "refuses connections", "Is the server running, and the port right?"),
    ("dns error", "has a name that cannot be resolved", "Check the endpoint's spelling and DNS."),
    ("NetworkUnreachable", "cannot be reached: no route", "Check this machine's network."),
    ("HostUnreachable", "cannot be reached: no route", "Check this machine's network."),
    ("TimedOut", "does not answer", "Check the endpoint, firewalls, and the server's state."),
    ("kind: Timeout", "does not answer", "Check the endpoint, firewalls, and the server's state."),
)
