"""
One POST to an address that is a secret: short, bounded, and silent about the address.

    1   http and https only; certificates are verified.
    2   A redirect is not followed: what is posted, and to whom, was decided here.
    3   A server that does not answer, or that says it is in trouble, is asked again, in all
        for no longer than its time.  One that refuses is not.
    4   Errors name the host and nothing else of the address.

A server that sends a byte now and then can outlast any timeout of a socket, and so can the
look-up of a name; so who waits for this waits on a thread, and no longer than it wants to.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Mapping
from http.client import HTTPException
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from litekeep.clock import Monotonic, Sleep, monotonic, sleep
from litekeep.errors import ConfigError, NotTold
from litekeep.secret import Secret
from litekeep.version import VERSION

TRIES_MAX = 3
PAUSE_SECONDS = 1.0

_ANSWER_SIZE_MAX = 4096
_SECONDS_A_TRY_MAX = 5.0
_BUSY = (408, 425, 429)
_HINT = "Check the address and the way there; litekeep notify test tries it."


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


def checked_url(url: Secret) -> str:
    """
    Return the address itself.

    Raises:
        ConfigError: It is none that can be posted to; its text is not shown.
    """
    text = url.reveal()
    try:
        parts = urlsplit(text)
        has_port = parts.port is None or parts.port > 0
    except ValueError:
        parts, has_port = urlsplit(""), False
    is_plain = text.isascii() and text.isprintable() and " " not in text
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or "@" in parts.netloc
        or parts.fragment
        or not (has_port and is_plain)
    ):
        raise ConfigError(
            "its address is no URL that can be posted to",
            hint="Write https://HOST/PATH, without a user and without blanks.",
        )
    return text


def host_of(url: str) -> str:
    """
    Return what may be said of an address.

    >>> host_of("https://hc-ping.com/2a3b?x=1")
    'hc-ping.com'
    """
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    seconds_max: float,
    clock: Monotonic = monotonic,
    pause: Sleep = sleep,
) -> None:
    """
    Post *body*.

    Args:
        url: As `checked_url` returns it.

        body: What is posted.

        headers: Sent with it.

        seconds_max: After that no further try begins.

        clock, pause: Of the tries.

    Raises:
        NotTold: The server does not take it.
    """
    headers = {"User-Agent": f"Litekeep/{VERSION}", **headers}
    request = Request(url, body, headers, method="POST")  # noqa: S310 (http and https only)
    until = clock() + seconds_max
    for number in range(1, TRIES_MAX + 1):
        try:
            _post_once(request, min(_SECONDS_A_TRY_MAX, max(until - clock(), 0.1)))
            return
        except _TryAgain as error:
            if number == TRIES_MAX or clock() + PAUSE_SECONDS * number >= until:
                raise _not_told(url, str(error)) from error
        pause(PAUSE_SECONDS * number)


class _TryAgain(Exception):
    """Another try may succeed."""


def _post_once(request: Request, seconds: float) -> None:
    opener = build_opener(_NoRedirects())
    try:
        with opener.open(request, timeout=seconds) as answer:
            answer.read(_ANSWER_SIZE_MAX)
    except HTTPError as error:
        with error:
            said = f"answered {error.code}"
        if error.code >= 500 or error.code in _BUSY:
            raise _TryAgain(said) from error
        if 300 <= error.code < 400:
            said += ", a redirect, which is not followed"
        raise _not_told(request.full_url, said) from error
    except (OSError, HTTPException, ValueError) as error:
        reason = error.reason if isinstance(error, URLError) else error
        said = _said(reason, seconds)
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise _not_told(request.full_url, said) from error
        raise _TryAgain(said) from error


def _said(reason: object, seconds: float) -> str:
    """Return why there was no answer; never an error's own text, which may hold the address."""
    match reason:
        case ssl.SSLCertVerificationError():
            return f"has a certificate that is not trusted: {reason.verify_message}"
        case ssl.SSLError():
            return "does not speak TLS as it should"
        case TimeoutError():
            return f"did not answer in {seconds:.0f} s"
        case socket.gaierror():
            return "is a name that is not known"
        case OSError() if reason.errno:
            return f"cannot be reached: {os.strerror(reason.errno).lower()}"
        case OSError():
            return "cannot be reached"
    return "gave no answer of HTTP"


def _not_told(url: str, said: str) -> NotTold:
    return NotTold(f"{host_of(url)} {said}", hint=_HINT)
