"""What DATABASE, SOURCE and `--to` mean under the settings in force."""

from __future__ import annotations

import re
import sqlite3
from datetime import UTC
from pathlib import Path

import pytest

from litekeep.config.file import read_text
from litekeep.config.places import places_named, state_folder
from litekeep.config.settings import Settings, SnapshotSettings
from litekeep.engine.backup import backup
from litekeep.errors import ConfigError, NotFound, UserError
from litekeep.jobs import backup_jobs
from litekeep.opening import open_repository
from litekeep.sources import (
    find_source,
    find_sources,
    load_settings,
    single_file,
)


def make_database(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t(a)")
    connection.commit()
    connection.close()
    return path


def configured(tmp_path, text) -> Settings:
    return read_text(text, tmp_path / "litekeep.toml", {})


def urls(found):
    return [repository.store.url for repository in found.repositories]


TWO = """
[snapshot]
format = "zstd"
[[store]]
name = "disk"
url = "backups"
[[database]]
path = "app.db"
level = 7
[[database]]
path = "shop.db"
format = "gzip"
check = false
"""


def test_without_a_name_all_that_is_listed_is_backed_up(tmp_path):
    app, shop = backup_jobs(configured(tmp_path, TWO), environ={})

    assert (app.name, app.database) == ("app", tmp_path / "app.db")
    assert urls(app) == [str(tmp_path / "backups/app")]
    assert urls(shop) == [str(tmp_path / "backups/shop")]


def test_each_setting_is_the_nearest_that_is_given(tmp_path):
    """The command line wins over the database, the database over `[snapshot]`."""
    settings = configured(tmp_path, TWO)

    app, shop = backup_jobs(settings, environ={})
    (forced,) = backup_jobs(
        settings, "shop", how=SnapshotSettings(format="none", check=True), environ={}
    )

    assert (app.format, app.level, app.check) == ("zstd", 7, True)
    assert (shop.format, shop.level, shop.check) == ("gzip", None, False)
    assert (forced.format, forced.check) == ("none", True)


def test_a_database_is_named_by_name_path_or_link(tmp_path):
    settings = configured(tmp_path, TWO)
    make_database(tmp_path / "app.db")
    (tmp_path / "link").symlink_to(tmp_path / "app.db")

    for text in ("app", str(tmp_path / "app.db"), str(tmp_path / "link")):
        (job,) = backup_jobs(settings, text, environ={})
        assert job.name == "app"
        assert find_source(settings, text, environ={}).name == "app"


def test_a_level_that_the_format_has_not_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="gzip has no level 9"):
        backup_jobs(Settings(), "app.db", how=SnapshotSettings(level=9), environ={})


def test_local_stores_come_first(tmp_path):
    """Those elsewhere are fed from them."""
    (job,) = backup_jobs(
        Settings(), str(tmp_path / "app.db"), to=["s3://bucket/x", str(tmp_path / "b")], environ={}
    )

    assert urls(job) == [str(tmp_path / "b"), "s3://bucket/x"]


def test_to_with_several_databases_gives_each_a_folder(tmp_path):
    app, shop = backup_jobs(configured(tmp_path, TWO), to=[str(tmp_path / "b")], environ={})

    assert urls(app) == [str(tmp_path / "b/app")]
    assert urls(shop) == [str(tmp_path / "b/shop")]


def test_with_no_database_at_all_the_error_says_what_to_do():
    with pytest.raises(UserError, match="no database is named") as caught:
        backup_jobs(Settings(), environ={})

    assert "litekeep init" in (caught.value.hint or "")


def test_a_database_in_docker_is_named_and_the_engine_not_asked(tmp_path):
    state = {"LITEKEEP_STATE": str(tmp_path)}
    for database, environ, name, folder in (
        ("docker:v/a.db", {}, "docker:v/a.db", "volumes/v/a.db"),
        ("docker:c:/x/a.db", {}, "docker:c:/x/a.db", "containers/c/x/a.db"),
        (None, {"DB_FILE_NAME": "a.db"}, "docker:manual_instance/a.db", None),
        (None, {"S3_BUCKET": "b", "SQLITE_VOLUME_NAME": "v"}, "docker:v/manual_generator.db", None),
    ):
        (job,) = backup_jobs(Settings(), database, environ={**state, **environ})
        assert str(job.database) == name
        if folder is not None:
            assert urls(job) == [f"{tmp_path}/docker/{folder}-backups"]


def test_a_database_in_docker_is_listed_by_its_name_or_its_address(tmp_path):
    settings = configured(tmp_path, '[[database]]\nname = "app"\npath = "docker:v/a.db"')

    for text in ("app", "docker:v/a.db", "docker:v/./a.db"):
        (job,) = backup_jobs(settings, text, environ={})
        assert (job.name, str(job.database)) == ("app", "docker:v/a.db")
    with pytest.raises(ConfigError, match="docker:v"):
        configured(tmp_path, '[[database]]\npath = "docker:v"')


@pytest.mark.parametrize(
    "text", ["docker:", "docker:v", "docker:v/", "docker:/a.db", "docker:v/../a.db",
             "docker:v:a.db", "docker:-v/a.db", "docker:v//a.db", "docker:v/a\nb", "docker:v/."]
)  # fmt: skip
def test_what_names_no_database_in_docker_is_refused_with_the_spelling(text: str):
    with pytest.raises(UserError, match="names no database in Docker") as caught:
        backup_jobs(Settings(), text, environ={})

    assert "docker:VOLUME/FILE" in (caught.value.hint or "")


def test_the_bucket_of_the_environment_counts_only_without_file_and_to(tmp_path):
    app = str(tmp_path / "app.db")
    environ = {"S3_BUCKET": "b"}
    by_file = configured(tmp_path, '[[store]]\nname="d"\nurl="d"')

    (plain,) = backup_jobs(Settings(), app, environ=environ)
    (named,) = backup_jobs(Settings(), app, to=[str(tmp_path / "x")], environ=environ)
    (filed,) = backup_jobs(by_file, app, environ=environ)

    assert urls(plain) == [f"{app}-backups", "s3://b/sqlite-backup"]
    assert urls(named) == [str(tmp_path / "x")]
    assert urls(filed) == [str(tmp_path / "d/app")]


def test_another_file_of_a_listed_name_is_refused(tmp_path):
    with pytest.raises(UserError, match="not the database that the configuration calls 'app'"):
        backup_jobs(configured(tmp_path, TWO), str(tmp_path / "else/app.db"), environ={})


def test_a_database_that_is_nowhere_is_not_found_and_the_names_are_told(tmp_path):
    with pytest.raises(NotFound) as caught:
        backup_jobs(configured(tmp_path, TWO), str(tmp_path / "ap"), environ={})

    assert "app, shop" in (caught.value.hint or "")


def test_a_folder_of_backups_is_a_source_and_tells_whose_it_is(tmp_path):
    database = make_database(tmp_path / "data/app.db")
    (job,) = backup_jobs(Settings(), str(database), environ={"LITEKEEP_STATE": str(tmp_path)})
    backup(job)

    found = find_source(Settings(), str(tmp_path / "data/app.db-backups"), environ={})

    assert (found.name, found.database) == ("app", None)


def test_a_source_is_found_though_the_database_is_gone(tmp_path):
    """That is when it is needed."""
    (tmp_path / "app.db-backups").mkdir()

    found = find_source(Settings(), str(tmp_path / "app.db"), environ={})

    assert urls(found) == [str(tmp_path / "app.db-backups")]
    assert found.database == tmp_path / "app.db"


def test_a_folder_that_holds_several_databases_asks_which(tmp_path):
    for name in ("app", "shop"):
        database = make_database(tmp_path / f"{name}.db")
        for job in backup_jobs(
            Settings(),
            str(database),
            to=[str(tmp_path / "all")],
            environ={"LITEKEEP_STATE": str(tmp_path / "state")},
        ):
            backup(job)

    with pytest.raises(UserError, match="several databases") as caught:
        find_source(Settings(), str(tmp_path / "all"), environ={})
    assert "app, shop" in (caught.value.hint or "")
    assert find_source(Settings(), str(tmp_path / "all"), name="shop", environ={}).name == "shop"


def backed_up(tmp_path, settings, *names, **how):
    environ = {"LITEKEEP_STATE": str(tmp_path / "state")}
    for name in names:
        for job in backup_jobs(settings, name, environ=environ, **how):
            backup(job)


def test_a_store_that_databases_share_is_searched_by_name(tmp_path):
    """What our own configuration writes lies in a folder of the database's name."""
    settings = configured(tmp_path, TWO)
    app = make_database(tmp_path / "app.db")
    make_database(tmp_path / "shop.db")
    backed_up(tmp_path, settings, "app", "shop")
    store = str(tmp_path / "backups")

    found = find_source(settings, store, name="app", environ={})

    assert (found.name, urls(found), found.database) == ("app", [f"{store}/app"], app)
    with pytest.raises(NotFound, match="itself, but in its folders app, shop") as caught:
        find_source(settings, store, environ={})
    assert "--database: app, shop" in (caught.value.hint or "")
    with pytest.raises(NotFound, match="no snapshots of 'wiki'") as caught:
        find_source(settings, store, name="wiki", environ={})
    assert "app, shop" in (caught.value.hint or "")


def test_a_name_that_lies_in_several_folders_is_not_guessed(tmp_path):
    database = str(make_database(tmp_path / "app.db"))
    for folder in ("all/one", "all/two"):
        backed_up(tmp_path, Settings(), database, to=[str(tmp_path / folder)])

    with pytest.raises(UserError, match="several folders of .* hold a database called 'app'"):
        find_source(Settings(), str(tmp_path / "all"), name="app", environ={})
    backed_up(tmp_path, Settings(), database, to=[str(tmp_path / "all")])
    found = find_source(Settings(), str(tmp_path / "all"), name="app", environ={})
    assert urls(found) == [str(tmp_path / "all")]


@pytest.mark.parametrize(
    ("source", "meant"),
    [
        ("s3://b/p/2025/09/app_20250908_120001.db.gz", "s3://b/p --at app_20250908_120001."),
        ("s3://b/p/app_20250908_120001.db", "s3://b/p --at app_20250908_120001."),
        ("s3://b/latest.db.gz?region=x", "Name the store, s3://b?region=x; "),
    ],
)
def test_an_object_of_a_store_is_no_store_and_the_error_says_what_to_write(
    no_cloud_environment, source, meant
):
    with pytest.raises(UserError, match="is an object in a store, not a store") as caught:
        find_source(Settings(), source, environ={})

    assert meant in (caught.value.hint or "")


def test_a_file_where_a_store_is_needed_is_called_one(tmp_path):
    database = make_database(tmp_path / "app.db")

    with pytest.raises(UserError, match="is a file, and a store or a database is needed"):
        find_source(Settings(), f"file://{database}", environ={})


def test_a_name_of_nothing_is_not_the_current_folder(tmp_path, monkeypatch):
    """It is what an unset variable of a script leaves."""
    monkeypatch.chdir(tmp_path)
    for call in (
        lambda: backup_jobs(Settings(), "", environ={}),
        lambda: backup_jobs(Settings(), "app.db", to=[""], environ={}),
        lambda: find_source(Settings(), "", environ={}),
        lambda: find_source(Settings(), str(tmp_path), name="", environ={}),
    ):
        with pytest.raises(UserError, match="is empty"):
            call()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('url = "ftp://x"', "ftp:// is not a kind of store"),
        ('url = "s3://b?regoin=x"', "regoin is not a parameter"),
        ('url = "az://c"', "the storage account is not known"),
        ('url = "s3://me:hunter2@b"', "a store's URL holds a user or a password"),
        ('url = "s3://b"\naccess_key_id = "AK"', "access_key_id and secret_access_key belong"),
        (
            'url = "s3://b"\nsecret_access_key = { env = "NO_SUCH" }',
            "secret_access_key: the environment variable NO_SUCH",
        ),
        (
            'url = "s3://b"\nsecret_access_key = { file = "none" }',
            "secret_access_key: there is no file",
        ),
    ],
)
def test_a_store_that_cannot_be_opened_is_named_with_its_line(tmp_path, lines, message):
    settings = configured(tmp_path, f'[[store]]\nname = "mine"\n{lines}')
    (place,) = places_named(settings, ["mine"])

    with pytest.raises(UserError) as caught:
        open_repository(place, "app", UTC, {})

    expected = f"{tmp_path}/litekeep.toml, line 3: the store 'mine': {message}"
    assert caught.value.message.startswith(expected)
    assert caught.value.hint
    assert "hunter2" not in caught.value.message + caught.value.hint


def test_a_store_without_snapshots_is_not_found(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFound, match="no snapshots in"):
        find_source(Settings(), str(tmp_path / "empty"), environ={})


def test_only_a_configured_store_leads_to_the_live_file(tmp_path):
    """A stranger's folder that holds the same name must not aim a restore at it."""
    database = make_database(tmp_path / "app.db")
    settings = configured(tmp_path, '[[store]]\nname="d"\nurl="ours"\n[[database]]\npath="app.db"')
    for folder in ("ours", "theirs"):
        (job,) = backup_jobs(
            settings,
            "app",
            to=[str(tmp_path / folder)],
            environ={"LITEKEEP_STATE": str(tmp_path / "state")},
        )
        backup(job)

    assert find_source(settings, str(tmp_path / "ours"), environ={}).database == database
    assert find_source(settings, str(tmp_path / "theirs"), environ={}).database is None


def test_one_source_is_wanted_and_several_are_listed(tmp_path):
    settings = configured(tmp_path, TWO)

    assert [item.name for item in find_sources(settings, environ={})] == ["app", "shop"]
    with pytest.raises(UserError, match="several databases"):
        find_source(settings, environ={})


def test_a_store_is_no_database():
    with pytest.raises(UserError, match="is a store"):
        backup_jobs(Settings(), "s3://bucket/x", environ={})


def test_a_single_file_is_known_by_its_name_and_a_live_looking_one_is_refused(tmp_path):
    settings = Settings()
    plain = make_database(tmp_path / "plain.db")
    kept = make_database(tmp_path / "kept.db")
    (tmp_path / "kept.db-backups").mkdir()
    undo = make_database(tmp_path / "kept.db.undo-20250908_120001")
    packed = tmp_path / "kept_20250908_120001.db.gz"
    packed.touch()

    def found(path, *, has_output=True):
        return single_file(settings, str(path), has_output=has_output, environ={})

    gunzipped = make_database(tmp_path / "kept_20250908_120001.db")

    with pytest.raises(UserError, match="no backups of .*plain.db are known") as raised:
        found(plain)
    assert f"file://{plain}" in str(raised.value.hint)
    assert found(plain, has_output=False) is None
    assert found(gunzipped, has_output=False) == gunzipped
    assert found(kept) is None
    assert found(f"file://{kept}") == kept
    assert found(undo, has_output=False) == undo
    assert found(packed, has_output=False) == packed
    assert found(tmp_path / "none.db.gz") is None
    assert found(tmp_path) is None


def test_the_state_folder_is_the_nearest_that_is_given(tmp_path, monkeypatch):
    settings = Settings(state_dir=tmp_path / "configured")
    monkeypatch.setattr("os.geteuid", lambda: 1000)

    assert state_folder(settings, {"LITEKEEP_STATE": str(tmp_path)}) == tmp_path
    assert state_folder(settings, {}) == tmp_path / "configured"
    assert state_folder(Settings(), {"XDG_STATE_HOME": "/x"}) == Path("/x/litekeep")
    assert re.fullmatch(r"/.*/\.local/state/litekeep", str(state_folder(Settings(), {})))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert state_folder(Settings(), {}) == Path("/var/lib/litekeep")


def test_without_a_file_the_settings_are_the_defaults(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if not Path("/etc/litekeep.toml").exists():
        assert load_settings(environ={"HOME": str(tmp_path)}) == Settings()
    (tmp_path / "litekeep.toml").write_text('timezone = "Asia/Tokyo"')
    assert load_settings(environ={}).timezone == "Asia/Tokyo"


@pytest.mark.parametrize("spelling", ["link", "file", "dots"])
def test_one_store_by_two_spellings_gets_no_two_snapshots(tmp_path, spelling):
    (tmp_path / "backups").mkdir()
    (tmp_path / "link").symlink_to("backups")
    make_database(tmp_path / "app.db")
    other = {
        "link": str(tmp_path / "link"),
        "file": (tmp_path / "backups").as_uri(),
        "dots": f"{tmp_path}/link/../backups/",
    }[spelling]
    with pytest.raises(UserError, match="named twice"):
        backup_jobs(
            Settings(), str(tmp_path / "app.db"), to=[str(tmp_path / "backups"), other], environ={}
        )


def test_a_file_of_a_name_that_is_too_long_is_told_why(tmp_path):
    with pytest.raises(UserError, match="at most 100 bytes"):
        backup_jobs(Settings(), str(tmp_path / f"{'a' * 101}.db"), environ={})


def test_a_name_beside_a_database_is_its_own_or_an_error(tmp_path):
    settings = configured(tmp_path, TWO)
    for source in ("app", str(tmp_path / "app.db")):
        assert find_source(settings, source, name="app", environ={}).name == "app"
        with pytest.raises(UserError, match="no database called 'shop' is meant here: app") as e:
            find_sources(settings, source, name="shop", environ={})
        assert "Leave the name out" in (e.value.hint or "")


def test_a_name_without_a_source_is_one_of_the_configuration(tmp_path):
    settings = configured(tmp_path, TWO)
    assert [one.name for one in find_sources(settings, name="shop", environ={})] == ["shop"]
    with pytest.raises(UserError, match="'cart' is meant here: app, shop"):
        find_sources(settings, name="cart", environ={})
