"""
S3 as AWS has it, in regions: a proxy that a client is given by ``HTTPS_PROXY``, so that it asks
for AWS's own addresses and knows nothing of a test.

    front = AmazonFront(server, context, authority)      a server that knows no regions
    bucket = front.new_bucket("ap-northeast-1")
    front.environ            what a client is given, and nothing of a region or an endpoint
    front.seen               what was asked

It ends the TLS of ``s3.REGION.amazonaws.com``, passes on what was asked of the right region
and signed for it, and answers the rest as S3 does:

    another region's address          301 PermanentRedirect, without an address to go to
    signed for another region         400 AuthorizationHeaderMalformed, with the right one
    not signed                        403
    a bucket that is nowhere          404

each with ``x-amz-bucket-region`` where there is a bucket.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadBucket.html
https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html
"""

from __future__ import annotations

import contextlib
import http.client
import re
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from tests.servers.odd import say
from tests.servers.s3 import S3Server

#: For the certificate: a bucket in the name, and none.
REGIONS = ("us-east-1", "us-west-2", "ap-northeast-1", "eu-west-1")
NAMES = tuple(f"{star}s3.{region}.amazonaws.com" for region in REGIONS for star in ("", "*."))

_HOST = re.compile(r"(?:([\w.-]+)\.)?s3\.([\w-]+)\.amazonaws\.com(?::443)?")
_SCOPE = re.compile(r"Credential=[^/]+/\d{8}/([\w-]+)/s3/aws4_request")
_HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "date", "server"}


@dataclass(frozen=True, slots=True)
class Asked:
    """One request; `scope` is the region that it is signed for, or nothing."""

    method: str
    bucket: str
    target: str
    region: str
    scope: str
    body: bytes
    headers: dict[str, str]

    @property
    def is_search(self) -> bool:
        """Whether it looks for the bucket's region: an unsigned HEAD of the bucket."""
        path = urlsplit(self.target).path.strip("/")
        return self.method == "HEAD" and path in ("", self.bucket) and not self.scope


class AmazonFront:
    """See the head of this module."""

    def __init__(self, server: S3Server, context: ssl.SSLContext, authority: Path) -> None:
        self.server = server
        self.seen: list[Asked] = []
        self._homes: dict[str, str] = {}
        #: Answers a search in place of us.
        self.search: Callable[[Any], None] | None = None
        self._target = urlsplit(server.endpoint).netloc
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_CONNECT(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.connection = context.wrap_socket(self.connection, server_side=True)
                self.rfile = self.connection.makefile("rb")
                self.wfile = self.connection.makefile("wb", buffering=0)
                self.close_connection = False

            def ask(self) -> None:
                with contextlib.suppress(ConnectionError):
                    owner._answer(self)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = ask

            def finish(self) -> None:
                super().finish()
                if isinstance(self.connection, ssl.SSLSocket):
                    self.connection.close()

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """A client that closes in the middle is nothing to tell of."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.environ = {
            "HTTPS_PROXY": f"http://127.0.0.1:{self._server.server_port}",
            "AWS_CA_BUNDLE": str(authority),
        }
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def new_bucket(self, region: str) -> str:
        """Make an empty bucket there; return its name."""
        bucket = self.server.new_bucket()
        self._homes[bucket] = region
        return bucket

    @property
    def searches(self) -> list[Asked]:
        """The requests that look for a region."""
        return [asked for asked in self.seen if asked.is_search]

    def _answer(self, request: Any) -> None:
        asked = _parsed(request)
        self.seen.append(asked)
        home = self._homes.get(asked.bucket)
        named = {} if home is None else {"x_amz_bucket_region": home}
        if asked.is_search and self.search is not None:
            self.search(request)
        elif home is None:
            say(request, 404, _error("NoSuchBucket"))
        elif asked.region != home:
            say(request, 301, _error("PermanentRedirect"), **named)
        elif not asked.scope:
            say(request, 403, _error("AccessDenied"), **named)
        elif asked.scope != home:
            more = f"<Region>{home}</Region>"
            say(request, 400, _error("AuthorizationHeaderMalformed", more), **named)
        else:
            self._pass_on(request, asked)

    def _pass_on(self, request: Any, asked: Asked) -> None:
        connection = http.client.HTTPConnection(self._target, timeout=30)
        with contextlib.closing(connection):
            connection.request(asked.method, asked.target, asked.body, asked.headers)
            answer = connection.getresponse()
            body = answer.read()
        request.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in _HOP_BY_HOP:
                request.send_header(name, value)
        length = answer.getheader("Content-Length") if asked.method == "HEAD" else str(len(body))
        request.send_header("Content-Length", length or "0")
        request.end_headers()
        request.wfile.write(body)


def _parsed(request: Any) -> Asked:
    host = _HOST.fullmatch(request.headers["Host"])
    assert host, f"this is no address of S3: {request.headers['Host']}"
    path = urlsplit(request.path).path
    scope = _SCOPE.search(request.headers.get("Authorization", ""))
    return Asked(
        method=request.command,
        bucket=host[1] or path.split("/")[1],
        target=request.path,
        region=host[2],
        scope=scope[1] if scope else "",
        body=request.rfile.read(int(request.headers.get("Content-Length") or 0)),
        headers=dict(request.headers.items()),
    )


def _error(code: str, more: str = "") -> bytes:
    return f"<Error><Code>{code}</Code><Message>By the front.</Message>{more}</Error>".encode()
