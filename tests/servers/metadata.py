"""
Services that give out AWS credentials: IMDSv2, ECS, and STS for web identity.

    PUT /latest/api/token                                        a token, for some seconds
    GET /latest/meta-data/iam/security-credentials/              the role's name
    GET /latest/meta-data/iam/security-credentials/ROLE          credentials
    GET /latest/meta-data/placement/region                       where the machine stands
    GET /ecs                                                     credentials, with our Authorization
    POST /?Action=AssumeRoleWithWebIdentity&...                  the same from STS, for our token

Without a token that is still good: 401, as the real one says.  It can refuse
(403, or 404 for a machine without a role), hang, lose answers, and give out credentials that
expire soon.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import parse_qs, urlsplit

ROLE = "litekeep-backup"
ECS_TOKEN = "the authorization of this task"
WEB_TOKEN = "header.claims.signature"
_CREDENTIALS = "/latest/meta-data/iam/security-credentials/"


class MetadataServer:
    """One machine's metadata."""

    def __init__(self, access_key: str, secret_key: str, *, token: str = "session") -> None:
        self.access_key = access_key
        self.secret_key = secret_key
        self.session_token = token
        self.region = "us-east-1"
        self.lifetime = timedelta(hours=6)
        self.refuse_status: int | None = None
        self.loses = 0  # so many answers never arrive
        self.requests: list[str] = []
        self.resume = threading.Event()  # cleared: every request hangs
        self.resume.set()
        self._tokens: dict[str, float] = {}
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_PUT(self) -> None:
                owner._put_token(self)

            def do_GET(self) -> None:
                owner._get(self)

            def do_POST(self) -> None:
                owner._assume_role(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def forget_tokens(self) -> None:
        """Let every token given out so far be refused."""
        self._tokens.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.resume.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _put_token(self, request: BaseHTTPRequestHandler) -> None:
        seconds = request.headers.get("X-aws-ec2-metadata-token-ttl-seconds")
        if self._is_refused(request):
            return
        if request.path != "/latest/api/token" or seconds is None:
            _answer(request, 400, "")
            return
        token = f"token-{len(self._tokens)}-{time.monotonic_ns()}"
        self._tokens[token] = time.monotonic() + float(seconds)
        _answer(request, 200, token)

    def _get(self, request: BaseHTTPRequestHandler) -> None:
        if self._is_refused(request):
            return
        if request.path == "/ecs":
            is_known = request.headers.get("Authorization") == ECS_TOKEN
            _answer(request, 200 if is_known else 401, self._credentials() if is_known else "")
            return
        token = request.headers.get("X-aws-ec2-metadata-token", "")
        if self._tokens.get(token, 0) < time.monotonic():
            _answer(request, 401, "")
        elif request.path == _CREDENTIALS:
            _answer(request, 200, ROLE)
        elif request.path == _CREDENTIALS + ROLE:
            _answer(request, 200, self._credentials())
        elif request.path == "/latest/meta-data/placement/region":
            _answer(request, 200, self.region)
        else:
            _answer(request, 404, "")

    def _assume_role(self, request: BaseHTTPRequestHandler) -> None:
        request.rfile.read(int(request.headers.get("Content-Length") or 0))
        asked = parse_qs(urlsplit(request.path).query)
        request.path = "/sts"
        if self._is_refused(request):
            return
        if asked.get("WebIdentityToken") != [WEB_TOKEN]:
            code = "InvalidIdentityToken"
            _answer(
                request, 400, f"<ErrorResponse><Error><Code>{code}</Code></Error></ErrorResponse>"
            )
            return
        expires = (datetime.now(UTC) + self.lifetime).strftime("%Y-%m-%dT%H:%M:%SZ")
        _answer(
            request,
            200,
            "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>"
            f"<AccessKeyId>{self.access_key}</AccessKeyId>"
            f"<SecretAccessKey>{self.secret_key}</SecretAccessKey>"
            f"<SessionToken>{self.session_token}</SessionToken><Expiration>{expires}</Expiration>"
            "</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>",
        )

    def _is_refused(self, request: BaseHTTPRequestHandler) -> bool:
        self.requests.append(f"{request.command} {request.path}")
        self.resume.wait(60)
        if self.loses > 0:
            self.loses -= 1
            request.close_connection = True
            request.connection.shutdown(socket.SHUT_RDWR)
            return True
        if self.refuse_status is not None:
            _answer(request, self.refuse_status, "")
        return self.refuse_status is not None

    def _credentials(self) -> str:
        expires = datetime.now(UTC) + self.lifetime
        return json.dumps(
            {
                "Code": "Success",
                "Type": "AWS-HMAC",
                "AccessKeyId": self.access_key,
                "SecretAccessKey": self.secret_key,
                "Token": self.session_token,
                "LastUpdated": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "Expiration": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
        )


def _answer(request: BaseHTTPRequestHandler, status: int, text: str) -> None:
    body = text.encode()
    request.send_response(status)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)
