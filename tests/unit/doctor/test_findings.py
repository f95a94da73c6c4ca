"""
What a check finds, and what becomes of one that breaks.
"""

from __future__ import annotations

import errno

import pytest

from litekeep.doctor.findings import Finding, fail, guarded, ok, unmade
from litekeep.errors import NoSpace

BROKEN = NoSpace("the disk is full", hint="Free some.")


def raising(error: Exception):
    def check():
        yield ok("a", "app", "well")
        raise error

    return check


def test_what_a_check_finds_is_passed_on():
    assert guarded(["a"], "app", lambda: [ok("a", "app", "well")]) == (
        Finding("a", "ok", "well", "", "app", 0),
    )


def test_an_error_of_ours_is_a_failure_with_its_hint_and_code():
    def check():
        raise BROKEN

    assert guarded(["a"], "app", check) == (
        Finding("a", "fail", "the disk is full", "Free some.", "app", 33),
    )


def test_what_was_found_before_an_error_stays_and_what_was_not_come_to_is_never_ok():
    found = guarded(["b", "a", "c"], "app", raising(BROKEN))

    assert found == (
        ok("a", "app", "well"),
        fail("b", "app", BROKEN),
        *unmade(["c"], "app", "b"),
    )
    assert found[2].state == "warn"
    assert found[2].detail == "could not be checked: see b"


@pytest.mark.parametrize(
    ("error", "state", "detail", "code"),
    [
        (OSError(errno.EIO, "Input/output error"), "warn", "input/output error", 0),
        (OSError("hidden"), "warn", "OSError".lower(), 0),
        (KeyError("hunter2"), "fail", "KeyError in the check itself", 70),
    ],
)
def test_what_nobody_expected_is_a_finding_that_quotes_nothing(error, state, detail, code):
    (_, found) = guarded(["b"], "app", raising(error))

    assert (found.state, found.code) == (state, code)
    assert found.detail == f"could not be checked: {detail}"
    assert found.hint
