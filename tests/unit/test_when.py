"""The words behind `--at`."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litekeep.errors import UserError
from litekeep.when import At, Before, Latest, Named, Txid, parse_when

NOW = datetime(2025, 9, 10, 3, 15, 30, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
TOKYO = ZoneInfo("Asia/Tokyo")
ZONES = st.sampled_from([UTC, BERLIN, TOKYO, ZoneInfo("America/New_York")])


def at(text, zone=UTC):
    """Return the instant that *text* means, written in UTC."""
    when = parse_when(text, NOW, zone)
    assert isinstance(when, At)
    assert when.time.tzinfo is UTC
    return when.time.isoformat()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-09-08", "2025-09-08T00:00:00+00:00"),
        ("20250908", "2025-09-08T00:00:00+00:00"),
        ("2025-W37-1", "2025-09-08T00:00:00+00:00"),
        ("2025-09-08 12:00", "2025-09-08T12:00:00+00:00"),
        ("2025-09-08T12:00", "2025-09-08T12:00:00+00:00"),
        ("2025-09-08t12:00:01z", "2025-09-08T12:00:01+00:00"),
        ("2025-09-08T12:00:01.5Z", "2025-09-08T12:00:01.500000+00:00"),
        ("2025-09-08T12:00:01,25Z", "2025-09-08T12:00:01.250000+00:00"),
        ("2025-09-08 12:00:01 Z", "2025-09-08T12:00:01+00:00"),
        ("2025-09-08 12:00 UTC", "2025-09-08T12:00:00+00:00"),
        ("2025-09-08T12:00:01+09:00", "2025-09-08T03:00:01+00:00"),
        ("2025-09-08 12:00:01 +0900", "2025-09-08T03:00:01+00:00"),
        ("2025-09-08 12:00:01-03", "2025-09-08T15:00:01+00:00"),
        ("20250908T120001Z", "2025-09-08T12:00:01+00:00"),
        ("2h ago", "2025-09-10T01:15:30+00:00"),
        ("90 min ago", "2025-09-10T01:45:30+00:00"),
        ("1d 6h ago", "2025-09-08T21:15:30+00:00"),
        ("1.5 hours ago", "2025-09-10T01:45:30+00:00"),
        ("  2  weeks   AGO ", "2025-08-27T03:15:30+00:00"),
        ("today", "2025-09-10T00:00:00+00:00"),
        ("today 06:30", "2025-09-10T06:30:00+00:00"),
        ("Yesterday 18:00", "2025-09-09T18:00:00+00:00"),
        ("yesterday 18:00:30Z", "2025-09-09T18:00:30+00:00"),
        ("yesterday", "2025-09-09T00:00:00+00:00"),
    ],
)
def test_a_time_is_read_in_all_its_spellings(text, expected):
    assert at(text) == expected


def test_a_time_without_a_zone_is_local():
    assert at("2025-09-08 12:00", BERLIN) == "2025-09-08T10:00:00+00:00"
    assert at("2025-09-08", TOKYO) == "2025-09-07T15:00:00+00:00"
    assert at("2025-09-08 12:00Z", TOKYO) == "2025-09-08T12:00:00+00:00"


def test_yesterday_is_a_day_of_the_local_calendar():
    """It is the 10th in Tokyo while it is still the 9th in New York."""
    assert at("yesterday 18:00", TOKYO) == "2025-09-09T09:00:00+00:00"
    assert at("yesterday 18:00", ZoneInfo("America/New_York")) == "2025-09-08T22:00:00+00:00"


def test_a_time_that_came_twice_is_refused_and_both_instants_are_named():
    with pytest.raises(UserError, match="came twice in Europe/Berlin") as caught:
        parse_when("2025-10-26 02:30", NOW, BERLIN)

    assert "2025-10-26T00:30:00Z or 2025-10-26T01:30:00Z" in (caught.value.hint or "")


def test_a_time_that_never_came_is_refused():
    with pytest.raises(UserError, match="never came in Europe/Berlin") as caught:
        parse_when("2025-03-30 02:30", NOW, BERLIN)

    assert "2025-03-30T00:30:00Z or 2025-03-30T01:30:00Z" in (caught.value.hint or "")


def test_a_day_starts_even_where_its_midnight_was_skipped():
    """Clocks in Beirut went from 23:59:59 to 01:00:00 on 2022-03-27."""
    assert at("2022-03-27", ZoneInfo("Asia/Beirut")) == "2022-03-26T22:00:00+00:00"


@pytest.mark.parametrize(
    "text",
    [
        "app_20250908_120001",
        "app_20250908_120001.db.gz",
        "app_20250908_120001.db.zst.age",
        "app_20250908_120001.db.gz.json",
        "2025/09/app_20250908_120001.db.gz",
        "s3://bucket/sqlite-backup/2025/09/app_20250908_120001.db.gz",
        "/opt/app_backups/sqlite/app_20250908_120001.db",
    ],
)
def test_a_snapshot_is_named_bare_or_by_its_object(text):
    assert parse_when(text, NOW, UTC) == Named("app_20250908_120001")


def test_the_case_of_a_snapshot_name_is_kept():
    assert parse_when("My App_20250908_120001", NOW, UTC) == Named("My App_20250908_120001")


def test_latest_is_a_word_and_an_object():
    assert parse_when("LATEST", NOW, UTC) == Latest()
    assert parse_when("s3://bucket/app/latest.db.gz", NOW, UTC) == Latest()


def test_sixteen_hex_digits_are_a_txid_even_if_they_look_like_a_time():
    assert parse_when("00000000000004D2", NOW, UTC) == Txid(1234)
    assert parse_when("2025090812000100", NOW, UTC) == Txid(0x2025090812000100)
    assert parse_when("before:00000000000004d2", NOW, UTC) == Before(1234)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now or never",
        "5 fortnights ago",
        "90 ago",
        "ago",
        "2025",
        "2025-13-01",
        "2025-02-30",
        "2025-09-08 25:00",
        "yesterday at noon",
        "tomorrow",
        "99999999999 weeks ago",
        "9999-12-31T23:59-12:00",
        "0001-01-01T00:00+12:00",
        "before:",
        "before:1",
        "before:latest",
        "0000000000000000",
    ],
)
def test_what_cannot_be_understood_is_refused_with_the_forms(text):
    with pytest.raises(UserError) as caught:
        parse_when(text, NOW, UTC)

    assert re.search(r"16 hex digits", caught.value.hint or "")


def test_extreme_local_dates_are_no_bug():
    for text in ("0001-01-01", "9999-12-31 23:59"):
        for zone in (TOKYO, ZoneInfo("America/New_York")):
            try:
                parse_when(text, NOW, zone)
            except UserError as error:
                assert error.hint


@given(
    st.datetimes(min_value=datetime(1900, 1, 2), max_value=datetime(2199, 1, 1)),
    st.integers(-23 * 60, 23 * 60),
    st.sampled_from("T "),
    ZONES,
)
def test_what_python_writes_with_an_offset_comes_back(naive, minutes, separator, zone):
    time = naive.replace(tzinfo=timezone(timedelta(minutes=minutes)))

    assert parse_when(time.isoformat(separator), NOW, zone) == At(time.astimezone(UTC))


@given(st.datetimes(datetime(1980, 1, 2), datetime(2037, 1, 1)), ZONES)
def test_a_local_time_means_itself_or_is_refused(naive, zone):
    """Where an answer is given, that zone's clocks showed it, and once only."""
    try:
        when = parse_when(naive.isoformat(" "), NOW, zone)
    except UserError:
        folds = {naive.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1)}
        assert len(folds) == 2
    else:
        assert isinstance(when, At)
        assert when.time.astimezone(zone).replace(tzinfo=None) == naive


@given(st.dates(date(1980, 1, 2), date(2037, 1, 1)), ZONES)
def test_a_day_starts_on_that_day(day, zone):
    when = parse_when(day.isoformat(), NOW, zone)

    assert isinstance(when, At)
    assert when.time.astimezone(zone).date() == day


@given(st.integers(0, 700_000), st.sampled_from([("s", 1), ("min", 60), ("h", 3600), ("d", 86400)]))
def test_ago_counts_back_from_now(count, unit):
    when = parse_when(f"{count}{unit[0]} ago", NOW, UTC)

    assert when == At(NOW - timedelta(seconds=count * unit[1]))


@given(st.integers(1, 2**64 - 1))
def test_every_txid_comes_back(txid):
    assert parse_when(f"{txid:016x}", NOW, UTC) == Txid(txid)
    assert parse_when(f"before:{txid:016X}", NOW, UTC) == Before(txid)


@given(st.text(max_size=40), ZONES)
def test_any_text_is_a_when_or_an_error_of_ours(text, zone):
    try:
        parse_when(text, NOW, zone)
    except UserError as error:
        assert error.hint
