"""
The guide on an instance, as its unit has it: a bucket, a role, and nothing that names a region.

AWS itself is played by a front with regions before a server that enforces IAM: `aws.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.conftest import Shell, make_database
from tests.guide import policy_for
from tests.servers.aws import AmazonFront
from tests.servers.iam import keys_of_role
from tests.servers.metadata import MetadataServer

TOKYO = "ap-northeast-1"


@pytest.fixture
def bucket(amazon: AmazonFront, shell: Shell) -> Iterator[str]:
    """A bucket in Tokyo, of which the shell knows the name, on an instance there."""
    bucket = amazon.new_bucket(TOKYO)
    role = keys_of_role(amazon.server, f"role-of-{bucket}", policy_for(bucket))
    with MetadataServer(*role[:2], token=role[2]) as metadata:
        metadata.region = TOKYO
        shell.environ |= {
            **amazon.environ,
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": metadata.endpoint,
            "S3_BUCKET": bucket,
            "LOCAL_BACKUP_DIR": "local",
        }
        yield bucket


def test_a_role_and_a_bucket_in_another_region_than_the_first_are_enough(
    bucket: str, amazon: AmazonFront, shell: Shell
):
    """Each process asks once where it is, which takes no key, and then asks nobody else."""
    database = make_database(shell.folder / "app.db")
    source = f"s3://{bucket}/sqlite-backup"
    for arguments in (
        ("backup", "app.db"),
        ("list", source),
        ("verify", source),
        ("drill", source),
        ("restore", source, "-o", "back.db"),
    ):
        amazon.seen.clear()
        ran = shell.run(*arguments)
        assert ran.code == 0, ran
        assert ran.err == ""
        search, *others = amazon.seen
        assert amazon.searches == [search], f"{arguments[0]} asked more than once"
        assert "Authorization" not in search.headers
        assert {(each.region, each.scope) for each in others} == {(TOKYO, TOKYO)}

    assert (shell.folder / "back.db").read_bytes() == database.read_bytes()


def test_a_region_that_is_configured_wrongly_is_said_with_the_right_one(bucket: str, shell: Shell):
    make_database(shell.folder / "app.db")
    shell.environ["AWS_REGION"] = "eu-west-1"
    ran = shell.run("backup", "app.db")

    assert ran.code == 32
    assert f"bucket {bucket!r} is not in region eu-west-1; it is in {TOKYO}" in ran.out + ran.err
    assert f"Set region to {TOKYO}." in ran.out + ran.err
