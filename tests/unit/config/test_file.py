"""The configuration file: found, read, and held to its keys."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from litekeep.codec.formats import codec_named
from litekeep.config.file import find_file, read_file, read_text
from litekeep.config.keys import SecretSource, keys_of
from litekeep.config.notify import AppriseSettings, NotifySettings, PingSettings, WebhookSettings
from litekeep.config.settings import (
    FORMATS,
    LEVELS,
    AssertSettings,
    DamageSettings,
    DatabaseSettings,
    DrillSettings,
    KeepSettings,
    RetentionSettings,
    Settings,
    SnapshotSettings,
    StoreSettings,
)
from litekeep.config.stream import StreamSettings
from litekeep.errors import ConfigError
from litekeep.jobs import stream_policy
from litekeep.stream.policy import DAY, KEEP, StreamPolicy, Tier

FULL = """\
timezone = "Europe/Berlin"
state_dir = "state"
spool_size_max = "2 GiB"

[snapshot]
format = "zstd"
level = 5
check = false
busy_timeout = "2 min"

[[store]]
name = "s3"
url = "s3://bucket/prefix"
endpoint = "http://127.0.0.1:9000"
region = "eu-central-1"
path_style = true
access_key_id = "AKID"
secret_access_key = { env = "THE_SECRET" }
session_token = { file = "token" }
encryption = "aws:kms"
kms_key_id = "alias/backup"
storage_class = "STANDARD_IA"
checksum = "sha256"
ca_file = "~/ca.pem"
timeout = "30s"
request_timeout = "10 min"
retry = "0s"

[[store]]
name = "disk"
url = "backups"
layout = "flat"

[[database]]
path = "data/app.db"

[[database]]
path = "/srv/shop.sqlite3"
name = "My shop"
stores = ["disk"]
prefix = "a/b"
level = 1
allow_unsafe_file_system = true
"""


SHARED_PLACE = """\
[[store]]
name = "s"
url = "x"
[[database]]
path = "a"
prefix = "p"
[[database]]
prefix = "p"
path = "b"
"""


def read(text, tmp_path=Path("/etc/app")):
    return read_text(text, tmp_path / "litekeep.toml", {"HOME": "/home/me"})


def refused(text) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read(text)
    return caught.value


def test_every_key_is_read():
    found = read(FULL)

    assert found == Settings(
        timezone="Europe/Berlin",
        state_dir=Path("/etc/app/state"),
        spool_size_max=2 << 30,
        snapshot=SnapshotSettings(format="zstd", level=5, check=False, busy_timeout=120.0),
        stores=(
            StoreSettings(
                name="s3",
                url="s3://bucket/prefix",
                endpoint="http://127.0.0.1:9000",
                region="eu-central-1",
                path_style=True,
                access_key_id=SecretSource("text", "AKID"),
                secret_access_key=SecretSource("env", "THE_SECRET"),
                session_token=SecretSource("file", "/etc/app/token"),
                encryption="aws:kms",
                kms_key_id="alias/backup",
                storage_class="STANDARD_IA",
                checksum="sha256",
                ca_file=Path("/home/me/ca.pem"),
                timeout=30.0,
                request_timeout=600.0,
                retry=0.0,
            ),
            StoreSettings(name="disk", url="/etc/app/backups", layout="flat"),
        ),
        databases=(
            DatabaseSettings(path=Path("/etc/app/data/app.db"), name="app"),
            DatabaseSettings(
                path=Path("/srv/shop.sqlite3"),
                name="My shop",
                stores=("disk",),
                prefix="a/b",
                level=1,
                allow_unsafe_file_system=True,
            ),
        ),
        file=Path("/etc/app/litekeep.toml"),
    )


def test_an_empty_file_is_all_defaults():
    assert read("") == Settings(file=Path("/etc/app/litekeep.toml"))


@pytest.mark.parametrize(
    ("text", "line", "message", "hint"),
    [
        ('timezon = "UTC"', 1, "unknown key timezon", "Did you mean timezone?"),
        ("[snapshots]", 1, "unknown key snapshots", "Did you mean snapshot?"),
        ("\n[snapshot]\nlevle = 1", 3, "unknown key snapshot.levle", "Did you mean level?"),
        ("[snapshot]\nxyz = 1", 2, "unknown key snapshot.xyz", "Known here: busy_timeout, check"),
        ('[snapshot]\nformat = "lz4"', 2, 'snapshot.format is "lz4"', '"gzip" or "zstd" or "none"'),
        ("[snapshot]\nlevel = 23", 2, "snapshot.level is 23", "a whole number from 0 to 19"),
        ("[snapshot]\nlevel = true", 2, "snapshot.level is true", "a whole number"),
        ("[snapshot]\nlevel = 1.5", 2, "snapshot.level is 1.5", "a whole number"),
        ("[snapshot]\ncheck = 1", 2, "snapshot.check is 1", "true or false"),
        ("[snapshot]\nbusy_timeout = 5", 2, "snapshot.busy_timeout is 5", "a duration"),
        ('spool_size_max = "much"', 1, 'spool_size_max is "much"', "a size"),
        ('timezone = "Mars/Base"', 1, 'timezone is "Mars/Base"', "Europe/Berlin"),
        ('timezone = "../../etc/passwd"', 1, "timezone is", "the name of a time zone"),
        ('state_dir = ""', 1, 'state_dir is ""', "a path"),
        ("snapshot = 1", 1, "snapshot is 1", "a table, [snapshot]"),
        ("[store]\nname = 1", 1, "store is a table", "a list of tables, each a [[store]]"),
        ('[[store]]\nname = "a"', 1, "store[1].url is missing", "Add url = ..."),
        ('[[store]]\nname = "a/b"\nurl = "x"', 2, 'store[1].name is "a/b"', "no /"),
        (
            '[[store]]\nname = "a"\nurl = "x"\n[[store]]\nurl = "y"\nname = "a"',
            6,
            "two of [[store]] are called 'a'",
            "store[2].name",
        ),
        (
            '[[database]]\npath = "x/app.db"\n[[database]]\npath = "y/app.db"',
            3,
            "two of [[database]] are called 'app'",
            "database[2].name",
        ),
        (
            '[[store]]\nname = "disk"\nurl = "x"\n[[database]]\npath = "a"\nstores = ["disc"]',
            6,
            "no [[store]] is called 'disc'",
            "Did you mean 'disk'?",
        ),
        ('[[database]]\npath = "a"\nprefix = "../up"', 3, 'prefix is "../up"', "with / between"),
        ('[[database]]\npath = "a"\nstores = "disk"', 3, 'stores is "disk"', "a list of names"),
        ('[[database]]\npath = "/"', 2, "'', from the path, is no name", "Set database[1].name"),
        *(
            (f'[[drill.assert]]\nsql = "SELECT 1"\nexpect = {odd}', 3, "expect is", "finite")
            for odd in ("nan", "-nan", "inf", "-inf")
        ),
        (
            SHARED_PLACE,
            8,
            "'b' and 'a' would share /etc/app/x/p",
            "a prefix of its own",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_line_and_what_is_allowed(text, line, message, hint):
    error = refused(text)

    assert error.message.startswith(f"/etc/app/litekeep.toml, line {line}: ")
    assert message in error.message
    assert hint in (error.hint or "")


def test_text_that_is_no_toml_is_refused_with_its_place():
    assert "line 2" in refused("[snapshot]\nlevel = = 1").message


@pytest.mark.parametrize(
    "value",
    ["12345678", "{ env = 12345678 }", '{ enviroment = "S3CR3T-12345678" }', '["S3CR3T-12345678"]'],
)
def test_a_wrong_secret_is_not_shown(value):
    error = refused(f'[[store]]\nname = "s"\nurl = "s3://b"\nsecret_access_key = {value}')

    assert "12345678" not in error.message + (error.hint or "")
    assert 'env = "NAME"' in (error.hint or "")


def test_a_secret_is_not_in_the_text_form_of_the_settings():
    found = read('[[store]]\nname = "s"\nurl = "s3://b"\nsecret_access_key = "S3CR3T-1"')

    assert "S3CR3T-1" not in repr(found)


def test_the_first_file_in_order_is_found(tmp_path):
    """Named on the command line, by the environment, here, at home."""
    home, here = tmp_path / "home", tmp_path / "here"
    (home / ".config/litekeep").mkdir(parents=True)
    here.mkdir()
    given, named = tmp_path / "given.toml", tmp_path / "named.toml"
    at_home, local = home / ".config/litekeep/litekeep.toml", here / "litekeep.toml"
    environ = {"HOME": str(home), "LITEKEEP_CONFIG": str(named)}
    without = {"HOME": str(home)}
    for file in (given, named, at_home, local):
        file.touch()

    assert find_file(given, environ, here) == given
    assert find_file(None, environ, here) == named
    assert find_file(None, without, here) == local
    local.unlink()
    assert find_file(None, without, here) == at_home
    at_home.unlink()
    assert find_file(None, without, here) in (None, Path("/etc/litekeep.toml"))


def test_a_named_file_that_is_not_there_is_an_error(tmp_path):
    for path, environ, name in (
        (tmp_path / "no", {}, "--config"),
        (None, {"LITEKEEP_CONFIG": "no"}, "$LITEKEEP_CONFIG"),
    ):
        with pytest.raises(ConfigError, match=re.escape(name)):
            find_file(path, environ, tmp_path)


def test_dev_null_means_no_file_at_all(tmp_path):
    (tmp_path / "litekeep.toml").touch()

    assert find_file(Path("/dev/null"), {}, tmp_path) is None
    assert find_file(None, {"LITEKEEP_CONFIG": "/dev/null"}, tmp_path) is None


def test_the_home_folder_is_known_where_no_shell_has_put_it(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.toml").touch()

    for named, environ in ((None, {"LITEKEEP_CONFIG": "~/mine.toml"}), (Path("~/mine.toml"), {})):
        assert find_file(named, environ, Path("/")) == tmp_path / "mine.toml"
    with pytest.raises(ConfigError, match="~nobody-of-this-name/x"):
        find_file(Path("~nobody-of-this-name/x"), {}, Path("/"))


def test_a_file_that_cannot_be_read_is_an_error(tmp_path):
    (tmp_path / "latin.toml").write_bytes('timezone = "é"'.encode("latin-1"))

    with pytest.raises(ConfigError, match="UTF-8"):
        read_file(tmp_path / "latin.toml", {})
    with pytest.raises(ConfigError, match="cannot read"):
        read_file(tmp_path, {})


def test_every_setting_is_a_key_or_a_section():
    """Nothing can be set that the reader does not know."""
    sections = {"snapshot", "retention", "damage", "drill", "status", "notify", "stream"}
    sections |= {"stores", "databases", "file"}
    fields = set(Settings.__dataclass_fields__)

    assert fields == {name for name, _ in keys_of(Settings)} | sections


TOML_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
SECTIONS = (
    StoreSettings,
    DatabaseSettings,
    Settings,
    RetentionSettings,
    DamageSettings,
    DrillSettings,
    NotifySettings,
    StreamSettings,
)
KEYS = sorted({name for section in SECTIONS for name, _ in keys_of(section)} | {"assert"})
TABLES = ["", "snapshot", "stream", "retention", "damage", "drill", "status", "notify"]
LISTS = ["store", "database"]


@given(st.sampled_from(TABLES + LISTS), st.sampled_from(KEYS), TOML_VALUES)
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_any_value_of_any_key_is_settings_or_an_error_of_ours(table, key, value):
    from litekeep.config.reader import Reader  # the TOML text itself is tomllib's concern

    tables = {key: value}
    if table:
        tables = {table: tables if table in TABLES else [{"name": "a", **tables}]}
    try:
        Reader(Path("/etc/litekeep.toml"), "", {}).settings(tables)
    except ConfigError as error:
        assert "/etc/litekeep.toml" in error.message


def test_retention_is_read_with_each_of_its_keys(tmp_path):
    text = """
[retention]
keep = { last = 3, within = "2d", yearly = 1 }
minimum = 2

[[store]]
name = "local"
url = "backups"
keep = { hourly = 5 }
"""
    found = read_text(text, tmp_path / "litekeep.toml", {})

    keep = KeepSettings(last=3, within=172800.0, yearly=1)
    assert found.retention == RetentionSettings(keep=keep, minimum=2, undelete_days=7)
    assert found.stores[0].keep == KeepSettings(hourly=5)


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("keep = { dayly = 3 }", "line 2: unknown key retention.keep.dayly", "Did you mean daily?"),
        ("keep = { daily = 0 }", "line 2: retention.keep.daily is 0", "from 1"),
        ("keep = { within = 3 }", "line 2: retention.keep.within is 3", "duration"),
        ("keep = 3", "line 2: retention.keep is 3", "a table such as"),
        ("undelete_days = -1", "line 2: retention.undelete_days is -1", "from 0"),
    ],
)
def test_a_wrong_retention_is_named_with_its_line(tmp_path, line, message, hint):
    with pytest.raises(ConfigError) as caught:
        read_text(f"[retention]\n{line}\n", tmp_path / "litekeep.toml", {})
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")


def test_the_questions_of_drills_are_read_in_order(tmp_path):
    text = """
[drill]
foreign_keys = false

[[drill.assert]]
sql = "SELECT count(*) FROM t"
expect = 3

[[drill.assert]]
sql = "SELECT 1"
database = "app"

[[database]]
path = "app.db"
"""
    found = read_text(text, tmp_path / "litekeep.toml", {}).drill

    assert found.assertions == (
        AssertSettings(sql="SELECT count(*) FROM t", expect=3),
        AssertSettings(sql="SELECT 1", database="app"),
    )
    assert not found.foreign_keys


def test_a_question_to_a_database_that_is_not_listed_is_an_error(tmp_path):
    text = '[[drill.assert]]\nsql = "SELECT 1"\ndatabase = "ap"\n[[database]]\npath = "app.db"\n'
    with pytest.raises(ConfigError, match=r"line 3: no database is called 'ap'"):
        read_text(text, tmp_path / "litekeep.toml", {})


NOTIFY = """
[notify]
on = ["failure", "success", "failure"]
repeat = "2h"
timeout = "5s"

[notify.ping]
backup = "https://ping.example.com/1"
drill = { env = "PING_DRILL" }

[[notify.webhook]]
name = "ops"
url = { file = "hook" }
secret = { env = "HOOK_KEY" }

[[notify.apprise]]
name = "mail"
url = "mailtos://me:hunter2@example.com"
on = ["stale"]
"""


def test_who_is_told_of_what_is_read_with_each_of_its_keys():
    found = read(NOTIFY)

    assert found.notify == NotifySettings(
        on=("failure", "success"),
        repeat=7200.0,
        timeout=5.0,
        ping=PingSettings(
            backup=SecretSource("text", "https://ping.example.com/1"),
            drill=SecretSource("env", "PING_DRILL"),
        ),
        webhooks=(
            WebhookSettings(
                name="ops",
                url=SecretSource("file", "/etc/app/hook"),
                secret=SecretSource("env", "HOOK_KEY"),
            ),
        ),
        services=(
            AppriseSettings(
                name="mail",
                url=SecretSource("text", "mailtos://me:hunter2@example.com"),
                on=("stale",),
            ),
        ),
    )
    assert "hunter2" not in repr(found)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ('[notify]\non = ["fail"]', "line 2: notify.on is a list", '"failure", "stale"'),
        ("[notify]\non = []", "line 2: notify.on is an empty list", '"failure", "stale"'),
        ('[notify]\nping = "https://h/u"', "line 2: notify.ping is text", "a table, [notify.ping]"),
        ('[notify.ping]\nbackups = "u"', "line 2: unknown key notify.ping.backups", "backup?"),
        ('[[notify.webhook]]\nname = "a"', "line 1: notify.webhook[1].url is missing", "Add url"),
        ("[notify.apprise]", "notify.apprise is a table", "each a [[notify.apprise]]"),
        ('[notify]\ntimeout = "0s"', "line 2: notify.timeout is", "at least 1.0 s"),
    ],
)
def test_a_wrong_word_on_who_is_told_is_named(text, message, hint):
    error = refused(text)

    assert message in error.message
    assert hint in (error.hint or "")
    assert "https://h/u" not in error.message


def test_two_webhooks_of_one_name_are_refused():
    one = '[[notify.webhook]]\nname = "a"\nurl = "u"\n'

    assert "two of [[notify.webhook]] are called 'a'" in refused(one * 2).message


STORE = '[[store]]\nname = "a"\nurl = "{}"\n'


@pytest.mark.parametrize(
    ("url", "line", "message", "hint"),
    [
        ("backups", 'encryption = "AES256"', "store[1].encryption means nothing for a local", "s3"),
        ("file:///b", 'account = "x"', "store[1].account means nothing for a local folder", "az"),
        ("backups", 'timeout = "9s"', "store[1].timeout means nothing for a local folder", "gs"),
        ("backups", "anonymous = false", "store[1].anonymous means nothing for a local", "s3"),
        ("gs://b", 'storage_class = "X"', "store[1].storage_class means nothing for gs://", "s3"),
        ("s3://b", 'account_key = "X"', "store[1].account_key means nothing for s3://", "az"),
    ],
)
def test_a_setting_that_the_store_cannot_honour_is_refused(url, line, message, hint):
    error = refused(STORE.format(url) + line)

    assert error.message.startswith("/etc/app/litekeep.toml, line 4: ")
    assert message in error.message
    assert f"{hint}://" in (error.hint or "")


@pytest.mark.parametrize(
    "endpoint", ["notaurl", "ftp://h", "http://", "http://h:x", "https://h?a=b"]
)
def test_an_endpoint_is_a_url(endpoint):
    error = refused(STORE.format("s3://b") + f'endpoint = "{endpoint}"')

    assert f'line 4: store[1].endpoint is "{endpoint}"' in error.message
    assert "https://" in (error.hint or "")


def test_a_password_in_an_endpoint_is_not_shown():
    error = refused(STORE.format("s3://b") + 'endpoint = "http://me:hunter2@host"')

    assert "hunter2" not in error.message + (error.hint or "")


def test_a_duration_has_its_bounds():
    for line in ('timeout = "0s"', 'request_timeout = "0 min"', 'timeout = "2 days"'):
        error = refused(STORE.format("s3://b") + line)
        assert f"line 4: store[1].{line.split()[0]} is " in error.message
        assert "at least 1.0 s, at most 24 h 0 min" in (error.hint or "")
    assert read(STORE.format("s3://b") + 'retry = "0s"').stores[0].retry == 0


def test_an_empty_list_of_stores_is_refused():
    """It would mean: only beside the database, and nobody would notice."""
    error = refused(STORE.format("x") + '[[database]]\npath = "a"\nstores = []')

    assert "line 6: database[1].stores is an empty list" in error.message


def test_a_level_that_the_format_does_not_have_is_named_with_its_place():
    alone = refused("[snapshot]\nlevel = 9")
    database = refused('[snapshot]\nformat = "zstd"\n[[database]]\npath = "a"\nlevel = 0')

    assert "litekeep.toml, line 2: snapshot.level is 9, and gzip has no" in alone.message
    assert "litekeep.toml, line 5: database[1].level is 0, and zstd has no" in database.message
    assert read('[snapshot]\nlevel = 9\n[[database]]\npath = "a"\nformat = "zstd"')


def test_two_stores_that_are_one_place_are_named_as_such():
    twice = '[[store]]\nname = "a"\nurl = "x"\n[[store]]\nname = "b"\nurl = "x"\n'

    error = refused(f'{twice}[[database]]\npath = "app.db"')

    assert "line 6: the stores 'a' and 'b' are one place, /etc/app/x" in error.message


@pytest.mark.parametrize(
    ("value", "message", "hint"),
    [
        ("12345678", "is a number", "Allowed: text"),
        ('{ envv = "NAME" }', "is a table", "Did you mean env? Allowed: text"),
        ("[]", "is an empty list", "Allowed: text"),
    ],
)
def test_a_wrong_secret_is_called_by_words_of_toml(value, message, hint):
    error = refused(f'[[store]]\nname = "s"\nurl = "s3://b"\nsecret_access_key = {value}')

    assert error.message.endswith(message)
    assert (error.hint or "").startswith(hint)


def test_the_levels_of_settings_are_those_of_the_formats():
    assert {
        name: (codec_named(name).level_min, codec_named(name).level_max) for name in FORMATS
    } == LEVELS


def test_the_stream_is_read_and_becomes_its_policy(tmp_path):
    text = """
[stream]
sync_interval = "200ms"
checkpoint = "never"
base_share = "30%"
keep_syncs = "2h"
keep_daily = "0s"
"""
    found = read_text(text, tmp_path / "litekeep.toml", {}).stream
    assert (found.sync_interval, found.checkpoint, found.spool_size_max) == (0.2, "never", 1 << 30)
    policy = stream_policy(found)
    assert policy.base_share == 0.3
    assert policy.keep == (Tier(0, 7200), *KEEP[1:3], Tier(DAY, 0))
    assert stream_policy(StreamSettings()) == StreamPolicy()


@pytest.mark.parametrize("line", ['sync_interval = "20ms"', 'checkpoint = "no"', "keep_syncs = 3"])
def test_a_wrong_key_of_the_stream_is_named_with_its_line(tmp_path, line):
    with pytest.raises(ConfigError, match="line 2: stream"):
        read_text(f"[stream]\n{line}\n", tmp_path / "litekeep.toml", {})
