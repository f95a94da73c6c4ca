"""
A manifest comes from a store: it is whole and in range, or a `FormatError`.
"""

from __future__ import annotations

import hashlib
import json
import os
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import structs

from litekeep.engine.origin import origin_of
from litekeep.errors import FormatError
from litekeep.repository.manifest import (
    FORMAT_VERSION,
    CheckFacts,
    DatabaseFacts,
    Durations,
    Manifest,
    Origin,
    StoredFacts,
    decode,
    encode,
)

MANIFEST = Manifest(
    format_version=FORMAT_VERSION,
    tool="litekeep 0.1",
    id="ab" * 16,
    name="app_20250908_120001",
    object="2025/09/app_20250908_120001.db.gz",
    captured_at=datetime(2025, 9, 8, 12, 0, 1, 123456, tzinfo=UTC),
    state="ok",
    label=None,
    origin=Origin(host="web-1", path="/srv/app.db"),
    database=DatabaseFacts(
        name="app",
        page_size=4096,
        page_count=3,
        size_bytes=12288,
        journal_mode="wal",
        sqlite_version="3.54.1",
        sha256="0" * 64,
        checksum="8000000000000000",
    ),
    stored=StoredFacts(size_bytes=99, sha256="f" * 64, compression="gzip"),
    check=CheckFacts(result="ok"),
    row_counts={"t": 1},
    durations=Durations(held_seconds=0.1, total_seconds=0.2),
)
STORED: dict[str, Any] = json.loads(encode(MANIFEST))
FIELDS = {name: value for name, value in STORED.items() if name != "self_sha256"}

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


def paths(value: Any, before: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Return the path of every field, those of the inner objects too."""
    if not isinstance(value, dict):
        return []
    return [
        path for name in value for path in [(*before, name), *paths(value[name], (*before, name))]
    ]


def changed(path: tuple[str, ...], value: object) -> bytes:
    fields = json.loads(json.dumps(FIELDS))
    inner = fields
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    return stored(fields)


def stored(fields: dict[str, Any]) -> bytes:
    """Return *fields* with the checksum that docs/formats.md tells how to compute."""
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return json.dumps({**fields, "self_sha256": hashlib.sha256(text.encode()).hexdigest()}).encode()


def decoded_or_refused(data: bytes) -> Manifest | None:
    try:
        return decode(data)
    except FormatError:
        return None


def test_what_is_written_is_read():
    assert decode(encode(MANIFEST)) == MANIFEST


def test_people_can_read_it():
    text = encode(MANIFEST).decode()
    assert text.count("\n") > 20
    assert '"captured_at": "2025-09-08T12:00:01.123456Z"' in text


def test_fields_of_a_later_version_are_passed_over_and_a_later_format_is_refused():
    assert decode(changed(("new",), {"a": 1})) == MANIFEST
    assert decode(changed(("database", "new"), [1])) == MANIFEST
    with pytest.raises(FormatError, match="not a manifest"):
        decode(changed(("format_version",), FORMAT_VERSION + 1))


@settings(max_examples=300, deadline=None)
@given(path=st.sampled_from(paths(FIELDS)), value=anything)
def test_a_field_of_anything_is_refused_or_in_range(path, value):
    found = decoded_or_refused(changed(path, value))
    if found is not None:
        assert decode(encode(found)) == found


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
@example(b"[" * 100_000)
@example(b'{"a":' * 50_000)
@example(b"\xef\xbb\xbf{}")
@example(b"null")
@example(b"1e999")
@example(b'"\\ud800"')
def test_noise_is_refused(data):
    assert decoded_or_refused(data) is None


@settings(max_examples=200, deadline=None)
@given(place=st.integers(min_value=0), byte=st.integers(0, 255), end=st.booleans())
def test_a_damaged_manifest_is_refused_or_valid(place, byte, end):
    data = bytearray(encode(MANIFEST))
    place %= len(data)
    if end:
        del data[place:]
    else:
        data[place] = byte
    found = decoded_or_refused(bytes(data))
    assert found is None or decode(encode(found)) == found


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("id",), "../../../../etc/passwd/aaaaaaaaaaaaaa"),
        (("database", "page_size"), 0),
        (("database", "page_size"), 1 << 20),
        (("database", "page_size"), 1000),
        (("database", "page_count"), -1),
        (("database", "page_count"), 4),
        (("database", "size_bytes"), 1 << 70),
        (("database", "sha256"), "F" * 64),
        (("database", "sha256"), "0" * 64 + "\n"),
        (("stored", "compression"), "lzma"),
        (("captured_at",), "2025-09-08T12:00:01"),
        (("captured_at",), 1e300),
        (("captured_at",), "0001-01-01T00:00:00+14:00"),
        (("captured_at",), "9999-12-31T23:59:59-14:00"),
        (("state",), "fine"),
        (("name",), "x" * 5000),
        (("durations", "held_seconds"), -1),
        (("row_counts",), {"t": -1}),
        (("format_version",), 0),
        (("format_version",), True),
    ],
)
def test_what_is_out_of_range_is_refused(path, value):
    with pytest.raises(FormatError):
        decode(changed(path, value))


@pytest.mark.parametrize("path", [path for path in paths(FIELDS) if path[-1] != "t"])
def test_every_field_is_needed(path):
    fields = json.loads(json.dumps(FIELDS))
    inner = fields
    for name in path[:-1]:
        inner = inner[name]
    del inner[path[-1]]
    if path == ("check", "detail"):  # it has a default
        assert decode(stored(fields)).check.detail == ""
        return
    if path == ("origin",):  # a later field
        assert decode(stored(fields)).origin is None
        return
    with pytest.raises(FormatError):
        decode(stored(fields))


def test_where_a_database_lies_is_always_text_that_a_manifest_can_hold():
    path = b"/" + b"\xff" * 4000

    origin = origin_of(os.fsdecode(path))

    assert decode(encode(structs.replace(MANIFEST, origin=origin))).origin == origin


def test_every_flipped_bit_that_changes_a_field_is_seen():
    data = encode(MANIFEST)
    for place in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[place] ^= 1 << bit
            assert decoded_or_refused(bytes(flipped)) is None, (place, bit)


def test_a_manifest_without_its_checksum_is_refused():
    with pytest.raises(FormatError, match="self_sha256"):
        decode(json.dumps(FIELDS).encode())
