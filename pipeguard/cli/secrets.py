"""`pipeguard secrets`: stores values for servers in the system's keyring, not in their files."""

import sys
from collections.abc import Iterator
from functools import partial

import click

from pipeguard.auth import ring, secrets
from pipeguard.auth.place import Place
from pipeguard.cli._emit import Fields, choice, emit, json_option
from pipeguard.cli._groups import group
from pipeguard.errors import InputError
from pipeguard.state.timestamps import second_text
from pipeguard.unicode.display import visible

_PLACES = {
    Place.KEYRING: "the system's keyring",
    Place.FILE: "a file of mode 0600, which is not encrypted: whoever reads your files can read it",
}
_STDIN_BYTES = 2**20  # more than any secret; longer input is refused


@group("secrets", "Store secrets for servers in the system's keyring.")
def command() -> None:
    """Store secrets for servers in the system's keyring.

    In a guarded entry, write `keyring:NAME` in place of the value: in its env, its arguments, or
    the variable of a header. The server gets the value when it starts; no file, log or audit has
    it.

    \b
    Examples:
      pipeguard secrets set GITHUB_TOKEN
      pipeguard secrets list
    """  # noqa: D301  click reads the mark


@command.command("set")
@click.argument("name")
@choice(
    "--store",
    [place.value for place in Place],
    "Where to store it: the keyring at first, later where it was. A file is not encrypted, and"
    " only you can read it.",
    "place",
)
def set_(name: str, place: str | None) -> None:
    """Store a secret, as in `pipeguard secrets set GITHUB_TOKEN`.

    The value is asked for and not shown, or read from standard input, without one line end at the
    end. It cannot be an argument, because every program on the machine could read that.

    \b
    Examples:
      pipeguard secrets set GITHUB_TOKEN
      pipeguard secrets set DEPLOY_KEY < key.pem
      pipeguard secrets set GITHUB_TOKEN --store file
    """  # noqa: D301  click reads the mark
    if not secrets.NAME.fullmatch(name):  # raises before a person types the value
        secrets.read_value(name)
    before = secrets.find_place(name)
    to = Place(place) if place else before or Place.KEYRING
    if to is Place.KEYRING:
        ring.must_work()  # the same
    is_alone = secrets.store(name, _read_value(name), to)
    click.echo(f"{'Replaced' if before else 'Stored'} {name} in {_PLACES[to]}.")
    if not is_alone:
        click.echo("The keyring does not answer, so the earlier value stays in it.", err=True)


@command.command("get")
@click.argument("name")
def get(name: str) -> None:
    """Show a secret on a terminal, as in `pipeguard secrets get GITHUB_TOKEN`.

    Anywhere else it is refused: what goes into a pipe ends up in logs and files.
    """
    if not sys.stdout.isatty():
        raise InputError(
            "a secret is shown only on a terminal.\n"
            f"  Where a server needs it, write:  keyring:{name}"
        )
    click.echo(secrets.read_value(name))


@command.command("list")
@json_option
def list_() -> None:
    """List the names of stored secrets and what uses them, as in `pipeguard secrets list`.

    Your clients' files and the gateway's tell what uses one. No value is read. A secret that
    was removed from the keyring by other means is still listed.
    """
    from pipeguard.assess.checks.secrets import find_uses
    from pipeguard.assess.target import read_configs
    from pipeguard.clients.catalog import clients
    from pipeguard.clients.machine import Machine

    uses = find_uses(read_configs(Machine.in_current_folder()))
    fields: list[Fields] = [
        {
            "name": secret.name,
            "reference": f"keyring:{secret.name}",
            "place": secret.place.value,
            "kept_at": second_text(secret.kept_at),
            "used_by": [
                use._asdict() | {"file": str(use.file)} for use in uses.get(secret.name, ())
            ],
        }
        for secret in secrets.stored_secrets()
    ]
    names = {key: client.name for key, client in clients().items()}
    none = "No secret is stored. Store one:  pipeguard secrets set NAME"
    emit(fields, partial(_lines, names), empty=none)


def _lines(clients: dict[str, str], fields: list[Fields]) -> Iterator[str]:
    width = max((len(secret["name"]) for secret in fields), default=0)
    for secret in fields:
        yield f"{secret['name']:{width}}  {secret['place']:7}  stored {secret['kept_at']}"
        for use in secret["used_by"]:
            place = use["place"][0].lower() + use["place"][1:]
            client = clients.get(use["client"], use["client"])
            yield f"  {visible(use['server'])} ({client}): {visible(place)}"


@command.command("delete")
@click.argument("name")
def delete(name: str) -> None:
    """Forget a secret, as in `pipeguard secrets delete GITHUB_TOKEN`.

    A server whose entry refers to it no longer starts, and says which secret is missing.
    """
    secrets.drop(name)
    click.echo(f"Forgot {name}.")


def _read_value(name: str) -> str:
    if sys.stdin.isatty():
        value: str = click.prompt(f"Value of {name}, not shown", hide_input=True, err=True)
        return value
    content = sys.stdin.buffer.read(_STDIN_BYTES + 1)
    if len(content) > _STDIN_BYTES:
        raise InputError(f"{name}: standard input is too long for a secret.")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{name}: standard input is not text in UTF-8.") from None
    return text.removesuffix("\n").removesuffix("\r")
