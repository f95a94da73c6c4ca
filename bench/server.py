"""
This module is a real S3 server for the benchmarks: SeaweedFS, in a folder of its own.

It is started as the tests start theirs.  Each round gets a fresh one, so that no
contender meets a server that others have filled.  It listens on free ports of the
loopback only.  It shares the machine with the contenders; what it uses itself is
measured apart (`Server.pid`).
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.servers import process

ACCESS_KEY = "bench"
#: Guards nothing: the server holds generated data, on the loopback, for minutes.
SECRET_KEY = "benchmarks-only"
REGION = "us-east-1"
WARM_UP_COUNT = 8
PORT_NAMES = (
    *("master.port", "master.port.grpc", "volume.port", "volume.port.grpc"),
    *("filer.port", "filer.port.grpc", "s3.port", "s3.port.grpc"),
)


@dataclass(frozen=True, slots=True)
class Server:
    """A running server; `environment` is what its clients need."""

    endpoint: str
    pid: int

    def create_bucket(self, bucket: str) -> None:
        """
        Make an empty bucket that is ready for load.

        The server allocates a bucket's volumes at its first writes, which can take a
        second, and on a busy machine ends in an internal error: neither is to fall on
        whoever comes first.
        """
        client = _client(self.endpoint, attempts=5)
        client.create_bucket(Bucket=bucket)
        for index in range(WARM_UP_COUNT):
            client.put_object(Bucket=bucket, Key=f"warm-up-{index}", Body=bytes(1 << 20))
        for index in range(WARM_UP_COUNT):
            client.delete_object(Bucket=bucket, Key=f"warm-up-{index}")

    def stored_size(self, bucket: str) -> int:
        """Return the bytes in a bucket; copies made inside the server (`latest`) left out."""
        pages = _client(self.endpoint).get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return sum(
            one["Size"]
            for page in pages
            for one in page.get("Contents", ())
            if "/latest." not in one["Key"]
        )


class ProgramMissing(Exception):
    """A program that is needed is not installed."""


def environment_for(endpoint: str) -> Mapping[str, str]:
    """Return the variables for a server, or a proxy before it, at *endpoint*."""
    return {
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ALLOW_HTTP": "true",
    }


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Server]:
    """Start a server; kill it and remove its folder at the end."""
    data = folder / "data"
    data.mkdir(parents=True)
    ports = dict(zip(PORT_NAMES, process.free_ports(len(PORT_NAMES)), strict=True))
    endpoint = f"http://127.0.0.1:{ports['s3.port']}"
    try:
        with process.running(
            _command(folder, data, ports),
            log=folder / "log.txt",
            is_ready=lambda: process.answers(endpoint) and _takes_objects(endpoint),
        ) as started:
            yield Server(endpoint, started.pid)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def is_installed(name: str) -> bool:
    """Say whether this environment, or else the machine, has a program."""
    return _found(name) is not None


def program(name: str) -> str:
    """Return a program of this environment, or else of the machine."""
    found = _found(name)
    if found is None:
        raise ProgramMissing(f"the program {name} is not installed")
    return found


def _found(name: str) -> str | None:
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name)


def _command(folder: Path, data: Path, ports: Mapping[str, int]) -> list[str]:
    identities = folder / "identities.json"
    credentials = [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}]
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    identity = {"name": "bench", "credentials": credentials, "actions": actions}
    identities.write_text(json.dumps({"identities": [identity]}))
    # As many volumes as may be: by itself the server allows one for each free GiB of the disk,
    # and every bucket takes seven.
    flags = {
        **{"dir": data, "ip": "127.0.0.1", "ip.bind": "127.0.0.1", "s3.config": identities},
        **{"s3.port.iceberg": 0, "s3.port.lance": 0, "master.telemetry": "false"},
        **{"volume.max": 1000, "master.volumeSizeLimitMB": 1024, "volume.preStopSeconds": 0},
        **{"s3.autoCreateBucket": "false", "master.electionTimeout": "1s"},
        **ports,
    }
    return [program("weed"), "server", "-s3", *(f"-{key}={value}" for key, value in flags.items())]


def _client(endpoint: str, attempts: int = 1) -> Any:  # boto3's clients have no types
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        config=Config(retries={"total_max_attempts": attempts}, connect_timeout=2, read_timeout=10),
    )


def _takes_objects(endpoint: str) -> bool:
    """Tell whether a put succeeds: that is some time after the port opens."""
    client = _client(endpoint)
    try:
        with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou):
            client.create_bucket(Bucket="ready")
        client.put_object(Bucket="ready", Key="ready", Body=b"1")
    except (BotoCoreError, ClientError):
        return False
    return True
