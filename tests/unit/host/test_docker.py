"""Which engine is asked, and what is said where there is none."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from litekeep.errors import DatabaseUnusable, MissingExtra, UserError
from litekeep.host import docker
from litekeep.host.docker import connected, listed, other_engines


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose usual sockets are those of a folder."""
    monkeypatch.setattr(docker, "SOCKETS", (tmp_path / "docker.sock", tmp_path / "podman.sock"))
    return tmp_path


@contextlib.contextmanager
def listening(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        yield


def test_the_first_socket_that_answers_is_taken(nowhere: Path):
    with pytest.raises(DatabaseUnusable, match=r"no container engine is here") as caught:
        docker._socket({})
    assert "systemctl start docker" in (caught.value.hint or "")

    with listening(nowhere / "podman.sock"):
        assert docker._socket({}) == nowhere / "podman.sock"
        with listening(nowhere / "docker.sock"):
            assert docker._socket({}) == nowhere / "docker.sock"
        # It is there still, and nobody listens: the other one answers.
        assert docker._socket({}) == nowhere / "podman.sock"
    with pytest.raises(DatabaseUnusable, match=r"is down: nobody answers at .*/docker\.sock"):
        docker._socket({})
    with listening(nowhere / "of-user/podman/podman.sock"):
        found = docker._socket({"XDG_RUNTIME_DIR": str(nowhere / "of-user")})
        assert found == nowhere / "of-user/podman/podman.sock"


def test_an_engine_over_a_network_is_refused(nowhere: Path):
    for host in ("tcp://127.0.0.1:2375", "ssh://me@host", "npipe:////./pipe/docker"):
        with pytest.raises(UserError, match="may lie on another machine"):
            docker._socket({"DOCKER_HOST": host})


def test_a_socket_that_speaks_otherwise_is_said(nowhere: Path, monkeypatch: pytest.MonkeyPatch):
    path = nowhere / "docker.sock"
    monkeypatch.setattr(docker, "ANSWER_SECONDS_MAX", 0.2)
    refused = pytest.raises(DatabaseUnusable, match="does not answer as it should")
    with listening(path), refused, connected({"DOCKER_HOST": f"unix://{path}"}):
        pass


def test_the_engines_of_users_are_found(nowhere: Path):
    run = nowhere / "run"
    own, other = run / "1000/docker.sock", run / "1001/podman/podman.sock"
    with listening(own), listening(other):
        found = other_engines(f"unix://{own}", folder=run)

    assert found == (f"unix://{other}",)


def test_without_the_sdk_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "docker", None)
    with pytest.raises(MissingExtra, match="not installed"), connected({}):
        pass


def test_a_long_list_of_names_is_cut():
    assert listed(["b", "a"]) == "a, b"
    assert listed([f"c{n:02}" for n in range(12)]).endswith("c07 and 4 more")
