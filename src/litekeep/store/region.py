"""
Where a bucket of AWS lies, if nobody said so: S3 is asked.

    HEAD https://s3.REGION.amazonaws.com/BUCKET      unsigned, one request, no body
    x-amz-bucket-region: ap-northeast-1              in every answer, a refusal too

1. It takes no permission and shows no key: S3 names the region to everybody.
2. The region that is asked is the instance's own, where the credentials come from its role:
   a network may lead to no other.  Else it is us-east-1.
3. An answer holds for the process.  No answer, and that there is no such bucket, do not:
   the next request asks again.
4. What was answered becomes part of a server's name, so it must look like a region.

A region is asked within its partition: the regions of China and GovCloud are found from
instances there alone.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadBucket.html
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
"""

from __future__ import annotations

import re
import ssl
import threading
from http import HTTPStatus
from http.client import HTTPException
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import HTTPRedirectHandler, HTTPSHandler, ProxyHandler, Request, build_opener

from litekeep.errors import StoreError, StoreUnavailable, StoreUnreachable

DEFAULT_REGION = "us-east-1"
METADATA = "http://169.254.169.254"

_REGION = re.compile(r"[a-z]{2,}(-[a-z]+)+-\d{1,2}")
_HEADER = "x-amz-bucket-region"
_HINT = "Check this machine's network, or set region (or AWS_REGION) to the bucket's."
_SECONDS_MAX = 10.0
#: The instance's metadata are one hop away, or there are none.
_METADATA_SECONDS = 1.0
_METADATA_SIZE_MAX = 1024
_TOKEN = "X-aws-ec2-metadata-token"
_TOKEN_SECONDS = "60"


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


_found: dict[str, str] = {}
_finding = threading.Lock()


def s3_domain(region: str) -> str:
    """
    Return the name of S3 in *region*.

    >>> s3_domain("ap-northeast-1"), s3_domain("cn-north-1")
    ('s3.ap-northeast-1.amazonaws.com', 's3.cn-north-1.amazonaws.com.cn')
    """
    return f"s3.{region}.amazonaws.com" + (".cn" if region.startswith("cn-") else "")


def find_region(
    bucket: str, *, metadata: str | None, authorities: bytes | None, seconds: float
) -> str | None:
    """
    Return the region of *bucket*, or None if there is no such bucket.

    An answer that names no region leaves the one that was asked.

    Args:
        metadata: Address of the instance's metadata, an http URL, where its role is who asks.

        authorities: Certificates to trust beside the system's, in PEM.

        seconds: Longest silence of S3.

    Raises:
        StoreUnavailable: S3 did not answer, or has no time.

        StoreError: It is not S3 that answers.
    """
    with _finding:
        if bucket not in _found:
            own = _region_of_instance(metadata) if metadata else None
            asked = own or DEFAULT_REGION
            found = _region_of_bucket(bucket, asked, authorities, min(seconds, _SECONDS_MAX))
            if found is None:
                return None
            _found[bucket] = found
        return _found[bucket]


def _region_of_bucket(
    bucket: str, region: str, authorities: bytes | None, seconds: float
) -> str | None:
    server = f"https://{s3_domain(region)}"
    # In the path: a certificate covers no bucket with dots in its name.
    request = Request(f"{server}/{quote(bucket, safe='')}", method="HEAD")  # noqa: S310
    opener = build_opener(_NoRedirects(), HTTPSHandler(context=_trusting(authorities)))
    try:
        with opener.open(request, timeout=seconds) as answer:
            status, said = int(answer.status), str(answer.headers.get(_HEADER, ""))
    except HTTPError as error:
        with error:
            status, said = error.code, str(error.headers.get(_HEADER, ""))
    except (OSError, HTTPException, ValueError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise StoreError(
                f"the certificate of {server} is not trusted ({reason.verify_message})",
                hint="Set ca_file (or AWS_CA_BUNDLE) to the certificate of the server's authority.",
            ) from error
        raise StoreUnreachable(
            f"the region of bucket {bucket!r} is not known, and {server} does not answer",
            hint=_HINT,
        ) from error
    if _REGION.fullmatch(said):
        return said
    if status >= 500 or status == HTTPStatus.TOO_MANY_REQUESTS:
        raise StoreUnavailable(
            f"{server} cannot say now in which region bucket {bucket!r} is ({status})", hint=_HINT
        )
    return None if status == HTTPStatus.NOT_FOUND else region


def _trusting(authorities: bytes | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if authorities is not None:
        # Outside its certificates a bundle may hold names in any encoding.
        context.load_verify_locations(cadata=authorities.decode("ascii", "ignore"))
    return context


def _region_of_instance(metadata: str) -> str | None:
    """Return where this machine stands, by IMDSv2; None where it is not told."""
    opener = build_opener(_NoRedirects(), ProxyHandler({}))

    def ask(path: str, method: str, headers: dict[str, str]) -> str:
        request = Request(f"{metadata}{path}", headers=headers, method=method)  # noqa: S310
        with opener.open(request, timeout=_METADATA_SECONDS) as answer:
            return str(answer.read(_METADATA_SIZE_MAX), "ascii")

    try:
        token = ask("/latest/api/token", "PUT", {f"{_TOKEN}-ttl-seconds": _TOKEN_SECONDS})
        region = ask("/latest/meta-data/placement/region", "GET", {_TOKEN: token})
    except (OSError, HTTPException, ValueError):
        return None
    return region if _REGION.fullmatch(region) else None
