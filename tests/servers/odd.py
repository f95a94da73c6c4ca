"""
An S3 server that says whatever a test wants: for what no real one can be made to say.

    odd.answer = lambda request: say(request, 200, b"body", ETag='"e"')
    odd.seen                     what was asked: method, path, headers
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from litekeep.secret import Secret
from litekeep.store.base import Store
from litekeep.store.open import open_store
from litekeep.store.options import StoreOptions

DATE = "Mon, 08 Sep 2025 12:00:01 GMT"
_OPTIONS = StoreOptions(
    access_key_id="AK",
    secret_access_key=Secret("SK"),
    region="us-east-1",
    retry_seconds=0,
    timeout_seconds=5,
)


class OddServer:
    """See the head of this module."""

    def __init__(self) -> None:
        self.answer: Callable[[Any], None] = lambda request: say(request, 200)
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def ask(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                owner.seen.append((self.command, self.path, headers))
                with contextlib.suppress(ConnectionError):
                    owner.answer(self)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = ask

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def options(self) -> StoreOptions:
        """How to reach the server."""
        return replace(_OPTIONS, endpoint=self.endpoint)

    def store(self, **changes: Any) -> Store:
        """Return the store at ``s3://bucket/pre`` of this server."""
        return open_store("s3://bucket/pre", replace(self.options, **changes))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def say(request: Any, status: int, body: bytes = b"", **headers: str) -> None:
    """Answer; an underscore in a header's name is a hyphen."""
    request.send_response(status)
    for name, value in {"Content_Length": str(len(body)), **headers}.items():
        request.send_header(name.replace("_", "-"), value)
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(body)


def blob(request: Any, body: bytes, **headers: str) -> None:
    """Answer with an object, or the range of it that was asked for."""
    facts = {"ETag": '"e"', "Last_Modified": DATE, **headers}
    asked = request.headers.get("Range")
    if asked is None:
        say(request, 200, body, **facts)
        return
    first, _, last = asked.removeprefix("bytes=").partition("-")
    start, end = int(first), min(int(last or len(body)), len(body) - 1)
    part = body[start : end + 1]
    say(request, 206, part, **{"Content_Range": f"bytes {start}-{end}/{len(body)}", **facts})


def listing(*keys: str, more: str = "") -> bytes:
    """Return the body of an answer to a list request."""
    contents = "".join(
        f"<Contents><Key>{key}</Key><Size>1</Size><ETag>&quot;e&quot;</ETag>"
        "<LastModified>2025-09-08T12:00:01.000Z</LastModified></Contents>"
        for key in keys
    )
    return f'<?xml version="1.0"?><ListBucketResult>{more}{contents}</ListBucketResult>'.encode()
