"""`pipeguard secrets`: values for servers, in the system's keyring instead of in files."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime

import click

from pipeguard.cli import _completing as completing
from pipeguard.errors import InputError

_STDIN_BYTES = 2**20  # more than any secret; what is longer is told so


@click.group("secrets", short_help="Keep secrets for servers in the system's keyring.")
def command() -> None:
    """Keep secrets for servers in the system's keyring.

    In a guarded entry write `keyring:NAME` where the value stood: in its env, or in the variable of
    a header. The server gets the value when it starts; no file, log or audit has it.

    \b
    Examples:
      pipeguard secrets set GITHUB_TOKEN
      pipeguard secrets list
    """  # noqa: D301  click reads the mark


@command.command("set")
@click.argument("name", shell_complete=completing.secrets)
def set_(name: str) -> None:
    """Keep a secret, as in `pipeguard secrets set GITHUB_TOKEN`.

    It is asked for and not shown; or give it on standard input, where one line end at its end is
    left out. It cannot be an argument: every program on the machine could read that.

    \b
    Examples:
      pipeguard secrets set GITHUB_TOKEN
      pipeguard secrets set DEPLOY_KEY < key.pem
    """  # noqa: D301  click reads the mark
    from pipeguard.auth import secrets

    if not secrets.NAME.fullmatch(name):  # before a person types what it is for
        secrets.value_of(name)
    was_known = secrets.is_known(name)
    secrets.keep(name, _given(name))
    click.echo(f"{'Replaced' if was_known else 'Kept'} {name} in the system's keyring.")
    click.echo(f'  In the env of an entry:  "VARIABLE": "keyring:{name}"')
    click.echo(f"  On a command line:       pipeguard wrap --env VARIABLE=keyring:{name} -- …")


@command.command("get")
@click.argument("name", shell_complete=completing.secrets)
def get(name: str) -> None:
    """Show a secret on a terminal, as in `pipeguard secrets get GITHUB_TOKEN`.

    Anywhere else it is refused: what goes into a pipe ends in logs and files.
    """
    from pipeguard.auth import secrets

    if not sys.stdout.isatty():
        raise InputError(
            "a secret is shown on a terminal alone.\n"
            f"  Where a server needs it, write:  keyring:{name}"
        )
    click.echo(secrets.value_of(name))


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def list_(*, as_json: bool) -> None:
    """List the names of secrets that were kept, as in `pipeguard secrets list`.

    No value is read. A secret that was removed from the keyring by other means is still listed.
    """
    from pipeguard.auth import secrets

    told = [
        {
            "name": one.name,
            "reference": f"keyring:{one.name}",
            "kept_at": datetime.fromtimestamp(one.kept_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        for one in secrets.known()
    ]
    if as_json:
        click.echo(json.dumps(told, indent=2))
        return
    if not told:
        click.echo("No secret is kept. Keep one:  pipeguard secrets set NAME", err=True)
    width = max((len(one["name"]) for one in told), default=0)
    for one in told:
        click.echo(f"{one['name']:{width}}  kept {one['kept_at']}")


@command.command("delete")
@click.argument("name", shell_complete=completing.secrets)
def delete(name: str) -> None:
    """Forget a secret, as in `pipeguard secrets delete GITHUB_TOKEN`.

    A server whose entry refers to it does not start any more, and says which secret is missing.
    """
    from pipeguard.auth import secrets

    secrets.drop(name)
    click.echo(f"Forgot {name}.")


def _given(name: str) -> str:
    if sys.stdin.isatty():
        value: str = click.prompt(f"Value of {name}, not shown", hide_input=True, err=True)
        return value
    content = sys.stdin.buffer.read(_STDIN_BYTES + 1)
    if len(content) > _STDIN_BYTES:
        raise InputError(f"{name}: what came on standard input is too much for a secret.")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{name}: what came on standard input is no text in UTF-8.") from None
    return text.removesuffix("\n").removesuffix("\r")
