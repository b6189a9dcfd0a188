"""`pipeguard completion`: the script with which a shell completes commands and rules."""

import click

from pipeguard.terminal.shells import SHELLS

# zsh completes nothing until compinit has run, and a new user's settings do not run it.
_ZSH_READY = "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }\n"


@click.command("completion", short_help="Complete commands and rules in your shell.")
@click.argument("shell", type=click.Choice(SHELLS))
def command(shell: str) -> None:
    """Print the script with which SHELL completes `pipeguard`.

    SHELL is bash (4.4 or later), zsh, fish or powershell (5.1 or later).

    It completes commands and options, rules, clients and files.

    \b
    Examples; run once what is for your shell:
      echo 'eval "$(pipeguard completion bash)"' >> ~/.bashrc
      echo 'eval "$(pipeguard completion zsh)"' >> ~/.zshrc
      mkdir -p ~/.config/fish/completions
      pipeguard completion fish > ~/.config/fish/completions/pipeguard.fish
      Add-Content $PROFILE 'pipeguard completion powershell | Out-String | Invoke-Expression'
    """  # noqa: D301  click reads the mark
    from click.shell_completion import ShellComplete, get_completion_class

    from pipeguard.cli import cli

    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101  click has all four since 8.5
    # Not the class's own `source`, which starts bash to ask for its version.
    script = ShellComplete.source(kind(cli, {}, "pipeguard", "_PIPEGUARD_COMPLETE"))
    if shell == "zsh":
        mark, _, rest = script.partition("\n")  # `#compdef`, which must be the first line
        script = f"{mark}\n{_ZSH_READY}{rest}"
    click.echo(script, nl=False)
