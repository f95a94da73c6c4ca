"""
The package as it is installed: built by its backend, unpacked, run.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import litekeep.__main__
from litekeep.version import VERSION
from tests.documentation import TOP


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=TOP,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_every_module_and_nothing_else(wheel: Path):
    sources = {str(path.relative_to(TOP / "src")) for path in (TOP / "src").rglob("*.py")}
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}

    assert names == sources | {"litekeep/py.typed"}


def test_the_wheel_says_version_licence_and_extras(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = archive.read(name).decode()
        assert any(n.endswith("licenses/LICENSE") for n in archive.namelist())

    assert f"\nVersion: {VERSION}\n" in metadata
    assert "\nLicense-Expression: Apache-2.0\n" in metadata
    assert {
        f"\nProvides-Extra: {extra}\n" in metadata
        for extra in ("aws", "docker", "litestream", "notify", "all")
    } == {True}


def test_what_is_unpacked_from_the_wheel_runs(wheel: Path, tmp_path: Path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "litekeep", "--version"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == f"litekeep {VERSION}\n"


def test_the_change_log_has_a_place_for_this_version():
    text = (TOP / "CHANGELOG.md").read_text()

    assert f"## [{VERSION}]" in text or "## [Unreleased]" in text


def test_every_program_of_the_project_file_is_there():
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]

    assert project["scripts"] == {"litekeep": "litekeep.__main__:main"}
    assert callable(litekeep.__main__.main)
    assert project["requires-python"] == ">=3.11"
