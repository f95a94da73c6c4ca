"""`litekeep demo`, and that it could fail."""

from __future__ import annotations

import time

import pytest

from litekeep.cli import demo, demo_application
from litekeep.cli.main import run


def test_the_demo_proves_a_restore_within_a_minute(shell):
    started = time.monotonic()

    ran = shell.run("demo")

    assert ran.code == 0, ran.err
    assert time.monotonic() - started < 60
    assert ran.err == ""
    assert ran.out.count("   yes  ") == 5
    assert "   NO " not in ran.out
    assert list(shell.folder.iterdir()) == []


def test_the_demo_looks_at_no_configuration_of_others(shell, tmp_path):
    (shell.folder / "litekeep.toml").write_text("this is no toml")
    (tmp_path / "home/.config/litekeep").mkdir(parents=True)
    (tmp_path / "home/.config/litekeep/litekeep.toml").write_text("neither is this")

    found = shell.run("demo", "--json", S3_BUCKET="somebodys", LITEKEEP_CONFIG="none").json

    assert found["proved"]
    orders = found["orders"]
    assert orders["before"] <= orders["restored"] <= orders["after"]
    assert orders["before"] < orders["after"]


@pytest.mark.parametrize("field", ["is_whole", "orders"])
def test_the_proof_fails_where_the_numbers_are_wrong(monkeypatch, capsys, field):
    """A torn copy, or another commit than one of the backup's time."""
    real = demo_application.read_books
    looks = []

    def wrong(path):
        books = real(path)
        looks.append(books)
        if len(looks) < 3:
            return books
        return demo_application.Books(
            books.orders - (10**6 if field == "orders" else 0),
            books.cents,
            books.is_whole and field != "is_whole",
        )

    monkeypatch.setattr(demo, "read_books", wrong)

    assert run(["demo"]) == 40
    assert "   NO " in capsys.readouterr().out
