"""The image of the Dockerfile, built and used as the page on Docker shows."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.documentation import blocks_of
from tests.servers import image
from tests.servers.docker import DATABASE, INSTANCE, Engine, rows_in, wait_for_rows, wait_until
from tests.test_docs_run import PAGE_OF_ENGINE

pytestmark = pytest.mark.engine

COMPOSE = "docker-compose"
SECONDS_MAX = 170
#: Of all packages; half of it are botocore and numpy.
ADDED_SIZE_MAX = 250 << 20


@pytest.fixture(scope="module")
def built(running_engine: Engine) -> Engine:
    """The engine, with the image `litekeep` in it."""
    if (reason := image.why_not()) is not None:
        pytest.skip(reason)
    running_engine.import_image("base", image.base_file_system())
    running_engine.client.images.build(
        path=str(image.TOP),
        tag="litekeep",
        buildargs={"BASE": "base"},
        network_mode="none",
        timeout=SECONDS_MAX,
    )
    return running_engine


def run_in_image(engine: Engine, *arguments: str, **options) -> str:
    options = {"network_mode": "none", "remove": True, **options}
    return engine.client.containers.run("litekeep", list(arguments), **options).decode()


def test_the_image_runs_as_no_root_and_has_nothing_of_the_checkout(built):
    assert run_in_image(built, "--version").startswith("litekeep ")
    assert run_in_image(built, "-u", entrypoint=["id"]).strip() == "65532"
    look = ["find", "/", "-xdev", "(", "-name", ".git", "-o", "-name", "pip", ")", "-type", "d"]
    assert run_in_image(built, *look[1:], entrypoint=look[:1], user="0") == ""
    sizes = [built.client.images.get(name).attrs["Size"] for name in ("litekeep", "base")]
    assert sizes[0] - sizes[1] < ADDED_SIZE_MAX


@pytest.fixture
def has_compose() -> None:
    if shutil.which(COMPOSE) is None:
        pytest.skip(f"not installed: {COMPOSE} (tests/servers/packages installs it)")


def compose(folder: Path, engine: Engine, *arguments: str) -> str:
    done = subprocess.run(
        [COMPOSE, "--no-ansi", *arguments],
        cwd=folder,
        env={**os.environ, "DOCKER_HOST": engine.host},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.usefixtures("has_compose")
def test_the_sidecar_of_the_page_backs_up_and_restores(built, engine, tmp_path):
    (block,) = (b for b in blocks_of(PAGE_OF_ENGINE) if b.language == "yaml")
    backups = tmp_path / "backups"
    backups.mkdir()
    os.chown(backups, 1000, 1000)
    text = block.text.replace("/srv/backups", str(backups))
    # The engine of the tests has no network, and its image no command of its own.
    text = text.replace("    image: app\n", "    image: app\n    command: /bin/writer\n")
    text = text.replace("  app:\n", "  app:\n    network_mode: none\n")
    text = text.replace("  backup:\n", "  backup:\n    network_mode: none\n")
    (tmp_path / "docker-compose.yml").write_text(f'version: "3.7"\n{text}')

    compose(tmp_path, engine, "up", "-d", "app")
    (app,) = engine.client.containers.list()
    wait_for_rows(app, 20)
    compose(tmp_path, engine, "up", "-d")
    assert wait_until((backups / "latest.db.gz").exists, seconds=60), compose(
        tmp_path, engine, "logs", "backup"
    )
    compose(tmp_path, engine, "stop", "app", "backup")
    database = f"{INSTANCE}/{DATABASE}"
    said = compose(
        *(tmp_path, engine, "run", "--rm", "--entrypoint", "litekeep", "backup"),
        *("restore", "/backups", "--replace", "--assume-stopped", "--output", database),
    )
    compose(tmp_path, engine, "start", "app", "backup")

    assert "Proved" in said
    wait_for_rows(app, rows_in(app) + 10)
