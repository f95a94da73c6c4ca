"""
The command `litekeep`: its commands by name, its errors, its exit codes.

A command's module is imported when it is run and not before, so that help and
completion answer at once.  Each module `cli/<command>.py` holds a `command`, which
returns nothing, or an exit code.

    what comes out of a command     shown as                             exit code
    an error of ours                error: ... and hint: ...             the error's
    wrong usage                     the same                             2
    Ctrl-C, SIGTERM                 one line: see `signals.py`           130, 143
    anything else                   a traceback: it is a bug             70
"""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Sequence

import click

from litekeep.cli import output
from litekeep.cli.options import Options, common_options
from litekeep.cli.signals import Terminated, stopped_fields, tidied_up
from litekeep.errors import (
    EXIT_BUG,
    EXIT_INTERRUPTED,
    EXIT_TERMINATED,
    LitekeepError,
    UserError,
)
from litekeep.version import VERSION

#: In the order of the help; a test compares each line with the command's own.
COMMANDS = {
    "demo": "Show a backup, damage and a restore of a sample database.",
    "backup": "Make one snapshot now, in every configured store.",
    "stream": "Stream every commit to the stores, until stopped.",
    "list": "List restore points, newest first.",
    "restore": "Bring a database back to a restore point.",
    "verify": "Compare stored bytes with their manifests and checksums.",
    "status": "Show whether each database is safe.",
    "doctor": "Check databases, stores and the machine, with hints.",
    "drill": "Restore into scratch, check everything, record a proof.",
    "prune": "Remove the snapshots that retention lets go.",
    "hold": "Keep a restore point for ever.",
    "unhold": "Let a held restore point go.",
    "undelete": "Bring a pruned snapshot back.",
    "accept": "Say that a suspect snapshot is fine.",
    "dump": "Write a database as SQL text.",
    "notify": "Tell people, as a test, or that a unit of systemd failed.",
    "import": "Turn Litestream's configuration into ours.",
    "init": "Write a commented configuration.",
    "install": "Install the schedule, for systemd or cron.",
    "uninstall": "Remove the schedule.",
    "completion": "Print the completion script for a shell.",
}


class _Commands(click.Group):
    """Knows its commands by name, and imports only the one that is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"litekeep.cli.{cmd_name}")
        command = module.command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-") and not ctx.resilient_parsing:
            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            meant = f"Did you mean {near[0]}? " if near else ""
            raise UserError(f"no such command {args[0]!r}", hint=f"{meant}Try litekeep --help.")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    no_args_is_help=True,
    epilog="litekeep COMMAND --help tells more. Exit codes: 0 done, 2 wrong usage, and others "
    "that the documentation lists.",
)
@click.version_option(VERSION, "-V", "--version", message="%(prog)s %(version)s")
@common_options
@click.pass_context
def group(context: click.Context, options: Options) -> None:
    """Keep SQLite databases safe: snapshots that any gunzip opens, restored and proved."""
    context.obj = options


def main() -> None:
    """Run the command line of this process."""
    output.occupy_closed()
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """
    Run one command and return its exit code.

    Args:
        arguments: Without the program's name.
    """
    is_json = "--json" in arguments
    with tidied_up():
        code = _outcome(arguments, is_json=is_json)
    output.flush()
    return code


def _outcome(arguments: Sequence[str], *, is_json: bool) -> int:
    try:
        result = group.main(list(arguments), prog_name="litekeep", standalone_mode=False)
    except LitekeepError as error:
        output.show_error(error, is_json=is_json)
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        output.line(error.format_message(), is_error=True)
        return error.exit_code
    except click.ClickException as error:
        output.show_error(_usage_error(error), is_json=is_json)
        return UserError.exit_code
    except (KeyboardInterrupt, click.Abort) as error:
        if isinstance(error.__cause__ or error.__context__, EOFError):
            output.show_error(
                UserError("a question had no answer", hint="Answer it by an option; see --help."),
                is_json=is_json,
            )
            return UserError.exit_code
        return _stopped(EXIT_INTERRUPTED, is_json=is_json)
    except Terminated:
        return _stopped(EXIT_TERMINATED, is_json=is_json)
    except Exception as error:  # noqa: BLE001 (whatever it is, it is shown)
        unwritable = output.failure() if isinstance(error, OSError) else None
        if unwritable is not None:  # click wrote help to it
            output.show_error(unwritable, is_json=is_json)
            return unwritable.exit_code
        output.show_bug(error, is_json=is_json)
        return EXIT_BUG
    return result if isinstance(result, int) else 0


def _stopped(code: int, *, is_json: bool) -> int:
    if is_json:
        output.json_object({"error": stopped_fields(code)})
    return code


def _usage_error(error: click.ClickException) -> UserError:
    # Some of click's messages go on for lines, to list what could have been given.
    message = " ".join(error.format_message().split()).rstrip(".")
    message = message[:1].lower() + message[1:]
    context = error.ctx if isinstance(error, click.UsageError) else None
    path = context.command_path if context else "litekeep"
    return UserError(message, hint=f"Try {path} --help.")
