"""
Who we are to S3: keys, profiles, instance roles, tasks, web identity, each with a real put.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import boto3
import pytest

from litekeep.errors import (
    AccessDenied,
    ConfigError,
    LitekeepError,
    StoreError,
    StoreUnavailable,
)
from litekeep.secret import Secret
from litekeep.store.base import Store
from litekeep.store.open import open_store
from litekeep.store.options import StoreOptions
from tests.servers.certificates import Authority
from tests.servers.clouds import AzureServer
from tests.servers.metadata import ECS_TOKEN, WEB_TOKEN, MetadataServer
from tests.servers.odd import OddServer, say
from tests.servers.process import free_ports
from tests.servers.proxy import TcpProxy
from tests.servers.s3 import S3Server

pytestmark = pytest.mark.usefixtures("no_cloud_environment")


@pytest.fixture
def metadata(moto_s3: S3Server) -> Iterator[MetadataServer]:
    with MetadataServer("ASIAROLE", "SKROLE") as server:
        yield server


def opened(server: S3Server, **changes: object) -> Store:
    """A store whose keys are to be found somewhere else."""
    options = StoreOptions(endpoint=server.endpoint, retry_seconds=0, timeout_seconds=2, **changes)
    return open_store(f"s3://{server.new_bucket()}/prefix", options)


def test_an_instance_role_is_asked_by_imdsv2(
    moto_s3: S3Server, metadata: MetadataServer, monkeypatch: pytest.MonkeyPatch
):
    """Token first, then the role, then its credentials; they are kept for later requests."""
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"{metadata.endpoint}/")
    store = opened(moto_s3)
    for index in range(3):
        store.put(f"name-{index}", b"body")

    assert [blob.name for blob in store.list()] == ["name-0", "name-1", "name-2"]
    assert [line.split("/")[0] for line in metadata.requests[:3]] == ["PUT ", "GET ", "GET "]
    assert len(metadata.requests) <= 9  # three clients, asked once each


def test_credentials_that_expire_are_asked_for_again(
    moto_s3: S3Server, metadata: MetadataServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.endpoint)
    metadata.lifetime = timedelta(seconds=1)
    store = opened(moto_s3)
    store.put("first", b"body")
    before = len(metadata.requests)
    metadata.forget_tokens()
    deadline = time.monotonic() + 10
    while len(metadata.requests) == before and time.monotonic() < deadline:
        store.put("second", b"body")  # what was just fetched is kept for an instant

    assert len(metadata.requests) > before


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_machine_without_a_role_is_told_so(
    moto_s3: S3Server, metadata: MetadataServer, monkeypatch: pytest.MonkeyPatch, status: int
):
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.endpoint)
    metadata.refuse_status = status
    with pytest.raises(AccessDenied, match="no credentials") as caught:
        opened(moto_s3).put("name", b"body")

    assert "AWS_ACCESS_KEY_ID" in (caught.value.hint or "")


def test_a_metadata_service_that_hangs_does_not_hang_us(
    moto_s3: S3Server, metadata: MetadataServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.endpoint)
    metadata.resume.clear()
    with pytest.raises(StoreError):
        opened(moto_s3).put("name", b"body")


def test_an_answer_that_was_lost_is_asked_for_again(
    moto_s3: S3Server, metadata: MetadataServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.endpoint)
    metadata.loses = 2
    options = StoreOptions(endpoint=moto_s3.endpoint, retry_seconds=10, timeout_seconds=2)
    open_store(f"s3://{moto_s3.new_bucket()}/prefix", options).put("name", b"body")

    assert metadata.loses == 0


@pytest.mark.parametrize("is_there", [True, False])
def test_a_credential_service_that_does_not_answer_is_unavailable(
    moto_s3: S3Server, metadata: MetadataServer, monkeypatch: pytest.MonkeyPatch, is_there: bool
):
    (port,) = free_ports(1)
    endpoint = metadata.endpoint if is_there else f"http://127.0.0.1:{port}"
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint)
    metadata.resume.clear()
    with pytest.raises(StoreUnavailable, match="no credentials") as caught:
        opened(moto_s3).put("name", b"body")

    assert endpoint in caught.value.message
    assert "AWS_ACCESS_KEY_ID" in (caught.value.hint or "")


def test_shared_files_that_nobody_can_read_are_told_of(
    moto_s3: S3Server, metadata: MetadataServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """There is a ~/.aws, no boto3, and no role either."""
    shared_files(tmp_path, "")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("litekeep.store.connection.has_boto3", lambda: False)
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.endpoint)
    metadata.refuse_status = 404
    with pytest.raises(AccessDenied, match="no credentials") as caught:
        opened(moto_s3).put("name", b"body")

    assert "To read ~/.aws install boto3" in (caught.value.hint or "")


def test_no_credentials_at_all_is_said_at_once(moto_s3: S3Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(AccessDenied, match="no AWS credentials were found"):
        opened(moto_s3)


def test_an_ecs_task_gets_its_credentials(
    moto_s3: S3Server, metadata: MetadataServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    token = tmp_path / "token"
    token.write_text(ECS_TOKEN)
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{metadata.endpoint}/ecs")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(token))
    opened(moto_s3).put("name", b"body")

    assert metadata.requests == ["GET /ecs"]


def test_web_identity_is_exchanged_for_a_role(
    moto_s3: S3Server,
    metadata: MetadataServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    tcp_proxy: Callable[..., TcpProxy],
    authority: Authority,
):
    """The token goes out by TLS only.  One that STS refuses is no missing key of the store."""
    token = tmp_path / "token"
    token.write_text(WEB_TOKEN)
    sts = tcp_proxy(metadata.endpoint, tls=authority.context(tmp_path, "127.0.0.1"))
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/backup")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.endpoint)
    opened(moto_s3, ca_file=authority.certificate).put("name", b"body")
    assert metadata.requests == ["POST /sts"]

    token.write_text("another")
    with pytest.raises(AccessDenied, match=r"no credentials .* \(InvalidIdentityToken\)"):
        opened(moto_s3, ca_file=authority.certificate).put("name", b"body")


def test_keys_in_the_environment_work(seaweedfs: S3Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", seaweedfs.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", seaweedfs.secret_key)
    monkeypatch.setenv("AWS_ENDPOINT_URL", seaweedfs.endpoint)
    store = open_store(f"s3://{seaweedfs.new_bucket()}/p")
    store.put("name", b"body")

    assert store.read("name", size_max=4) == b"body"


def shared_files(folder: Path, config: str, credentials: str = "") -> None:
    (folder / ".aws").mkdir()
    (folder / ".aws/config").write_text(config)
    (folder / ".aws/credentials").write_text(credentials)


def test_a_profile_is_read_by_boto3(
    seaweedfs: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """Keys of the default profile are found unasked, others by name."""
    keys = (
        f"aws_access_key_id = {seaweedfs.access_key}\n"
        f"aws_secret_access_key = {seaweedfs.secret_key}\n"
    )
    shared_files(
        tmp_path,
        "[default]\nregion = eu-west-1\n[profile ops]\nregion = us-east-1\n",
        f"[default]\n{keys}[ops]\n{keys}",
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    opened(seaweedfs).put("name", b"body")
    opened(seaweedfs, profile="ops").put("name", b"body")
    with pytest.raises(ConfigError, match="no AWS profile 'opps'"):
        opened(seaweedfs, profile="opps")


def test_a_credential_process_is_run(
    seaweedfs: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    answer = tmp_path / "answer.json"
    answer.write_text(
        json.dumps(
            {
                "Version": 1,
                "AccessKeyId": seaweedfs.access_key,
                "SecretAccessKey": seaweedfs.secret_key,
            }
        )
    )
    shared_files(
        tmp_path,
        f"[profile ops]\ncredential_process = cat {answer}\n"
        "[profile broken]\ncredential_process = false\n",
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    opened(seaweedfs, profile="ops").put("name", b"body")
    with pytest.raises(AccessDenied, match="cannot be read") as caught:
        opened(seaweedfs, profile="broken").put("name", b"body")
    assert caught.value.hint


def test_an_sso_session_that_ended_asks_to_log_in(
    seaweedfs: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    shared_files(
        tmp_path,
        "[profile sso]\nsso_session = s\nsso_account_id = 123456789012\nsso_role_name = r\n"
        "[sso-session s]\nsso_start_url = https://x.invalid/start\nsso_region = us-east-1\n",
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(AccessDenied, match="SSO session") as caught:
        opened(seaweedfs, profile="sso").put("name", b"body")
    assert caught.value.hint == "Run: aws sso login --profile sso."


def test_keys_come_in_pairs(seaweedfs: S3Server):
    with pytest.raises(ConfigError, match="belong together"):
        opened(seaweedfs, access_key_id="AK")


def test_no_secret_is_in_any_text(seaweedfs: S3Server):
    """Options, the URL, the error and the errors behind it."""
    secret = "very-secret-value"
    options = seaweedfs.options(secret_access_key=Secret(secret), session_token=Secret(secret))
    store = open_store("s3://no-such-bucket/p", options)
    with pytest.raises(LitekeepError) as caught:
        store.put("name", b"body")
    error: BaseException | None = caught.value
    texts = [repr(options), store.url]
    while error is not None:
        texts += [str(error), repr(error), str(getattr(error, "hint", ""))]
        error = error.__cause__
    assert all(secret not in text for text in texts)


SECRETS_OF_OTHERS = {
    "AWS_ACCESS_KEY_ID": "FOREIGNKEY",
    "AWS_SECRET_ACCESS_KEY": "foreign",
    "AWS_SESSION_TOKEN": "foreign",
}
SETTINGS_OF_OTHERS = {
    "AWS_SERVER_SIDE_ENCRYPTION": "aws:kms",
    "AWS_SSE_KMS_KEY_ID": "foreign",
    "AWS_CHECKSUM_ALGORITHM": "sha256",
    "AWS_REQUEST_PAYER": "true",
    "AWS_S3_EXPRESS": "true",
    "AWS_CONDITIONAL_PUT": "disabled",
}
ALWAYS = {"x-amz-date", "x-amz-content-sha256"}


def asked_as(odd: OddServer, store: Store) -> tuple[str, set[str]]:
    """Put a blob; return the key that signed, and which headers of AWS went along."""
    odd.answer = lambda request: say(request, 200, ETag='"e"')
    store.put("name", b"body", create=True)
    _, _, headers = odd.seen[-1]
    signed = headers["authorization"].partition("Credential=")[2].partition("/")[0]
    return signed, {name for name in headers if name.startswith("x-amz-")} - ALWAYS


def test_configured_keys_take_nothing_of_the_environment(
    odd: OddServer, monkeypatch: pytest.MonkeyPatch
):
    """Nor does anybody take settings that nobody made: encryption, payer, checksums."""
    for name, value in (SECRETS_OF_OTHERS | SETTINGS_OF_OTHERS).items():
        monkeypatch.setenv(name, value)

    assert asked_as(odd, odd.store()) == ("AK", set())
    of_environment = odd.store(access_key_id=None, secret_access_key=None)
    assert asked_as(odd, of_environment) == ("FOREIGNKEY", {"x-amz-security-token"})
    encrypted = odd.store(encryption="aws:kms", session_token=Secret("ours"))
    assert asked_as(odd, encrypted) == (
        "AK",
        {"x-amz-security-token", "x-amz-server-side-encryption"},
    )
    assert os.environ["AWS_SERVER_SIDE_ENCRYPTION"] == "aws:kms"  # others still see it


def test_keys_of_the_environment_come_before_its_profile(
    odd: OddServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """As boto3 and the AWS tools choose; a configured profile comes before both."""
    keys = "aws_access_key_id = PROFILEKEY\naws_secret_access_key = s\n"
    shared_files(tmp_path, "", f"[ops]\n{keys}")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_PROFILE", "ops")
    found = {"access_key_id": None, "secret_access_key": None}
    assert asked_as(odd, odd.store(**found))[0] == "PROFILEKEY"

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ENVKEY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    assert asked_as(odd, odd.store(**found))[0] == "ENVKEY"
    assert boto3.Session().get_credentials().access_key == "ENVKEY"
    assert asked_as(odd, odd.store(**found, profile="ops"))[0] == "PROFILEKEY"


def test_a_configured_key_of_azure_is_not_mixed_either(
    azure: AzureServer, monkeypatch: pytest.MonkeyPatch
):
    """A bearer token of the environment would win."""
    container = azure.new_bucket()
    monkeypatch.setenv("AZURE_STORAGE_TOKEN", "foreign")
    open_store(f"az://{container}/p", azure.options()).put("name", b"body")


def test_a_file_without_certificates_is_named(tmp_path: Path, odd: OddServer):
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(ConfigError, match=r"ca\.pem holds no certificates") as caught:
        odd.store(ca_file=tmp_path / "ca.pem")
    assert "ca_file" in (caught.value.hint or "")
