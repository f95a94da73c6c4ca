"""
Files that the real Litestream wrote are read for ever, in both forms.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from litekeep.ltx.format import parse_name
from litekeep.ltx.merge import merge
from litekeep.ltx.outline import read_outline, read_page
from tests.writers.ltx import applied, decoder_of, read

GOLDEN = Path(__file__).parent / "golden"
STATES: dict[str, list[str]] = json.loads((GOLDEN / "states.json").read_text())
FILES = sorted(GOLDEN.glob("*/*/*.ltx"))


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def level_0(version: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((GOLDEN / version / "0").iterdir())]


@pytest.mark.parametrize("version", STATES)
def test_each_txid_is_the_database_that_litestream_restores(version: str):
    database, found = b"", []
    for data in level_0(version):
        database = applied(database, data)
        found.append(sha256(database))

    assert found == STATES[version]


@pytest.mark.parametrize("version", STATES)
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_each_merge_is_the_database_that_litestream_restores(version: str, count: int):
    parts: list[bytes] = []
    merge([decoder_of(data) for data in level_0(version)[:count]], parts.append)

    assert sha256(applied(b"", b"".join(parts))) == STATES[version][count - 1]


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parts[-3]}-{path.parts[-2]}")
def test_each_file_is_what_its_name_and_its_index_say(path: Path):
    data = path.read_bytes()
    decoder = decoder_of(data)
    outline = read_outline(lambda at, size: data[at : at + size], len(data), tail_read_size=0)
    pages = read(data)

    assert (decoder.header.min_txid, decoder.header.max_txid) == parse_name(path.name)
    assert outline.header == decoder.header
    assert outline.index.numbers.tolist() == list(pages)
    for number, page in pages.items():
        assert read_page(lambda at, size: data[at : at + size], outline, number) == page


@pytest.mark.parametrize("path", [path for path in FILES if path.parts[-2] != "0"], ids=str)
def test_what_litestream_merged_is_the_database_at_its_last_txid(path: Path):
    min_txid, max_txid = parse_name(path.name)
    assert min_txid == 1

    assert sha256(applied(b"", path.read_bytes())) == STATES[path.parts[-3]][max_txid - 1]


def test_both_forms_are_among_them():
    forms = {
        version: {block is None for run in decoder_of(data).runs() for block in run.blocks}
        for version in STATES
        for data in level_0(version)
    }

    assert forms == {
        "litestream-0.5.5": {True},
        "litestream-0.5.15": {True},
        "litestream-0.5.17": {False},
    }
