"""``streamrouter completion``: what a shell needs to complete our commands."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_PROGRAM = "streamrouter"
_VARIABLE = "_STREAMROUTER_COMPLETE"  # what click looks for when the shell asks


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion of SHELL; put it where the shell reads it.

    \b
    bash   streamrouter completion bash > ~/.local/share/bash-completion/completions/streamrouter
    zsh    streamrouter completion zsh > "${fpath[1]}/_streamrouter"
    fish   streamrouter completion fish > ~/.config/fish/completions/streamrouter.fish
    """
    found = get_completion_class(shell)
    assert found is not None
    script = found(click.Command(_PROGRAM), {}, _PROGRAM, _VARIABLE)
    click.echo(script.source_template % script.source_vars())  # source() of bash would start a bash to ask its version
