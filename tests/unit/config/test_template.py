"""The configuration that `init` writes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litekeep.config.file import read_text
from litekeep.config.keys import keys_of
from litekeep.config.settings import StoreSettings
from litekeep.config.template import template
from litekeep.config.values import is_name

FILE = Path("/etc/litekeep.toml")
STORES = [("s3", "s3://b/p"), ("gs", "gs://b"), ("az", "az://c/p"), ("local", "/backups")]


def test_what_is_written_reads_as_what_was_meant():
    text = template([("app", Path("/srv/app.db"))], STORES, "Europe/Berlin")

    found = read_text(text, FILE, {})

    assert found.timezone == "Europe/Berlin"
    assert [(item.name, item.url) for item in found.stores] == STORES
    assert [(item.name, item.path) for item in found.databases] == [("app", Path("/srv/app.db"))]


def test_every_comment_holds_an_example_that_works():
    text = template([("app", Path("/srv/app.db"))], STORES, "UTC")

    uncommented = re.sub(r"(?m)^#(?=\w+ = )", "", text)

    assert read_text(uncommented, FILE, {}).snapshot.level == 1
    assert uncommented != text


def test_every_key_of_a_store_is_explained_for_some_kind_of_store():
    text = template([], STORES, "UTC")

    assert [name for name, _ in keys_of(StoreSettings) if f"{name} = " not in text] == []


@pytest.mark.parametrize(("url", "others"), [("/backups", "region"), ("gs://b", "kms_key_id")])
def test_keys_of_other_kinds_of_stores_do_not_clutter(url, others):
    assert others not in template([], [("a", url)], "UTC")


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_any_path_comes_back(text):
    written = template([("app", Path("/", text))], [], "UTC")

    assert read_text(written, FILE, {}).databases[0].path == Path("/", text)


@given(st.text(max_size=20).filter(is_name))
def test_any_name_comes_back(name):
    written = template([(name, Path("/srv/app.db"))], [(name, "/b")], "UTC")

    found = read_text(written, FILE, {})
    assert found.databases[0].name == name
    assert found.stores[0].name == name


def test_the_example_of_stores_names_one_that_is_there():
    text = template([("app", Path("/srv/app.db"))], STORES, "UTC")

    assert '#stores = ["s3"]' in text
    assert "stores =" not in template([("app", Path("/srv/app.db"))], [], "UTC")
