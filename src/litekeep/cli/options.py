"""
The options that every command has, before or after its name.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


@dataclass(frozen=True, slots=True)
class Options:
    """The common options."""

    config: Path | None
    is_json: bool
    is_quiet: bool
    is_verbose: bool


def common_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the common options, as one argument `options`."""

    @click.option(
        "--config",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Configuration file in place of those that are looked for.",
    )
    @click.option("--json", "is_json", is_flag=True, help="One JSON object as output.")
    @click.option(
        "--quiet", "-q", "is_quiet", is_flag=True, help="No output but errors and warnings."
    )
    @click.option("--verbose", "-v", "is_verbose", is_flag=True, help="Tell more.")
    @functools.wraps(function)
    def with_options(
        *args: Any,
        config: Path | None,
        is_json: bool,
        is_quiet: bool,
        is_verbose: bool,
        **others: Any,
    ) -> Any:
        before = click.get_current_context().find_object(Options)
        options = Options(config, is_json, is_quiet, is_verbose)
        if before is not None:
            options = Options(
                config or before.config,
                is_json or before.is_json,
                is_quiet or before.is_quiet,
                is_verbose or before.is_verbose,
            )
        return function(*args, options=options, **others)

    return with_options


def complete_files(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Let the shell complete files and folders: what else a SOURCE may be, it cannot know."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


def source_argument(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `SOURCE`."""
    return click.argument("source", required=False, shell_complete=complete_files)(function)


def dry_run_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--dry-run`, as the argument `is_dry_run`."""
    return click.option(
        "--dry-run", "is_dry_run", is_flag=True, help="Say what would be done, and stop."
    )(function)


def database_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--database`."""
    return click.option(
        "--database", metavar="NAME", help="Which database, where a store holds several."
    )(function)


def at_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--at`."""
    return click.option(
        "--at",
        metavar="WHEN",
        help='latest (the default), a time ("2025-09-08 12:00", "2h ago", "yesterday 18:00"; '
        "the newest restore point at or before it), or a snapshot's name.",
    )(function)


#: Of those who write a configuration.
configuration_option = click.option(
    "--output",
    "-o",
    "target",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("litekeep.toml"),
    show_default=True,
    metavar="PATH",
    help="The file to write.",
)
