"""
A proxy that writes down what S3 is asked, each request as the permissions that AWS wants for it.

    with Recorder(server.endpoint) as recorder:
        ...                          the client is given recorder.endpoint
        recorder.actions             {"s3:PutObject", "s3:GetObject"}

Of HTTP it knows what it has to: where a request ends.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
"""

from __future__ import annotations

import re
import socket
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from tests.servers.proxy import TcpProxy

_HEAD_SIZE_MAX = 64 * 1024
_PAGE = {"prefix", "delimiter", "encoding-type", "continuation-token", "start-after", "max-keys"}
_UPLOADS = {"prefix", "delimiter", "encoding-type", "key-marker", "upload-id-marker", "max-uploads"}
_NONE: AbstractSet[str] = frozenset()

#: Method, whether it is of an object, what must and what may stand in the query: the first counts.
_KINDS = (
    ("GET", False, {"list-type"}, _PAGE, "s3:ListBucket"),
    ("GET", False, {"uploads"}, _UPLOADS, "s3:ListBucketMultipartUploads"),
    ("HEAD", False, _NONE, _NONE, "s3:ListBucket"),
    ("POST", False, {"delete"}, _NONE, "s3:DeleteObject"),
    ("GET", True, _NONE, {"x-id"}, "s3:GetObject"),
    ("HEAD", True, _NONE, _NONE, "s3:GetObject"),
    ("PUT", True, {"uploadId", "partNumber"}, {"x-id"}, "s3:PutObject"),
    ("PUT", True, _NONE, {"x-id"}, "s3:PutObject"),
    ("POST", True, {"uploads"}, {"x-id"}, "s3:PutObject"),
    ("POST", True, {"uploadId"}, {"x-id"}, "s3:PutObject"),
    ("DELETE", True, {"uploadId"}, {"x-id"}, "s3:AbortMultipartUpload"),
    ("DELETE", True, _NONE, {"x-id"}, "s3:DeleteObject"),
)
_BY_HEADER = {
    "x-amz-copy-source": "s3:GetObject",
    "x-amz-acl": "s3:PutObjectAcl",
    "x-amz-tagging": "s3:PutObjectTagging",
    "x-amz-bypass-governance-retention": "s3:BypassGovernanceRetention",
    "x-amz-object-lock-mode": "s3:PutObjectRetention",
}


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked, in path style; `headers` by lower-case names."""

    method: str
    target: str
    headers: dict[str, str]

    @property
    def query(self) -> AbstractSet[str]:
        """The names in the query."""
        return parse_qs(urlsplit(self.target).query, keep_blank_values=True).keys()

    @property
    def actions(self) -> frozenset[str]:
        """The permissions that it takes; what is not known here is in no policy."""
        is_of_object = urlsplit(self.target).path.strip("/").count("/") > 0
        action = next(
            (
                action
                for method, of_object, must, may, action in _KINDS
                if (method, of_object) == (self.method, is_of_object)
                and must <= self.query <= must | may
            ),
            f"unknown: {self.method} {self.target}",
        )
        return frozenset({action} | {_BY_HEADER[n] for n in self.headers if n in _BY_HEADER})


class Recorder(TcpProxy):
    """A proxy that misbehaves as any `TcpProxy`, and remembers each request."""

    def __init__(self, endpoint: str) -> None:
        self.requests: list[Request] = []
        super().__init__(endpoint)

    @property
    def actions(self) -> frozenset[str]:
        """All permissions that the requests so far took."""
        return frozenset().union(*(request.actions for request in self.requests))

    def _pump(
        self, source: socket.socket, sink: socket.socket, cut: int | None, counter: str
    ) -> None:
        if counter == "bytes_up":
            source = _Heard(source, self.requests)  # type: ignore[assignment]
        super()._pump(source, sink, cut, counter)


class _Heard:
    """A socket whose reader is overheard."""

    def __init__(self, source: socket.socket, requests: list[Request]) -> None:
        self._source = source
        self._requests = requests
        self._head = b""
        self._body_left = 0

    def recv(self, size: int) -> bytes:
        piece = self._source.recv(size)
        self._hear(piece)
        return piece

    def shutdown(self, how: int) -> None:
        self._source.shutdown(how)

    def close(self) -> None:
        self._source.close()

    def _hear(self, piece: bytes) -> None:
        while piece:
            skipped = min(self._body_left, len(piece))
            self._body_left -= skipped
            self._head += piece[skipped:]
            head, end, piece = self._head.partition(b"\r\n\r\n")
            if not end:
                assert len(self._head) <= _HEAD_SIZE_MAX, "no HTTP"
                return
            self._head = b""
            request = _parsed(head.decode("latin-1"))
            assert "transfer-encoding" not in request.headers, "where the body ends is not known"
            self._body_left = int(request.headers.get("content-length", "0"))
            self._requests.append(request)


def _parsed(head: str) -> Request:
    first, *lines = head.split("\r\n")
    method, target, _ = first.split(" ")
    named = (re.match(r"([^:]+):\s*(.*)", line) for line in lines)
    return Request(method, target, {m[1].lower(): m[2] for m in named if m})
