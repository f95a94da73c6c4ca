"""One POST to a real server: bounded, without redirects, silent about its address."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from litekeep.errors import ConfigError, NotTold
from litekeep.notify.http import TRIES_MAX, checked_url, post
from litekeep.secret import Secret
from tests.servers.certificates import new_authority
from tests.servers.process import free_ports
from tests.servers.receiver import Receiver, receiving


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as started:
        yield started


def send(url: str, seconds_max: float = 9.0) -> list[float]:
    """Post to *url*; return the pauses between tries, which take no time here."""
    paused: list[float] = []
    post(
        url,
        b"text",
        {"X-Mine": "1"},
        seconds_max=seconds_max,
        clock=lambda: sum(paused),
        pause=paused.append,
    )
    return paused


def test_what_is_posted_arrives(receiver: Receiver):
    send(f"{receiver.url}/a?b=c")

    (got,) = receiver.got
    assert (got.target, got.body, got.headers["X-Mine"]) == ("/a?b=c", b"text", "1")
    assert got.headers["User-Agent"].startswith("Litekeep/")


def test_a_server_in_trouble_is_asked_again(receiver: Receiver):
    receiver.answers = [500, 429]

    assert send(receiver.url) == [1.0, 2.0]
    assert len(receiver.got) == 3


def test_a_server_that_stays_in_trouble_is_asked_a_few_times(receiver: Receiver):
    receiver.answers = [503] * 9

    with pytest.raises(NotTold, match=rf"127.0.0.1:{receiver.port} answered 503"):
        send(receiver.url)
    assert len(receiver.got) == TRIES_MAX


def test_no_try_begins_after_its_time(receiver: Receiver):
    receiver.answers = [500] * 9

    with pytest.raises(NotTold):
        send(receiver.url, seconds_max=1.0)
    assert len(receiver.got) == 1


def test_a_server_that_refuses_is_not_asked_again(receiver: Receiver):
    receiver.answers = [404]

    with pytest.raises(NotTold, match="answered 404"):
        send(receiver.url)
    assert len(receiver.got) == 1


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(receiver: Receiver, code: int):
    with receiving() as other:
        receiver.answers, receiver.location = [code], f"{other.url}/elsewhere"

        with pytest.raises(NotTold, match=f"answered {code}, a redirect"):
            send(f"{receiver.url}/s3cret")
        assert (len(receiver.got), other.got) == (1, [])


def test_nobody_there_is_said_without_the_address():
    (port,) = free_ports(1)

    with pytest.raises(NotTold) as caught:
        send(f"http://127.0.0.1:{port}/s3cret?key=s3cret")
    assert caught.value.message == f"127.0.0.1:{port} cannot be reached: connection refused"


def test_a_server_that_hangs_is_given_up(receiver: Receiver):
    receiver.is_hanging = True

    with pytest.raises(NotTold, match="did not answer in 1 s"):
        post(f"{receiver.url}/s3cret", b"", {}, seconds_max=1.0)


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path):
    context = new_authority(tmp_path).context(tmp_path, "127.0.0.1")
    with receiving(context) as receiver:
        with pytest.raises(NotTold, match="has a certificate that is not trusted"):
            send(f"https://127.0.0.1:{receiver.port}/s3cret")

        assert receiver.got == []


def test_a_certificate_that_the_system_trusts_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    authority = new_authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    with receiving(authority.context(tmp_path, "127.0.0.1")) as receiver:
        send(f"https://127.0.0.1:{receiver.port}/s3cret")

        assert receiver.paths == ["/s3cret"]


@pytest.mark.parametrize(
    "text",
    [
        "file:///etc/passwd",
        "ftp://h/s3cret",
        "data:,s3cret",
        "s3cret",
        "http:///s3cret",
        "https://me:s3cret@h/",
        "https://h:99999/s3cret",
        "https://h/s3 cret",
        "https://h/s3cret\r\nX: y",
        "https://h/s3crét",
        "https://[::1/s3cret",
    ],
)
def test_what_is_no_address_is_refused_and_not_shown(text: str):
    with pytest.raises(ConfigError) as caught:
        checked_url(Secret(text))
    assert "s3cr" not in f"{caught.value.message}{caught.value.hint}"
