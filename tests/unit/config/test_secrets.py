"""Secret settings are fetched late, and never shown."""

from __future__ import annotations

import sys

import boto3
import pytest

from litekeep.config.keys import SecretSource
from litekeep.config.secrets import fetch_secret
from litekeep.errors import ConfigError, MissingExtra
from litekeep.secret import Secret


def test_a_secret_comes_from_the_file_the_environment_or_another_file(tmp_path):
    file = tmp_path / "key"
    file.write_text("from a file\n")

    assert fetch_secret(None, {}) is None
    assert fetch_secret(SecretSource("text", "plain"), {}) == Secret("plain")
    assert fetch_secret(SecretSource("env", "KEY"), {"KEY": "e"}) == Secret("e")
    assert fetch_secret(SecretSource("file", str(file)), {}) == Secret("from a file")


def test_a_secret_that_cannot_be_had_is_an_error_that_names_its_source(tmp_path):
    (tmp_path / "empty").touch()
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for source, name in (
        (SecretSource("env", "KEY"), "KEY"),
        (SecretSource("file", str(tmp_path / "none")), "none"),
        (SecretSource("file", str(tmp_path / "empty")), "empty"),
        (SecretSource("file", str(tmp_path / "binary")), "binary"),
    ):
        with pytest.raises(ConfigError, match=name):
            fetch_secret(source, {"KEY": ""})


@pytest.fixture
def parameters(moto_s3, monkeypatch, no_cloud_environment):
    """AWS's Parameter Store, as moto gives it, reached by the environment."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_s3.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", moto_s3.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", moto_s3.secret_key)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return boto3.client("ssm")


def test_a_secret_comes_from_the_parameter_store(parameters):
    parameters.put_parameter(Name="/backup/key", Value="hidden", Type="SecureString")

    assert fetch_secret(SecretSource("ssm", "/backup/key"), {}) == Secret("hidden")


def test_a_parameter_that_aws_does_not_give_is_an_error_that_names_it(parameters, monkeypatch):
    with pytest.raises(ConfigError, match="AWS refused the parameter /none: ParameterNotFound"):
        fetch_secret(SecretSource("ssm", "/none"), {})
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(ConfigError, match="cannot ask AWS for the parameter /none: NoRegion"):
        fetch_secret(SecretSource("ssm", "/none"), {})


def test_without_boto3_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "boto3", None)

    with pytest.raises(MissingExtra) as caught:
        fetch_secret(SecretSource("ssm", "/none"), {})
    assert "pip install boto3" in (caught.value.hint or "")
