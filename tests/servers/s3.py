"""
Servers that speak S3: SeaweedFS (the real one), moto (IAM enforced), rclone (no conditions).
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from litekeep.secret import Secret
from litekeep.store.options import StoreOptions
from tests.servers.certificates import Authority
from tests.servers.process import answers, free_ports, running

_bucket_numbers = itertools.count(1)


@dataclass(frozen=True, eq=False)
class S3Server:
    """A running server, and the keys of one who may do everything."""

    endpoint: str
    access_key: str
    secret_key: str
    #: Other identities: name -> (access key, secret key).
    others: dict[str, tuple[str, str]] = field(default_factory=dict)
    tls_endpoint: str | None = None
    ca_file: Path | None = None

    def client(self, service: str = "s3", **changes: Any) -> Any:
        """Return a boto3 client of the server."""
        settings: dict[str, Any] = {
            "endpoint_url": self.endpoint,
            "aws_access_key_id": self.access_key,
            "aws_secret_access_key": self.secret_key,
            "region_name": "us-east-1",
        }
        config = Config(
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path"},
            retries={"max_attempts": 1},
        )
        return boto3.client(service, config=config, **(settings | changes))

    def new_bucket(self) -> str:
        """Make an empty bucket; return its name."""
        name = f"test-{os.getpid()}-{next(_bucket_numbers)}"
        self.client().create_bucket(Bucket=name)
        return name

    def empty(self, bucket: str) -> None:
        """Make a bucket of that name, if there is none, and take away all that is in it."""
        client = self.client()
        with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou):
            client.create_bucket(Bucket=bucket)
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            for item in page.get("Contents", []):
                client.delete_object(Bucket=bucket, Key=item["Key"])

    def options(self, identity: str | None = None, **changes: Any) -> StoreOptions:
        """Return how to reach the server, as *identity* or as the one who may do all."""
        key, secret = self.others[identity] if identity else (self.access_key, self.secret_key)
        options = StoreOptions(
            endpoint=self.endpoint,
            region="us-east-1",
            access_key_id=key,
            secret_access_key=Secret(secret),
            retry_seconds=5,
        )
        return replace(options, **changes)

    def open_uploads(self, bucket: str) -> list[str]:
        """Return the keys of multipart uploads that were left open."""
        found = self.client().list_multipart_uploads(Bucket=bucket)
        return sorted(upload["Key"] for upload in found.get("Uploads", []))


_IDENTITIES = {
    "admin": ("AKTEST", "SKTESTSKTEST", ["Admin", "Read", "Write", "List", "Tagging"]),
    "ro": ("AKRO", "SKROSKROSKRO", ["Read", "List"]),
    "none": ("AKNONE", "SKNONESKNONE", ["Read:no-such-bucket"]),
    # May do what the policies of buckets allow it: see `allow_by_bucket`.
    "guide": ("AKGUIDE", "SKGUIDESKGUIDE", ["Read:no-such-bucket"]),
}


def allow_by_bucket(server: S3Server, bucket: str, identity: str, policy: dict[str, Any]) -> None:
    """Let SeaweedFS hold *identity* to a policy as IAM has it, by the policy of the bucket."""
    principal = {"Principal": {"AWS": f"arn:aws:iam::000000000000:user/{identity}"}}
    statements = [{**statement, **principal} for statement in policy["Statement"]]
    document = json.dumps({**policy, "Statement": statements})
    server.client().put_bucket_policy(Bucket=bucket, Policy=document)


@contextlib.contextmanager
def seaweedfs_server(folder: Path, authority: Authority) -> Iterator[S3Server]:
    """Run SeaweedFS with plain and TLS ports."""
    settings = folder / "s3.json"
    identities = [
        {
            "name": name,
            "credentials": [{"accessKey": key, "secretKey": secret}],
            "actions": actions,
        }
        for name, (key, secret, actions) in _IDENTITIES.items()
    ]
    kms = {
        "default_provider": "local",
        "providers": {"local": {"type": "local", "enableOnDemandCreate": True}},
    }
    settings.write_text(json.dumps({"identities": identities, "kms": kms}))
    names = (
        *("master.port", "master.port.grpc", "volume.port", "volume.port.grpc"),
        *("filer.port", "filer.port.grpc", "s3.port", "s3.port.grpc", "s3.port.https"),
    )
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    certificate, key = authority.issue(folder, "127.0.0.1")
    data = folder / "data"
    data.mkdir()
    command = [
        _program("weed"),
        *("server", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3"),
        *(f"-{name}={port}" for name, port in ports.items()),
        *(f"-s3.cert.file={certificate}", f"-s3.key.file={key}", f"-s3.config={settings}"),
        *("-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"),
        *("-volume.max=2000", "-master.volumeSizeLimitMB=256", "-volume.preStopSeconds=0"),
        *("-s3.autoCreateBucket=false", "-s3.allowDeleteBucketNotEmpty=false"),
        "-master.electionTimeout=1s",
    ]
    admin, admin_secret, _ = _IDENTITIES["admin"]
    server = S3Server(
        f"http://127.0.0.1:{ports['s3.port']}",
        admin,
        admin_secret,
        {name: (key, secret) for name, (key, secret, _) in _IDENTITIES.items()},
        f"https://127.0.0.1:{ports['s3.port.https']}",
        authority.certificate,
    )
    environment = {
        **os.environ,
        "WEED_S3_SSE_KEY": "anything",
        # Each bucket takes volumes of its own, seven at a time unless told.
        "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1",
    }
    with running(
        command,
        log=folder / "weed.log",
        is_ready=lambda: _takes_objects(server),
        environment=environment,
    ):
        yield server


def _takes_objects(server: S3Server) -> bool:
    """Tell whether a put succeeds: that is some time after the port opens."""
    if not answers(server.endpoint):
        return False
    client = server.client()
    try:
        with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou):
            client.create_bucket(Bucket="is-ready")
        client.put_object(Bucket="is-ready", Key="ready", Body=b"x")
    except (BotoCoreError, ClientError):
        return False
    return True


@contextlib.contextmanager
def moto_server() -> Iterator[S3Server]:
    """Run moto in this process; it believes every key. `iam.py` has one that does not."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield S3Server(f"http://{host}:{port}", "AKMOTO", "SKMOTO")
    finally:
        server.stop()


@contextlib.contextmanager
def rclone_server(folder: Path) -> Iterator[S3Server]:
    """Run rclone's S3, which takes no notice of conditions."""
    (port,) = free_ports(1)
    data = folder / "data"
    data.mkdir()
    endpoint = f"http://127.0.0.1:{port}"
    server = S3Server(endpoint, "AKRCLONE", "SKRCLONE")
    command = [
        _program("rclone"),
        *("serve", "s3", str(data), "--addr", f"127.0.0.1:{port}"),
        *("--auth-key", f"{server.access_key},{server.secret_key}", "--config", os.devnull),
        *("--vfs-cache-mode", "off"),
    ]
    with running(command, log=folder / "rclone.log", is_ready=lambda: answers(endpoint)):
        yield server


def _program(name: str) -> str:
    """Return the program beside the interpreter: the wheels put it there."""
    return str(Path(sys.executable).with_name(name))
