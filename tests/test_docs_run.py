"""
Every command that the documentation shows is run, and says what is shown.

Each page gets a folder of its own with a sample database `app.db`, a home, and a real S3
server whose empty bucket `my-bucket` the environment's credentials open.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import apsw
import pytest

from litekeep.config.file import read_text
from tests.documentation import (
    NOT_RUN,
    PAGES,
    TOP,
    Block,
    blocks_of,
    commands_of,
    is_as_shown,
)

BUCKET = "my-bucket"
SECONDS_MAX = 60
#: All blocks that cannot be run by a test, with their reasons.
BLOCKS_NOT_RUN = [
    ("README.md", "it installs onto the machine"),
    ("README.ja.md", "it installs onto the machine"),
    ("docs/getting-started.md", "it installs onto the machine"),
    ("docs/guide.ja.md", "it installs onto the machine"),
]

#: Run on a real engine, by `tests/engine/test_docker_page.py`.
PAGE_OF_ENGINE = TOP / "docs/docker.md"
#: Typed on the guide's host, by `tests/engine/test_guide_walk.py`.
PAGE_OF_GUIDE = TOP / "docs/guide.ja.md"
PAGES_THAT_RUN = [
    page
    for page in PAGES
    if page not in (PAGE_OF_ENGINE, PAGE_OF_GUIDE)
    and any(block.language in {"console", "python"} for block in blocks_of(page))
]


def name_of(page: Path) -> str:
    return str(page.relative_to(TOP))


def sample_database(path: Path) -> None:
    """A small shop, in WAL mode."""
    with contextlib.closing(apsw.Connection(str(path))) as connection:
        connection.pragma("journal_mode", "wal")
        connection.execute(
            """
            CREATE TABLE customer(id INTEGER PRIMARY KEY, name TEXT NOT NULL);
            CREATE TABLE purchase(
                id INTEGER PRIMARY KEY, customer INTEGER REFERENCES customer, cents INTEGER);
            WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
            INSERT INTO customer SELECT i, 'customer ' || i FROM n;
            INSERT INTO purchase SELECT id, id, id * 7 FROM customer;
            """
        )


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    sample_database(folder / "app.db")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, arguments in (("litekeep", "-m litekeep "), ("python", "")):
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments}"$@"\n')
        program.chmod(0o755)
    return folder


def environment(place: Path, server: Any) -> dict[str, str]:
    base = place.parent
    variables = {
        "PATH": f"{base / 'bin'}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(base),
        "LITEKEEP_STATE": str(base / "state"),
        "PYTHONPATH": str(TOP / "src"),
        "LANG": "C.UTF-8",
        "TMPDIR": str(base),
    }
    if server is not None:
        variables |= {
            "AWS_ENDPOINT_URL": server.endpoint,
            "AWS_ACCESS_KEY_ID": server.access_key,
            "AWS_SECRET_ACCESS_KEY": server.secret_key,
            "AWS_REGION": "us-east-1",
        }
    return variables


def empty_bucket(server: Any) -> None:
    client = server.client()
    names = [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]
    if BUCKET not in names:
        client.create_bucket(Bucket=BUCKET)
    for item in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=item["Key"])


def run(command: str, place: Path, variables: Mapping[str, str]) -> tuple[int, str]:
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=place,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=SECONDS_MAX,
        text=True,
        errors="replace",
        check=False,
    )
    return done.returncode, done.stdout


def run_block(block: Block, place: Path, variables: Mapping[str, str]) -> None:
    commands = commands_of(block)
    for number, shown in enumerate(commands, 1):
        if shown.command.startswith("make "):
            # Running make in the suite that make runs would not end; it knows the target.
            folder, command = TOP, f"make --dry-run {shown.command[5:]}"
        else:
            folder, command = place, shown.command
        code, output = run(command, folder, variables)
        wanted = block.exit_code if number == len(commands) else 0
        assert code == wanted, f"{block.place}: $ {shown.command}\n{output}"
        assert not shown.output or is_as_shown(shown.output, output), (
            f"{block.place}: $ {shown.command}\nsays:\n{output}\nshown:\n" + "\n".join(shown.output)
        )


@pytest.mark.parametrize("page", PAGES_THAT_RUN, ids=name_of)
def test_what_a_page_shows_is_what_happens(page: Path, place: Path, request: pytest.FixtureRequest):
    server = None
    if f"s3://{BUCKET}" in page.read_text():
        server = request.getfixturevalue("seaweedfs")
        empty_bucket(server)
    variables = environment(place, server)
    for block in blocks_of(page):
        if block.language == "console":
            run_block(block, place, variables)
    programs = [block.text for block in blocks_of(page) if block.language == "python"]
    if programs:
        script = place / "shown.py"
        script.write_text("\n".join(programs))
        code, output = run("python -W error shown.py", place, variables)
        assert code == 0, f"{name_of(page)}: {output}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_configuration_shown_is_one(page: Path, tmp_path: Path):
    for block in blocks_of(page):
        if block.language == "toml":
            read_text(block.text, tmp_path / "litekeep.toml", os.environ)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_what_is_not_run_says_why(page: Path):
    for block in blocks_of(page):
        is_compose = block.language == "yaml" and page == PAGE_OF_ENGINE
        known = {"console", "python", "toml", "json", "text", "sh"}
        assert is_compose or block.language in known, block.place
        if block.language == "sh":
            assert block.title.startswith(NOT_RUN), block.place
            assert len(block.title) > len(NOT_RUN), block.place


def test_the_blocks_that_are_not_run_are_known():
    found = [
        (name_of(page), block.title.removeprefix(NOT_RUN))
        for page in PAGES
        for block in blocks_of(page)
        if block.language == "sh"
    ]

    assert found == BLOCKS_NOT_RUN


def test_output_that_differs_is_noticed():
    shown = ("Saved 12 bytes to ...", "...", "done")

    assert is_as_shown(shown, "Saved 999 bytes to /x\nA\nB\ndone\n")
    assert not is_as_shown(shown, "Saved 999 bytes to /x\nA\nB\nfailed\n")
    assert not is_as_shown(shown, "Lost 999 bytes to /x\ndone\n")


def test_a_command_that_fails_is_noticed(place: Path):
    block = Block(TOP / "README.md", 1, "console", "", ("$ false",))

    with pytest.raises(AssertionError, match=r"README\.md:1: \$ false"):
        run_block(block, place, environment(place, None))
