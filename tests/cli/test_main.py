"""The command itself: help, errors, exit codes, signals."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from typing import Any

import click
import pytest

from litekeep import errors
from litekeep.cli import output
from litekeep.cli.main import COMMANDS, group, run
from litekeep.version import VERSION
from tests.cli.conftest import Ran, make_database


def test_help_names_every_command_with_its_own_words(shell):
    ran = shell.run("--help")

    assert ran.code == 0
    for name, summary in COMMANDS.items():
        command = importlib.import_module(f"litekeep.cli.{name}").command
        assert command.short_help == summary
        assert command.help.strip().startswith(summary.partition(",")[0].rstrip("."))
        assert f"  {name} " in ran.out
        assert summary in ran.out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_the_common_options(name):
    command = group.get_command(click.Context(group), name)

    assert command is not None
    options = {option for parameter in command.params for option in parameter.opts}
    assert {"--config", "--json", "--quiet", "--verbose"} <= options
    assert all(
        parameter.help for parameter in command.params if isinstance(parameter, click.Option)
    )


def test_help_loads_nothing_heavy(shell):
    """Whatever it would cost, it is not needed to say what there is."""
    script = (
        "import sys; from litekeep.cli.main import run; code = run(['--help'])\n"
        "heavy = {'apsw', 'rich', 'obstore', 'numpy', 'msgspec', 'isal', 'boto3', 'tomllib'}\n"
        "print(sorted(heavy & set(sys.modules)), code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=shell.environ,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.splitlines()[-1] == "[] 0"


def test_help_comes_within_150_ms(shell):
    """Of processor time, which a machine busy with other tests does not stretch much."""

    def seconds() -> float:
        before = os.times()
        shell.run("--help")
        after = os.times()
        return sum(after[2:4]) - sum(before[2:4])  # user and system, of children

    assert min(seconds() for _ in range(7)) < 0.150


def test_the_version_is_the_package_version(shell):
    assert shell.run("--version").out == f"litekeep {VERSION}\n"


def test_an_error_is_two_lines_and_its_exit_code(shell):
    ran = shell.run("backup", "none.db")

    assert ran.code == errors.NotFound.exit_code
    assert ran.out == ""
    message, hint = ran.err.splitlines()
    assert message.startswith("error: no database at ")
    assert hint.startswith("hint: ")


def test_an_error_is_json_where_json_is_wanted(shell):
    ran = shell.run("--json", "backup", "none.db")

    assert ran.code == 11
    assert ran.err == ""
    error = ran.json["error"]
    assert list(error) == ["code", "kind", "message", "hint"]
    assert (error["code"], error["kind"]) == (11, "NotFound")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bakup"], "no such command 'bakup'"),
        (["backup", "--frmat", "gzip"], "--frmat"),
        (["backup", "--format", "lz4", "a.db"], "'lz4' is not one of"),
        (["backup", "--level", "x", "a.db"], "'x' is not a valid integer"),
        (["list", "a", "b"], "got unexpected extra argument (b)"),
        (["verify", "--sample", "x", "a.db"], "'x' is not a share"),
        (["restore", "a.db", "--at", "some day"], "'some day' is not a time"),
        (["--config", "none.toml", "list"], "there is no configuration file none.toml"),
        (["completion", "tcsh"], "'tcsh' is not one of"),
        (["completion"], "missing argument '{bash|zsh|fish}'. Choose from: bash, zsh, fish"),
    ],
)
def test_wrong_usage_is_exit_2_in_the_same_form(shell, arguments, message):
    ran = shell.run(*arguments)

    assert ran.code == 2
    assert ran.err.startswith("error: ")
    assert message in ran.err
    assert "\nhint: " in ran.err
    assert len(ran.err.splitlines()) == 2
    as_json = shell.run(*arguments, "--json").json["error"]
    assert as_json["code"] == 2
    assert message in as_json["message"]


def test_a_misspelt_command_names_the_nearest(shell):
    assert "hint: Did you mean backup? " in shell.run("bakup").err


def test_a_command_without_arguments_shows_help(shell):
    ran = shell.run()

    assert ran.code == 2
    assert "Usage: litekeep" in ran.err


def test_a_bug_shows_its_traceback_and_exit_70(monkeypatch, capsys, tmp_path):
    def broken(*_: Any) -> None:
        raise RuntimeError("this cannot be")

    monkeypatch.setattr("litekeep.cli.list.read_points", broken)
    monkeypatch.chdir(tmp_path)
    make_database(tmp_path / "a.db")

    assert run(["list", "a.db"]) == 70
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert "error: this is a bug: RuntimeError: this cannot be" in shown
    assert run(["list", "a.db", "--json"]) == 70
    assert json.loads(capsys.readouterr().out)["error"]["code"] == 70


@pytest.mark.parametrize(
    ("number", "code", "line"),
    [(signal.SIGINT, 130, b"interrupted; "), (signal.SIGTERM, 143, b"terminated; ")],
)
def test_a_signal_ends_a_command_with_one_line(shell, number, code, line):
    """The reader of the dump stops reading, so the command is surely at work."""
    make_database(shell.folder / "app.db", rows=100_000)
    with shell.start("dump", "app.db", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        process.send_signal(number)
        assert line in process.stderr.read().strip().splitlines()[0]
        assert process.wait(10) == code


@pytest.mark.parametrize(
    ("number", "code", "kind"),
    [(signal.SIGINT, 130, "Interrupted"), (signal.SIGTERM, 143, "Terminated")],
)
def test_a_signal_is_json_where_json_is_wanted(monkeypatch, capsys, tmp_path, number, code, kind):
    def interrupted(*_: Any) -> None:
        os.kill(os.getpid(), number)

    monkeypatch.setattr("litekeep.cli.list.read_points", interrupted)
    monkeypatch.chdir(tmp_path)
    make_database(tmp_path / "a.db")

    assert run(["list", "a.db", "--json"]) == code
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["code"], error["kind"]) == (code, kind)


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_a_signal_that_comes_while_modules_load_leaves_no_traceback(shell, number, code, word):
    script = (
        "import os, sys, litekeep.__main__\n"
        "class Finder:\n"
        "    def find_spec(self, name, *others):\n"
        f"        name == 'litekeep.cli.main' and os.kill(os.getpid(), {int(number)})\n"
        "sys.meta_path.insert(0, Finder())\n"
        "litekeep.__main__.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "list", "--json"],
        env=shell.environ,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (code, f"{word}\n")
    assert json.loads(done.stdout)["error"]["code"] == code


def test_a_reader_that_goes_away_is_no_error(shell, app):
    shell.run("backup", app)
    for arguments in (["list", app], ["backup", app], ["verify", app]):
        read_end, write_end = os.pipe()
        os.close(read_end)
        try:
            with shell.start(*arguments, stdout=write_end, stderr=subprocess.PIPE) as process:
                _, err = process.communicate(timeout=30)
        finally:
            os.close(write_end)
        assert err == b""
        assert process.returncode == 0, arguments
    assert len(shell.run("list", app, "--json").json["restore_points"]) == 2


def test_common_options_stand_before_or_after_the_command(shell, app):
    (shell.folder / "mine.toml").write_text('[[database]]\npath = "app.db"\nname = "mine"')

    for arguments in (
        ["--config", "mine.toml", "--json", "backup"],
        ["backup", "--config", "mine.toml", "--json"],
    ):
        assert shell.run(*arguments).json["name"].startswith("mine_")


def test_control_characters_of_others_do_not_reach_the_terminal(shell):
    ran = shell.run("backup", "evil\x1b[2J\n.db")

    assert "\x1b" not in ran.err
    assert "\\x1b[2J" in ran.err


def test_text_that_the_terminal_cannot_show_is_escaped(shell):
    make_database(shell.folder / "ünï☃.db")

    ran = shell.run("backup", "ünï☃.db", PYTHONIOENCODING="ascii")

    assert ran.code == 0
    assert "\\u2603" in ran.out


@pytest.mark.parametrize("name_of_shell", ["bash", "zsh", "fish"])
def test_completion_scripts_name_our_command(shell, name_of_shell):
    ran = shell.run("completion", name_of_shell)

    assert ran.code == 0
    assert "_LITEKEEP_COMPLETE" in ran.out


def test_completion_knows_commands_and_options(shell):
    def completed(words: str, index: int) -> str:
        ran: Ran = shell.run(
            _LITEKEEP_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(index)
        )
        return ran.out

    assert completed("litekeep ba", 1) == "plain,backup\n"
    for words in (
        "backup ap",
        "backup --to ap",
        "list ap",
        "restore ap",
        "verify ap",
        "dump ap",
        "init --to ap",
    ):
        assert completed(f"litekeep {words}", len(words.split())) == "file,ap\n", words
    assert "plain,--no-check" in completed("litekeep backup --no", 2)


def test_the_bash_script_is_one_that_bash_reads(shell):
    script = shell.run("completion", "bash").out

    subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_printable_text_is_left_alone():
    assert output.printable("naïve ☃\n") == "naïve ☃\n"
