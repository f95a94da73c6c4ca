"""
What a repository holds, whatever lies in its store.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from litekeep.clock import now
from litekeep.codec.formats import CODECS
from litekeep.errors import AccessDenied, LitekeepError, StoreError, StoreUnavailable
from litekeep.repository.catalog import Claim, Contents, read_contents
from litekeep.repository.layout import Repository, manifest_of, parse_object
from litekeep.repository.manifest import ID_KEY, SIZE_MAX, Manifest, encode
from litekeep.repository.names import database_names
from litekeep.store.companion import companion_path
from litekeep.store.directory import DirectoryStore
from litekeep.store.memory import MemoryStore
from tests.unit.repository.test_manifest import MANIFEST

TIME = datetime(2025, 9, 8, 12, 0, 1, tzinfo=UTC)
GZIP = CODECS[0]
OURS = {ID_KEY: "ab" * 16}


@pytest.fixture
def repository() -> Repository:
    return Repository(MemoryStore(), "app")


def put(repository: Repository, time: datetime = TIME, **facts: object) -> str:
    """Put a snapshot of no importance; return its object."""
    name = repository.name_at(time)
    data_object = repository.object_of(name, GZIP)
    repository.store.put(data_object, b"data", metadata=OURS)
    repository.store.put(manifest_of(data_object), encode(manifest_for(data_object, time, **facts)))
    return data_object


def manifest_for(data_object: str, time: datetime = TIME, **facts: object) -> Manifest:
    name = data_object.rpartition("/")[2].removesuffix(".db.gz")
    return msgspec.structs.replace(
        MANIFEST, object=data_object, name=name, captured_at=time, **facts
    )


def leftovers(contents: Contents) -> dict[str, str]:
    return {item.object: item.error.message for item in contents.leftovers}


@pytest.mark.parametrize("layout", ["dated", "flat"])
def test_snapshots_are_listed_oldest_first_by_the_moment_of_their_commit(layout):
    repository = Repository(MemoryStore(), "app", layout)
    times = [TIME + timedelta(hours=hours) for hours in (30, 0, 700)]
    objects = [put(repository, time) for time in times]

    contents = read_contents(repository)
    assert [item.object for item in contents.snapshots] == [objects[1], objects[0], objects[2]]
    assert [item.state for item in contents.snapshots] == ["ok"] * 3
    assert contents.leftovers == ()


def test_data_without_a_manifest_that_is_not_ours_is_foreign(repository):
    repository.store.put("2024/01/app_20240102_030405.db.gz", b"by an older script")

    (found,) = read_contents(repository).snapshots
    assert (found.state, found.manifest) == ("foreign", None)
    assert found.time == datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert found.identity == "app_20240102_030405"


def test_data_of_ours_without_a_manifest_is_no_snapshot(repository):
    data_object = put(repository)
    repository.store.delete(manifest_of(data_object))

    contents = read_contents(repository)
    assert contents.snapshots == ()
    assert leftovers(contents) == {data_object: f"{data_object} has no manifest"}


def test_a_claimed_name_is_nothing_yet(repository):
    claimed = "2025/09/app_20250908_120001.db.gz"
    repository.store.put(claimed, b"", metadata=OURS)

    assert read_contents(repository) == Contents((), (), (), (Claim(claimed, TIME),))


def test_a_snapshot_of_anybodys_that_was_cut_to_nothing_is_named(repository):
    """After a day: before that it may be a script at work.  A dead claim of ours is none."""
    script, ours = "2025/09/app_20250908_120001.db.gz", "2025/09/app_20250908_120002.db.gz"
    repository.store.put(script, b"")
    repository.store.put(ours, b"", metadata=OURS)

    assert len(read_contents(repository).claims) == 2
    later = read_contents(repository, clock=lambda: now() + timedelta(days=2))
    assert leftovers(later) == {script: f"{script} holds no bytes"}
    assert (later.snapshots, later.claims) == ((), ())


@pytest.mark.parametrize("codec", [codec for codec in CODECS if codec.suffix])
def test_a_compressed_nothing_is_suspect(repository, codec):
    """A pipeline whose first program failed: `gzip` ends well."""
    nothing = f"2025/09/app_20250908_120001.db{codec.suffix}"
    small = f"2025/09/app_20250908_120002.db{codec.suffix}"
    repository.store.put(nothing, codec.encode(b"", codec.level_default))
    repository.store.put(small, codec.encode(bytes(512), codec.level_default))

    states = {item.object: item.state for item in read_contents(repository).snapshots}
    assert states == {nothing: "suspect", small: "foreign"}


def test_a_manifest_without_data_is_no_snapshot(repository):
    data_object = put(repository)
    repository.store.delete(data_object)

    contents = read_contents(repository)
    assert contents.snapshots == ()
    assert "missing" in leftovers(contents)[data_object]


@pytest.mark.parametrize("damage", [b"", b"{}", b"null", b"\xff" * 9, b"[" * 90_000])
def test_an_unreadable_manifest_hides_no_other_snapshot(repository, damage):
    bad, good = put(repository), put(repository, TIME + timedelta(days=1))
    repository.store.put(manifest_of(bad), damage)

    contents = read_contents(repository)
    assert [item.object for item in contents.snapshots] == [good]
    assert list(leftovers(contents)) == [manifest_of(bad)]


def test_damaged_metadata_hides_no_other_snapshot(tmp_path):
    repository = Repository(DirectoryStore(tmp_path), "app")
    bad, good = put(repository), put(repository, TIME + timedelta(days=1))
    repository.store.delete(manifest_of(bad))
    companion_path(tmp_path / bad).write_text("damaged")

    contents = read_contents(repository)
    assert [item.object for item in contents.snapshots] == [good]
    assert list(leftovers(contents)) == [bad]


class Refusing(MemoryStore):
    """Refuses to read what is named in *errors*."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: dict[str, LitekeepError] = {}

    def get(self, name, **range_of):
        if name in self.errors:
            raise self.errors[name]
        return super().get(name, **range_of)

    def head(self, name):
        if name in self.errors:
            raise self.errors[name]
        return super().head(name)


ARCHIVED = StoreError("it lies in an archive and cannot be read")
DENIED = AccessDenied("does not allow get")


@pytest.mark.parametrize("error", [ARCHIVED, DENIED], ids=["archived", "denied"])
@pytest.mark.parametrize("what", ["manifest", "data", "tombstone"])
def test_an_object_that_the_store_refuses_hides_no_other(error, what):
    store = Refusing()
    repository = Repository(store, "app")
    bad, good = put(repository), put(repository, TIME + timedelta(days=1))
    name = {"manifest": manifest_of(bad), "data": bad, "tombstone": f"{bad}.deleted.json"}[what]
    if what != "manifest":
        store.delete(manifest_of(bad))
    if what == "tombstone":
        store.put(name, b"{}")
    store.errors[name] = error

    contents = read_contents(repository)
    assert [item.object for item in contents.snapshots] == [good]
    assert leftovers(contents) == {name: error.message}


def test_a_refused_hold_still_holds():
    """And a refused proof is none; both are told."""
    store = Refusing()
    repository = Repository(store, "app")
    name = put(repository)
    marks = (f"{name}.hold.json", f"{name}.proof-20250914_030000.json")
    for mark in marks:
        store.put(mark, b"{}")
        store.errors[mark] = ARCHIVED

    contents = read_contents(repository)
    (snapshot,) = contents.snapshots
    assert snapshot.hold is not None
    assert snapshot.proof is None
    assert leftovers(contents) == dict.fromkeys(marks, ARCHIVED.message)


def test_a_store_that_does_not_answer_or_lets_nothing_be_read_fails_as_a_whole():
    store = Refusing()
    repository = Repository(store, "app")
    bad, _ = put(repository), put(repository, TIME + timedelta(days=1))
    store.errors[manifest_of(bad)] = StoreUnavailable("cannot serve now")
    with pytest.raises(StoreUnavailable):
        read_contents(repository)

    store.errors = {blob.name: DENIED for blob in store.list()}
    with pytest.raises(AccessDenied):
        read_contents(repository)


def test_an_endless_manifest_is_not_read(repository):
    bad, good = put(repository), put(repository, TIME + timedelta(days=1))
    repository.store.put(manifest_of(bad), b" " * (SIZE_MAX + 1))

    contents = read_contents(repository)
    assert [item.object for item in contents.snapshots] == [good]
    assert leftovers(contents) == {
        manifest_of(bad): f"{manifest_of(bad)} is larger than any manifest"
    }


def test_manifests_that_changed_places_are_no_manifests(repository):
    first, second = put(repository), put(repository, TIME + timedelta(days=1))
    manifests = [
        repository.store.read(manifest_of(name), size_max=SIZE_MAX) for name in (first, second)
    ]
    repository.store.put(manifest_of(first), manifests[1])
    repository.store.put(manifest_of(second), manifests[0])

    contents = read_contents(repository)
    assert contents.snapshots == ()
    assert leftovers(contents)[manifest_of(first)].endswith(f"is the manifest of {second}")


def test_a_manifest_of_another_time_than_its_name_is_none(repository):
    """Names bear the time of a zone, which the reader may not know."""
    near, far = put(repository), put(repository, TIME + timedelta(days=9))
    for name, hours in ((near, 14), (far, 40)):
        parsed = parse_object(name, UTC)
        assert parsed is not None
        other = manifest_for(name, parsed.time + timedelta(hours=hours))
        repository.store.put(manifest_of(name), encode(other))

    contents = read_contents(repository)
    assert [item.object for item in contents.snapshots] == [near]
    assert "of another time" in leftovers(contents)[manifest_of(far)]


def test_other_databases_and_other_files_are_passed_over(repository):
    mine = put(repository)
    put(replace(repository, database="other"))
    put(replace(repository, database="app_20250101_000000"))
    for name in (
        "latest.db.gz",
        "notes.txt",
        "2025/09/app.db.gz",
        "2025/9/app_20250908_120001.db.gz",
        "2025/09/app_20251308_120001.db.gz",
        "2025/09/app_20250908_120001.db.gz.json.json",
        "2025/09/app_20250908_120001.db.gz.age",
        "deep/2025/09/app_20250908_120001.db.gz",
    ):
        repository.store.put(name, b"x")

    contents = read_contents(repository)
    assert [item.object for item in contents.snapshots] == [mine]
    assert contents.leftovers == ()
    assert database_names(repository) == ["app", "app_20250101_000000", "other"]


@settings(max_examples=200, deadline=None)
@given(
    database=st.text(
        st.characters(exclude_characters="/\\", exclude_categories=["Cs", "Cc"]),
        min_size=1,
        max_size=30,
    ),
    time=st.datetimes(datetime(1970, 1, 2), datetime(9998, 1, 1)),
    codec=st.sampled_from(CODECS),
    zone=st.sampled_from([UTC, ZoneInfo("Asia/Tokyo"), ZoneInfo("America/St_Johns")]),
    layout=st.sampled_from(["dated", "flat"]),
)
def test_every_name_that_is_given_is_understood(database, time, codec, zone, layout):
    instant = time.replace(tzinfo=UTC, microsecond=0)
    repository = Repository(MemoryStore(), database, layout, zone)
    name = repository.name_at(instant)
    data_object = repository.object_of(name, codec)

    for text in (data_object, manifest_of(data_object)):
        parsed = parse_object(text, zone)
        assert parsed is not None
        assert (parsed.name, parsed.database, parsed.codec) == (name, database, codec)
        assert bool(parsed.companion) == text.endswith(".json")
        # An hour that a clock goes back over has two instants of one name.
        assert parsed.time in (instant, instant - timedelta(hours=1))


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_no_name_is_a_crash(text):
    parse_object(text, UTC)
    parse_object(f"2025/09/{text}_20250908_120001.db.gz", UTC)
    parse_object(f"app_{text}.db.gz", UTC)
