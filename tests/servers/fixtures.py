"""
The servers as fixtures: one of each for all tests of a process, started at first use.

See README.md beside this file.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

import pytest

from tests.servers import clouds, docker, iam, s3
from tests.servers import podman as podmen
from tests.servers.aws import NAMES, AmazonFront
from tests.servers.certificates import Authority, new_authority
from tests.servers.clouds import AzureServer, GoogleServer
from tests.servers.docker import Engine, docker_engine
from tests.servers.odd import OddServer
from tests.servers.podman import podman_engine
from tests.servers.proxy import TcpProxy
from tests.servers.s3 import S3Server


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A certificate authority that nobody trusts who is not told to."""
    return new_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[S3Server]:
    """SeaweedFS: a real S3, with identities that may do all, read, or nothing."""
    with s3.seaweedfs_server(tmp_path_factory.mktemp("seaweedfs"), authority) as server:
        yield server


@pytest.fixture(scope="session")
def moto_s3() -> Iterator[S3Server]:
    """moto: S3, IAM and STS in this process; takes any key."""
    with s3.moto_server() as server:
        yield server


@pytest.fixture(scope="session")
def iam_s3() -> Iterator[S3Server]:
    """moto that lets each identity do what its policy allows, and nothing else."""
    with iam.iam_server() as server:
        yield server


@pytest.fixture(scope="session")
def rclone_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """rclone serve s3: takes no notice of conditions."""
    with s3.rclone_server(tmp_path_factory.mktemp("rclone")) as server:
        yield server


@pytest.fixture(scope="session")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GoogleServer]:
    """fake-gcs-server."""
    with clouds.google_server(tmp_path_factory.mktemp("gcs")) as server:
        yield server


@pytest.fixture(scope="session")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzureServer]:
    """Azurite."""
    program = clouds.azurite_program()
    if program is None:
        pytest.skip("Azurite is not installed: run tests/servers/install (needs node and npm)")
    with clouds.azure_server(program, tmp_path_factory.mktemp("azurite")) as server:
        yield server


@pytest.fixture
def amazon(
    iam_s3: S3Server, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AmazonFront]:
    """S3 with regions, at AWS's own addresses, for who is given its proxy: see `aws.py`."""
    context = authority.context(tmp_path_factory.mktemp("amazon"), *NAMES)
    with AmazonFront(iam_s3, context, authority.certificate) as front:
        yield front


@contextlib.contextmanager
def started(
    start: Callable[[], contextlib.AbstractContextManager[Engine]],
) -> Iterator[Engine]:
    """Start an engine, or skip where this machine lets none run."""
    with contextlib.ExitStack() as stack:
        try:
            engine = stack.enter_context(start())
        except RuntimeError as error:  # as `running` raises it, with the end of the log
            pytest.skip(f"no engine can run here: {error}")
        yield engine


@pytest.fixture(scope="session")
def running_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A Docker Engine of our own."""
    if (reason := docker.why_not()) is not None:
        pytest.skip(reason)
    with started(lambda: docker_engine(tmp_path_factory.mktemp("docker"))) as engine:
        yield engine


@pytest.fixture
def engine(running_engine: Engine) -> Iterator[Engine]:
    """The Docker Engine, with nothing in it but its images."""
    yield running_engine
    running_engine.sweep()


@pytest.fixture(scope="session")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Podman, which speaks as Docker does."""
    if (reason := podmen.why_not()) is not None:
        pytest.skip(reason)
    with started(lambda: podman_engine(tmp_path_factory.mktemp("podman"))) as engine:
        yield engine


@pytest.fixture
def odd() -> Iterator[OddServer]:
    """A server that says what the test tells it to."""
    with OddServer() as server:
        yield server


@pytest.fixture
def tcp_proxy() -> Iterator[Callable[..., TcpProxy]]:
    """Make proxies in front of endpoints; they are closed after the test."""
    with contextlib.ExitStack() as stack:
        yield lambda endpoint, **options: stack.enter_context(TcpProxy(endpoint, **options))


@pytest.fixture
def no_cloud_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> pytest.MonkeyPatch:
    """Take away every variable and file that could hold somebody's credentials."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "AZURE_", "GOOGLE_", "STORAGE_EMULATOR")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    return monkeypatch
