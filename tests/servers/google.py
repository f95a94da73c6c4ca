"""
The XML interface of Google Cloud Storage in front of fake-gcs-server, which has only the
reading half of it: obstore speaks XML, the emulator's writes are JSON.

    PUT  /bucket/name                     upload, with metadata and x-goog-if-generation-match
    PUT  /bucket/name  x-goog-copy-source   rewrite
    POST /bucket/name?uploads, PUT ?partNumber&uploadId, POST ?uploadId, DELETE ?uploadId
    GET, HEAD, DELETE, lists              handed on; metadata added, ?generation looked at

Blobs, generations, conditions and listings are the emulator's own.
"""

from __future__ import annotations

import http.client
import itertools
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, quote, unquote, urlsplit

_CONDITION = "x-goog-if-generation-match"


class XmlGateway:
    """A gateway before the emulator at *backend* (host:port)."""

    def __init__(self, backend: str) -> None:
        self.backend = backend
        self._parts: dict[str, dict[int, bytes]] = {}
        self._headers: dict[str, dict[str, str]] = {}
        self._upload_numbers = itertools.count(1)
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                owner.serve(self, body)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = serve

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def serve(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        parts = urlsplit(request.path)
        query = parse_qs(parts.query, keep_blank_values=True)
        bucket, _, name = parts.path.lstrip("/").partition("/")
        where = unquote(bucket), unquote(name)
        headers = {key.lower(): value for key, value in request.headers.items()}
        upload = query.get("uploadId", [""])[0]
        if request.command == "POST" and "uploads" in query:
            upload = f"upload-{next(self._upload_numbers)}"
            self._parts[upload], self._headers[upload] = {}, headers
            text = f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId>"
            _answer(request, 200, f"{text}</InitiateMultipartUploadResult>".encode())
        elif request.command == "PUT" and upload:
            self._parts[upload][int(query["partNumber"][0])] = body
            _answer(request, 200, b"", {"ETag": f'"part-{query["partNumber"][0]}"'})
        elif request.command == "DELETE" and upload:
            self._parts.pop(upload)
            _answer(request, 204, b"")
        elif request.command == "POST" and upload:
            numbers = map(int, re.findall(rb"<PartNumber>(\d+)<", body))
            whole = b"".join(self._parts[upload][number] for number in numbers)
            self._upload(request, where, whole, self._headers.pop(upload), is_parts=True)
            self._parts.pop(upload)
        elif request.command == "PUT" and "x-goog-copy-source" in headers:
            source_bucket, _, source = unquote(headers["x-goog-copy-source"]).partition("/")
            path = f"/storage/v1/b/{source_bucket.lstrip('/')}/o/{quote(source, safe='')}/rewriteTo"
            target = f"/b/{where[0]}/o/{quote(where[1], safe='')}"
            status, _, data = self._ask("POST", path + target, b"{}", {})
            _answer(request, status, data)
        elif request.command == "PUT":
            self._upload(request, where, body, headers)
        else:
            self._hand_on(request, where, headers)

    def _upload(
        self,
        request: BaseHTTPRequestHandler,
        where: tuple[str, str],
        body: bytes,
        headers: dict[str, str],
        *,
        is_parts: bool = False,
    ) -> None:
        prefix = "x-goog-meta-"
        document = {
            "name": where[1],
            "contentType": headers.get("content-type", "application/octet-stream"),
            "metadata": {
                key.removeprefix(prefix): value
                for key, value in headers.items()
                if key.startswith(prefix)
            },
        }
        path = f"/upload/storage/v1/b/{where[0]}/o?uploadType=multipart"
        if _CONDITION in headers:
            path += f"&ifGenerationMatch={headers[_CONDITION]}"
        line = b"--boundary\r\nContent-Type: application/json\r\n\r\n"
        message = line + json.dumps(document).encode()
        message += b"\r\n--boundary\r\nContent-Type: application/octet-stream\r\n\r\n"
        message += body + b"\r\n--boundary--\r\n"
        kind = {"Content-Type": "multipart/related; boundary=boundary"}
        status, _, data = self._ask("POST", path, message, kind)
        if status != 200:
            _answer(request, status, data)
            return
        stored = json.loads(data)
        marks = {"ETag": f'"{stored["etag"]}"', "x-goog-generation": stored["generation"]}
        text = f"<CompleteMultipartUploadResult><ETag>{stored['etag']}</ETag>"
        done = f"{text}</CompleteMultipartUploadResult>".encode() if is_parts else b""
        _answer(request, 200, done, marks)

    def _hand_on(
        self, request: BaseHTTPRequestHandler, where: tuple[str, str], headers: dict[str, str]
    ) -> None:
        kept = {key: value for key, value in headers.items() if key in ("range", "if-match")}
        path = request.path
        status, answered, data = self._ask(request.command, path, b"", kept)
        extra = {
            key: value
            for key, value in answered.items()
            if key.lower() not in ("date", "content-length", "transfer-encoding", "connection")
        }
        if where[1] and request.command in ("GET", "HEAD") and status < 300:
            about = f"/storage/v1/b/{where[0]}/o/{quote(where[1], safe='')}"
            known = json.loads(self._ask("GET", about, b"", {})[2])
            generation = parse_qs(urlsplit(path).query).get("generation")
            if generation and generation != [known["generation"]]:
                _answer(request, 404, b"<Error><Code>NoSuchKey</Code></Error>")
                return
            extra |= {f"x-goog-meta-{k}": v for k, v in known.get("metadata", {}).items()}
        size = answered.get("Content-Length") if request.command == "HEAD" else None
        _answer(request, status, data, extra, size=size)

    def _ask(
        self, method: str, path: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self.backend, timeout=30)
        try:
            connection.request(method, path, body or None, headers)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()


def _answer(
    request: BaseHTTPRequestHandler,
    status: int,
    body: bytes,
    headers: dict[str, Any] | None = None,
    *,
    size: str | None = None,
) -> None:
    request.send_response(status)
    for key, value in (headers or {}).items():
        request.send_header(key, str(value))
    if status != 204:
        request.send_header("Content-Length", size or str(len(body)))
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(body)
