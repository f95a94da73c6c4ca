"""
`litekeep completion`: the script that completes commands and options in a shell.
"""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from litekeep.cli import output
from litekeep.cli.options import Options, common_options


@click.command(short_help="Print the completion script for a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@common_options
@click.pass_context
def command(context: click.Context, shell: str, options: Options) -> None:
    """
    Print the completion script for a shell.

    \b
    bash:  litekeep completion bash > ~/.local/share/bash-completion/completions/litekeep
    zsh:   litekeep completion zsh > a file _litekeep in a folder of $fpath
    fish:  litekeep completion fish > ~/.config/fish/completions/litekeep.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None, "click knows the shells that we let pass"
    script = kind(context.find_root().command, {}, "litekeep", "_LITEKEEP_COMPLETE").source()
    output.text(script)
