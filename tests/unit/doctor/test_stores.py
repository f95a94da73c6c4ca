"""
A store under a doctor's hands: on real servers, with the rights that it has.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from litekeep.clock import now
from litekeep.config.settings import StoreSettings
from litekeep.doctor.bucket import NAMES as BUCKET_NAMES
from litekeep.doctor.bucket import bucket_findings
from litekeep.doctor.findings import Finding
from litekeep.doctor.stores import NAMES, own_name, store_findings
from litekeep.errors import ConfigError, StoreUnavailable
from litekeep.repository.catalog import read_contents
from litekeep.repository.layout import Repository
from litekeep.store.base import Blob, Store
from litekeep.store.directory import DirectoryStore
from litekeep.store.memory import MemoryStore
from litekeep.store.objects import ObjectsStore
from litekeep.store.open import open_store
from litekeep.store.retry import RetryStore
from litekeep.store.unopened import UnopenedStore
from tests.contract.conftest import PLACES
from tests.servers.iam import add_identity
from tests.servers.process import free_ports
from tests.servers.s3 import S3Server

BUCKET = "bucket-of-doctor"
GUIDE = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": ["s3:PutObject", "s3:GetObject", "s3:ListBucket"],
            "Resource": [f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/sqlite-backup/*"],
        }
    ],
}


@pytest.fixture(scope="module")
def guide_s3(iam_s3: S3Server) -> S3Server:
    """The guide's policy, enforced."""
    iam_s3.client().create_bucket(Bucket=BUCKET)
    add_identity(iam_s3, "doctor", GUIDE)
    return S3Server(iam_s3.endpoint, *iam_s3.others["doctor"])


def looked(store: Store, *, is_pruned: bool = False, clock: Any = now) -> dict[str, Finding]:
    found = store_findings(Repository(store, "app"), "app", is_pruned=is_pruned, clock=clock)
    assert tuple(each.name for each in found) == NAMES[: len(found)]
    return {each.name: each for each in found}


def states(found: dict[str, Finding]) -> list[str]:
    return [each.state for each in found.values()]


def opened(server: S3Server, bucket: str, prefix: str = "p", **changes: Any) -> Store:
    return open_store(f"s3://{bucket}/{prefix}", server.options(**changes))


def test_a_real_s3_is_well_and_nothing_is_left_in_it(seaweedfs: S3Server):
    bucket = seaweedfs.new_bucket()
    store = opened(seaweedfs, bucket)

    assert states(looked(store)) == ["ok"] * 4
    assert list(store.list()) == []


@pytest.mark.parametrize("kind", ["memory", "moto", "gcs", "azure"])
def test_every_kind_of_store_is_well(kind: str, request: pytest.FixtureRequest):
    store = PLACES[kind](request).open()

    found = looked(store)
    assert states(found) == ["ok"] * 4, found
    assert list(store.list()) == []


def test_a_folder_is_well_and_nothing_is_left_in_it(tmp_path: Path):
    found = looked(DirectoryStore(tmp_path))

    assert states(found) == ["ok"] * 4
    assert "this machine" in found["clock"].detail
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_told_and_not_made(tmp_path: Path):
    found = looked(DirectoryStore(tmp_path / "a" / "b"))

    assert states(found) == ["warn"] * 4
    assert "not there yet" in found["store"].detail
    assert "mounted" in found["store"].hint
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_a_folder_is_a_failure(tmp_path: Path):
    (tmp_path / "file").touch()

    found = looked(DirectoryStore(tmp_path / "file"))["store"]
    assert (found.state, bool(found.hint)) == ("fail", True)


def test_the_guides_policy_suffices_and_what_stays_is_no_snapshot(guide_s3: S3Server):
    store = opened(guide_s3, BUCKET, "sqlite-backup")
    found = looked(store)

    assert states(found) == ["ok"] * 4
    assert "only prune would need it" in found["delete"].detail
    assert own_name() in [blob.name for blob in store.list()]
    contents = read_contents(Repository(store, "app"))
    assert (contents.snapshots, contents.leftovers, contents.claims) == ((), (), ())
    assert states(looked(store)) == ["ok"] * 4  # and the next run replaces it


def test_where_snapshots_are_to_be_pruned_the_missing_right_is_a_warning(guide_s3: S3Server):
    found = looked(opened(guide_s3, BUCKET, "sqlite-backup"), is_pruned=True)

    assert found["delete"].state == "warn"
    assert "s3:DeleteObject" in found["delete"].hint


def test_who_may_not_write_is_told_and_no_other_check_is_taken_for_well(seaweedfs: S3Server):
    found = looked(opened(seaweedfs, seaweedfs.new_bucket(), identity="ro"))

    assert states(found) == ["fail", "warn", "warn", "warn"]
    assert found["store"].code == 32
    assert "s3:PutObject" in found["store"].hint
    assert found["delete"].detail == "could not be checked: see store"


def test_a_server_that_is_not_there_is_a_failure_with_its_code(seaweedfs: S3Server):
    (port,) = free_ports(1)
    store = opened(seaweedfs, "bucket", endpoint=f"http://127.0.0.1:{port}", retry_seconds=0)

    assert looked(store)["store"].code == StoreUnavailable.exit_code


def test_a_store_that_could_not_be_opened_is_a_failure():
    error = ConfigError("a secret is missing", hint="Set it.")
    found = looked(UnopenedStore("s3://bucket/p", error))

    assert (found["store"].code, found["store"].hint) == (2, "Set it.")


def test_a_server_that_ignores_conditions_is_told(rclone_s3: S3Server):
    found = looked(opened(rclone_s3, rclone_s3.new_bucket()))

    assert [found[name].state for name in ("store", "conditions")] == ["ok", "warn"]
    assert "ignores the condition" in found["conditions"].detail


@pytest.mark.parametrize(
    ("seconds", "state", "said"),
    [
        (0, "ok", "within"),
        (60, "warn", "ahead of"),
        (-60, "warn", "behind"),
        (1000, "fail", "15 minutes"),
        (-1000, "fail", "15 minutes"),
    ],
)
def test_the_clock_is_held_against_the_stores(
    seaweedfs: S3Server, seconds: int, state: str, said: str
):
    store = opened(seaweedfs, seaweedfs.new_bucket())
    found = looked(store, clock=lambda: now() + timedelta(seconds=seconds))["clock"]

    assert found.state == state
    assert said in found.detail
    if state == "fail":
        assert found.code == 32


class Forgetful(MemoryStore):
    """It returns other bytes than it was given."""

    def get(self, name, *, offset=0, size=None, version=None):
        return iter([b"other"])


class Contested(MemoryStore):
    """Somebody else removes the first object that is put."""

    is_first = True

    def put(self, name, body, **options) -> Blob:
        blob = super().put(name, body, **options)
        if self.is_first:
            self.is_first = False
            self.delete(name)
        return blob


def test_bytes_that_come_back_changed_are_a_failure():
    found = looked(Forgetful())

    assert (found["store"].state, found["store"].code) == ("fail", 21)


def test_another_doctor_who_removes_the_test_object_is_no_failure():
    assert looked(Contested())["store"].state == "ok"


# The bucket


def bucket_of(store: Store) -> ObjectsStore:
    assert isinstance(store, RetryStore)
    assert isinstance(store.inner, ObjectsStore)
    return store.inner


def bucket_looked(
    server: S3Server, bucket: str, *, clock: Any = now, **settings: Any
) -> dict[str, Finding]:
    url = f"s3://{bucket}/sqlite-backup"
    inner = bucket_of(open_store(url, server.options()))
    access = inner.bucket.connection.access
    configured = StoreSettings(name="s3", url=url, **settings)
    found = bucket_findings(configured, inner.bucket.name, access, about="s3", clock=clock)
    assert tuple(each.name for each in found) == BUCKET_NAMES
    return {each.name: each for each in found}


def lifecycle(prefix: str, *, status: str = "Enabled") -> dict[str, Any]:
    return {
        "Rules": [
            {
                "ID": "x",
                "Status": status,
                "Filter": {"Prefix": prefix},
                "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
            }
        ]
    }


def test_a_bucket_as_it_is_made_wants_attention(moto_s3: S3Server):
    found = bucket_looked(moto_s3, moto_s3.new_bucket())

    assert found["versioning"].state == "warn"
    assert found["versioning"].detail.startswith("off")
    assert found["upload-rule"].state == "warn"
    assert "AbortIncompleteMultipartUpload" in found["upload-rule"].hint
    assert found["open-uploads"].state == "ok"


def test_a_bucket_is_asked_only_what_is_wanted(moto_s3: S3Server):
    inner = bucket_of(open_store(f"s3://{moto_s3.new_bucket()}/p", moto_s3.options()))
    store = StoreSettings(name="s3", url="s3://bucket/p")
    access = inner.bucket.connection.access

    for wanted in (["upload-rule"], ["versioning", "open-uploads"]):
        found = bucket_findings(store, inner.bucket.name, access, names=wanted, about="s3")
        assert [each.name for each in found] == wanted


def test_a_bucket_that_is_set_up_well_is_well(moto_s3: S3Server):
    bucket = moto_s3.new_bucket()
    client = moto_s3.client()
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}
    client.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    block = dict.fromkeys(
        ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
    )
    client.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=block)
    client.put_bucket_lifecycle_configuration(
        Bucket=bucket, LifecycleConfiguration=lifecycle("sqlite-backup/")
    )

    found = bucket_looked(moto_s3, bucket)
    assert {name: each.state for name, each in found.items()} == dict.fromkeys(BUCKET_NAMES, "ok")
    assert "aws:kms" in found["encryption"].detail
    assert "7 days" in found["upload-rule"].detail


def test_versions_that_are_suspended_are_told(moto_s3: S3Server):
    bucket = moto_s3.new_bucket()
    moto_s3.client().put_bucket_versioning(
        Bucket=bucket, VersioningConfiguration={"Status": "Suspended"}
    )

    assert bucket_looked(moto_s3, bucket)["versioning"].detail.startswith("suspended")


@pytest.mark.parametrize(
    ("configuration", "state"),
    [
        (lifecycle(""), "ok"),
        (lifecycle("sqlite"), "ok"),
        (lifecycle("other/"), "warn"),
        (lifecycle("", status="Disabled"), "warn"),
    ],
)
def test_a_rule_counts_where_it_is_for_our_prefix(
    moto_s3: S3Server, configuration: dict[str, Any], state: str
):
    bucket = moto_s3.new_bucket()
    moto_s3.client().put_bucket_lifecycle_configuration(
        Bucket=bucket, LifecycleConfiguration=configuration
    )

    assert bucket_looked(moto_s3, bucket)["upload-rule"].state == state


def test_encryption_that_each_object_asks_for_is_enough(moto_s3: S3Server):
    found = bucket_looked(moto_s3, moto_s3.new_bucket(), encryption="AES256")

    assert found["encryption"].state == "ok"


def test_a_bucket_that_everybody_may_read_is_a_failure(moto_s3: S3Server):
    bucket = moto_s3.new_bucket()
    moto_s3.client().put_bucket_acl(Bucket=bucket, ACL="public-read")

    found = bucket_looked(moto_s3, bucket)["public-access"]
    assert (found.state, found.code) == ("fail", 30)
    assert "access list" in found.detail


def test_an_upload_left_open_is_told_once_it_is_old(seaweedfs: S3Server):
    bucket = seaweedfs.new_bucket()
    client = seaweedfs.client()
    client.create_multipart_upload(Bucket=bucket, Key="sqlite-backup/2025/09/app.db.gz")
    client.create_multipart_upload(Bucket=bucket, Key="elsewhere/app.db.gz")

    assert bucket_looked(seaweedfs, bucket)["open-uploads"].state == "ok"
    later = bucket_looked(seaweedfs, bucket, clock=lambda: now() + timedelta(days=2))
    assert later["open-uploads"].state == "warn"
    assert later["open-uploads"].detail.startswith("1 uploads")


def test_seaweedfs_answers_each_question_or_it_is_said_that_it_does_not(seaweedfs: S3Server):
    bucket = seaweedfs.new_bucket()
    found = bucket_looked(seaweedfs, bucket)

    for each in found.values():
        assert each.state == "ok" or each.hint, each
        assert each.state != "fail", each
    seaweedfs.client().put_bucket_versioning(
        Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}
    )
    assert bucket_looked(seaweedfs, bucket)["versioning"].state == "ok"


def test_what_the_guides_policy_lets_nobody_ask_is_said_with_the_right_that_it_takes(
    guide_s3: S3Server,
):
    found = bucket_looked(guide_s3, BUCKET)

    # moto looks at no rights where it is asked for encryption or the public access block.
    for name, right in {
        "versioning": "s3:GetBucketVersioning",
        "public-access": "s3:GetBucketPolicyStatus",
        "upload-rule": "s3:GetLifecycleConfiguration",
        "open-uploads": "s3:ListBucketMultipartUploads",
    }.items():
        assert found[name].state == "warn", name
        assert found[name].detail.startswith("could not be checked"), name
        assert right in found[name].hint, name


def test_without_an_identity_or_boto3_nothing_is_taken_for_well(
    moto_s3: S3Server, monkeypatch: pytest.MonkeyPatch
):
    store = StoreSettings(name="s3", url="s3://bucket/p")
    alone = bucket_findings(store, "bucket", None, about="s3")
    inner = bucket_of(open_store("s3://bucket/p", moto_s3.options()))
    monkeypatch.setattr("litekeep.doctor.bucket.has_boto3", lambda: False)
    without = bucket_findings(store, "bucket", inner.bucket.connection.access, about="s3")

    assert {each.state for each in (*alone, *without)} == {"warn"}
    assert all("litekeep[aws]" in each.detail for each in without)
