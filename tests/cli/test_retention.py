"""`litekeep prune`, `hold`, `unhold`, `undelete`, and what a backup prunes by itself."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from litekeep.engine.job import one_at_a_time
from tests.cli.conftest import Shell


@pytest.fixture
def names(shell: Shell, app: Path) -> list[str]:
    """Five snapshots, newest first."""
    made = [shell.run("backup", "app.db", "--json").json["name"] for _ in range(5)]
    return made[::-1]


def listed(shell: Shell) -> list[str]:
    points = shell.run("list", "app.db", "--json").json["restore_points"]
    return [point["name"] for point in points]


def test_the_plan_is_said_with_reasons_and_a_dry_run_stops_there(shell, names):
    ran = shell.run("prune", "app.db", "--keep", "last=1", "--dry-run")

    assert ran.code == 0
    lines = [line.removeprefix("[sqlite-prune] ") for line in ran.lines]
    assert re.search(r"5 snapshots, of which 2 may go, ", lines[0])
    assert [line.split()[0] for line in lines[1:6]] == ["keep"] * 3 + ["remove"] * 2
    assert lines[1].endswith("(latest, newest, newest sound, last)")
    assert lines[2].endswith("(minimum of 3)")
    assert listed(shell) == names


def test_what_goes_is_gone_from_the_list_and_can_be_brought_back(shell, names):
    ran = shell.run("prune", "app.db", "--keep", "last=1", "--json")

    (store,) = ran.json["stores"]
    assert (store["pause"], store["error"], len(store["pruned"])) == (None, None, 2)
    assert [item["stays"] for item in store["snapshots"]] == [True, True, True, False, False]
    assert listed(shell) == names[:3]
    assert [line.split()[0] for line in shell.run("list", "app.db", "--deleted").lines] == sorted(
        names[3:]
    )
    assert shell.run("verify", "app.db").code == 0

    assert shell.run("undelete", names[4], "app.db").code == 0
    assert listed(shell) == [*names[:3], names[4]]
    restored = shell.run("restore", "app.db", "--at", names[4], "-o", "back.db", "--json")
    assert restored.json["proved"] is True


def test_a_held_snapshot_stays_until_it_is_let_go(shell, names):
    assert shell.run("hold", names[4], "app.db", "--reason", "audit").code == 0
    ran = shell.run("prune", "app.db", "--keep", "last=1")
    assert "(held: audit)" in ran.out
    assert listed(shell) == [*names[:3], names[4]]
    points = shell.run("list", "app.db", "--json").json["restore_points"]
    assert [point["held"] for point in points] == [False, False, False, True]

    assert shell.run("unhold", names[4], "app.db").code == 0
    shell.run("prune", "app.db", "--keep", "last=1")
    assert listed(shell) == names[:3]


def test_the_configuration_says_what_stays_in_each_store(shell, app):
    (shell.folder / "litekeep.toml").write_text(
        "[retention]\nkeep = { last = 2 }\nminimum = 1\nundelete_days = 0\nafter_backup = true\n"
        '[[store]]\nname = "near"\nurl = "near"\n'
        '[[store]]\nname = "far"\nurl = "far"\nkeep = { last = 3 }\n'
        '[[database]]\npath = "app.db"\n'
    )
    for _ in range(5):
        assert shell.run("backup").code == 0

    assert len(list((shell.folder / "near").rglob("app_*.db.gz"))) == 2
    assert len(list((shell.folder / "far").rglob("app_*.db.gz"))) == 3
    assert list((shell.folder / "near").rglob("*.deleted.json")) == []


def test_without_a_rule_nothing_goes_and_it_is_said(shell, names):
    ran = shell.run("prune", "app.db")

    assert ran.code == 0
    assert "nothing goes: no policy says what to keep" in ran.out
    assert listed(shell) == names


def test_local_days_of_the_environment_are_kept_and_older_ones_go(shell, app):
    """As the guide's script does, and unlike it never all of them."""
    local = shell.folder / "kept"
    local.mkdir()
    for stamp in ("20200101_000000", "20200102_000000"):
        (local / f"app_{stamp}.db.gz").write_bytes(b"by an older script")
    environ = {"LOCAL_BACKUP_DIR": str(local), "RETAIN_LOCAL_DAYS": "7"}

    made = [shell.run("backup", "app.db", "--json", **environ).json["name"] for _ in range(2)]
    assert {path.name.partition(".")[0] for path in local.glob("app_*")} == set(made)


def test_local_days_that_are_no_number_are_refused_before_anything_is_done(shell, app):
    ran = shell.run("backup", "app.db", RETAIN_LOCAL_DAYS="week")

    assert ran.code == 2
    assert "RETAIN_LOCAL_DAYS is 'week'" in ran.err
    assert not (shell.folder / "app.db-backups").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["prune", "app.db", "--keep", "dayly=3"], 2, "no rule of retention"),
        (["prune", "app.db", "--keep", "daily=0"], 2, "'0' is not what daily takes"),
        (["prune", "app.db", "--keep", "within=soon"], 2, "'soon' is not what within takes"),
        (["hold", "app_20200101_000000", "app.db"], 11, "no snapshot is called"),
        (["hold", "latest", "app.db", "--reason", "a\x1bb"], 2, "no plain text"),
        (["undelete", "app_20200101_000000", "app.db"], 11, "no pruned snapshot"),
        (["undelete", "yesterday", "app.db"], 2, "is no snapshot's name"),
        (["undelete", "app", "app.db"], 2, "is no snapshot's name"),
    ],
)
def test_a_mistake_is_two_lines_and_changes_nothing(shell, names, arguments, code, message):
    ran = shell.run(*arguments)

    assert ran.code == code
    error, hint = ran.err.splitlines()
    assert message in error
    assert hint.startswith("hint: ")
    assert listed(shell) == names


def test_a_dry_run_says_what_would_be_done_in_which_stores_and_changes_nothing(shell, app):
    (shell.folder / "litekeep.toml").write_text(
        "[retention]\nminimum = 1\n"
        '[[store]]\nname = "near"\nurl = "near"\n'
        '[[store]]\nname = "far"\nurl = "far"\n'
        '[[database]]\npath = "app.db"\n'
    )
    old, new = (shell.run("backup", "--json").json["name"] for _ in range(2))
    stores = f"{shell.folder}/near, {shell.folder}/far"
    said = f" in {stores}; nothing was changed (--dry-run)."

    def dry(*words: str) -> str:
        before = contents(shell.folder)
        ran = shell.run(*words, "--dry-run")
        assert (ran.code, contents(shell.folder)) == (0, before), ran.err
        return ran.out.strip()

    def contents(folder: Path) -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    assert dry("hold", new, "--reason", "audit") == f"Would hold {new}{said}"
    found = shell.run("hold", new, "--dry-run", "--json").json
    assert (found["dry_run"], found["restore_point"]["held"]) == (True, False)
    assert shell.run("hold", new, "--json").json["dry_run"] is False
    assert dry("unhold", new) == f"Would let {new} go{said}"
    assert dry("unhold", new, "--quiet") == ""
    assert shell.run("unhold", new, "--dry-run", "--json").json["restore_point"]["held"] is True
    assert shell.run("prune", "--keep", "last=1").code == 0
    assert dry("undelete", old) == f"Would bring {old} back{said}"
    assert shell.run("undelete", new, "--dry-run").code == 11
    found = shell.run("undelete", old, "--dry-run", "--json").json
    assert found == {"name": old, "stores": stores.split(", "), "dry_run": True}


@pytest.mark.parametrize("command", ["prune", "drill", "verify"])
def test_a_second_run_of_the_same_kind_ends_with_75_and_one_line(shell, app, command):
    other = shell.folder / "other.db"
    other.write_bytes(app.read_bytes())
    (shell.folder / "litekeep.toml").write_text(
        '[[database]]\npath = "app.db"\n[[database]]\npath = "other.db"\n'
    )
    assert shell.run("backup").code == 0
    state = Path(shell.environ["LITEKEEP_STATE"])
    with one_at_a_time(state, command, "app", app):
        ran = shell.run(command, "app.db")
        assert (ran.code, ran.out) == (75, "")
        assert ran.err.splitlines()[0] == f"error: another {command} of {app} is running"
        assert shell.run(command, "app.db", "--json").json["error"]["code"] == 75
        both = shell.run(command, "--json")
        assert both.code == 75
        first, second = both.json["databases"]
        assert (first["error"]["code"], second.get("error")) == (75, None)
        assert shell.run("backup", "app.db").code == 0
        assert shell.run("prune", "app.db", "--dry-run").code == 0
        assert shell.run(command, "other.db").code == 0
    assert shell.run(command, "app.db").code == 0
