"""A shell to type commands into, which finds the engine of the tests."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import SOURCE, Shell
from tests.servers.docker import INSTANCE, Engine

VOLUME = "manual_instance"


@pytest.fixture
def shell(engine: Engine, tmp_path: Path) -> Shell:
    """A shell that finds the Docker Engine."""
    return new_shell(engine, tmp_path)


def new_shell(engine: Engine, tmp_path: Path) -> Shell:
    """Return a shell in an empty folder, with nothing of this machine's configuration."""
    work = tmp_path / "work"
    work.mkdir()
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PYTHONPATH": str(SOURCE),
        "LITEKEEP_STATE": str(tmp_path / "state"),
        "DOCKER_HOST": engine.host,
        "LC_ALL": "C.UTF-8",
    }
    return Shell(work, environ)


@pytest.fixture
def application(engine: Engine) -> Any:
    """A container with a writing application on a named volume, which runs as no root."""
    return start_application(engine)


def start_application(engine: Engine, image: str = "app", **options: Any) -> Any:
    volumes = {VOLUME: {"bind": INSTANCE}}
    options = {"name": "manual-generator", "user": "1000:1000", "volumes": volumes, **options}
    return engine.run(image, options.pop("command", ["/bin/writer"]), **options)
