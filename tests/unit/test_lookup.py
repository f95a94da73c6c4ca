"""
Which database of a store is meant where Litestream wrote it.
"""

from __future__ import annotations

from datetime import UTC
from pathlib import Path

import pytest

from litekeep.config.places import Place
from litekeep.config.settings import StoreSettings
from litekeep.errors import NotFound, UserError
from litekeep.lookup import look_up
from litekeep.repository.layout import Repository

NEW = "ltx/0/0000000000000001-0000000000000001.ltx"
NEW_ON_S3 = "0009/0000000000000001-0000000000000004.ltx"
OLD = "generations/0123456789abcdef/wal/00000000_00000000.wal.lz4"


def looked_up(root: Path, name: str | None = None) -> Repository:
    place = Place(str(root), StoreSettings(name="local", url=str(root)))
    return look_up(place, name, UTC, {})


def put(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


@pytest.mark.parametrize("name", [NEW, NEW_ON_S3, OLD])
def test_the_root_of_a_replica_is_called_like_its_folder(tmp_path, name):
    found = looked_up(put(tmp_path / "shop", name))
    assert (found.database, found.stream_root, found.is_litestream) == ("shop", "", True)
    found = looked_up(put(tmp_path / "shop", name), "shop")
    assert found.is_litestream
    with pytest.raises(NotFound):
        looked_up(tmp_path / "shop", "other")


@pytest.mark.parametrize("name", [NEW, NEW_ON_S3, OLD])
def test_replicas_below_are_chosen_by_name(tmp_path, name):
    put(tmp_path, f"one/{name}", f"two/{name}")
    found = looked_up(tmp_path, "two")
    assert (found.database, found.stream_root, found.is_litestream) == ("two", "two/", False)
    with pytest.raises(UserError) as caught:
        looked_up(tmp_path)
    assert "one, two" in str(caught.value.hint)


def test_a_database_of_ours_at_the_same_root_keeps_its_name(tmp_path):
    root = put(tmp_path / "shop", NEW, f"shop/{NEW}")
    assert not looked_up(root, "shop").is_litestream
    assert looked_up(root, "litestream").is_litestream
    with pytest.raises(UserError):
        looked_up(root)
