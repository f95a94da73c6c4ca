"""What docs/docker.md shows is what happens."""

from __future__ import annotations

import pytest

from tests.documentation import blocks_of
from tests.servers.docker import wait_for_rows
from tests.test_docs_run import PAGE_OF_ENGINE, environment, place, run_block

__all__ = ["place"]  # the fixture
pytestmark = pytest.mark.engine


def test_the_page_on_docker_is_what_happens(engine, application, place):
    wait_for_rows(application, 20)
    variables = environment(place, None) | {"DOCKER_HOST": engine.host}
    for block in blocks_of(PAGE_OF_ENGINE):
        if block.language == "console":
            run_block(block, place, variables)
