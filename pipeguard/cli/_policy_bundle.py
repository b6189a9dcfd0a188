"""`pipeguard policy bundle`: signs an organisation's policy, makes keys, and shows a bundle."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import date
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Any

import click

from pipeguard.cli._emit import choice, emit, json_option, value_option
from pipeguard.cli._policy_follow import list_fields
from pipeguard.cli.tokens import parse_span
from pipeguard.config.atomic_write import OWNER_ONLY, replace_file
from pipeguard.config.bundle import read_key_file, read_token, sign_bundle, write_key
from pipeguard.config.directories import read
from pipeguard.config.enrolment import MAX_BUNDLE_BYTES
from pipeguard.config.organisation import read_part
from pipeguard.config.policy_file import PolicyScope, parse_policy, policy_text
from pipeguard.errors import InputError
from pipeguard.installation import require_extra
from pipeguard.rulebook.policy_rules import check_actions
from pipeguard.state.store import open_store

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_READABLE = 0o644  # by the web server


@click.command("bundle", short_help="Sign a policy for an organisation's machines.")
@click.argument("file", required=False)
@value_option("--key", "KEY", "The private key that signs.", default="")
@click.option("--version", type=click.IntRange(1), help="A number that only rises.")
@value_option("--expires", "SPAN", "When it ends: 12h, 30d or 8w (default: never).")
@choice("--after-expiry", ["keep", "block"], "block: no server runs then.", default="keep")
@value_option("--approved", "SERVER", "Approve what a person approved here.", multiple=True)
@value_option("--accept", "PUB", "Only these keys sign from then on.", multiple=True)
@value_option("--out", "OUT", "The file to write.", default="")
@value_option("--new-key", "KEY", "Make KEY, and KEY.pub.", default="")
@value_option("--show", "OUT", "Print what a bundle says.", default="")
@json_option
def bundle(file: str | None, *, new_key: str, show: str, out: str, **options: Any) -> None:
    """Sign the policy in FILE for the machines of an organisation, which follow it.

    Put OUT on a web server. Only what tightens may be in FILE. KEY stays with you, and KEY.pub goes
    to each machine. To replace a key, sign once with --accept and the new KEY.pub. With --show, no
    signature is verified.

    \b
    Examples:
      pipeguard policy bundle --new-key policy.key
      pipeguard policy bundle policy.yaml --key policy.key --version 7 --out laptops.jws
      pipeguard policy follow https://policy.example.com/laptops.jws --key policy.key.pub

    \b
    Exit codes:
      0  written, or shown
      2  wrong usage, or FILE is invalid or loosens something, which is named
    """  # noqa: D301  click reads the mark
    if sum(map(bool, (file, new_key, show))) != 1:
        raise click.UsageError("give one of FILE, --new-key and --show.")
    if file and not (options["key"] and options["version"] and out):
        raise click.UsageError("FILE needs --key, --version and --out.")
    if show:
        _show(show)
        return
    require_extra("fleet", "bundles", InputError)
    try:
        if file:
            replace_file(out, _sign(file, **options).encode(), _READABLE)
        else:
            _make_key(new_key)
    except OSError as error:
        raise InputError(f"{error.filename} cannot be written: {error.strerror}.") from None
    click.echo(f"Written to {out or f'{new_key} and {new_key}.pub'}.")


def _sign(
    file: str,
    *,
    key: str,
    version: int,
    expires: str | None,
    after_expiry: str,
    approved: Iterable[str],
    accept: Iterable[str],
) -> str:
    text = policy_text(file, PolicyScope.PROJECT)  # whoever may write it: the signer has read it
    parse_policy(text, file, PolicyScope.ORGANISATION, today=date.min, check=check_actions)
    private = _read_private(key)
    now = int(time())
    claims = {
        "version": version,
        "iat": now,
        "exp": now + int(parse_span(expires).total_seconds()) if expires else None,
        "policy": text,
        "approved": [*_list_approved(approved)],
        "keys": [read_key_file(path) for path in accept],
        "after_expiry": after_expiry,
    }
    return sign_bundle(claims, private)


def _list_approved(servers: Iterable[str]) -> Iterator[str]:
    """Yield what is launched, and the fingerprint, of each definition that a person approved."""
    with open_store() as store:
        for server in servers:
            launched = store.find_launch(server)
            pins = store.pins(server).values()
            found = [
                pin.approved_fingerprint
                for pin in pins
                if pin.is_reviewed and pin.approved_fingerprint
            ]
            if not (launched and found):
                raise InputError(f"no person has approved a definition of {server!r} here.")
            yield from (f"{launched} {fingerprint}" for fingerprint in found)


def _read_private(path: str) -> Ed25519PrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    private: object = None
    with suppress(ValueError, TypeError, UnsupportedAlgorithm):
        private = load_pem_private_key(read(path, MAX_BUNDLE_BYTES, InputError)[0], None)
    if not isinstance(private, Ed25519PrivateKey):
        raise InputError(f"{path} is not a private Ed25519 key in PEM without a password.")
    return private


def _make_key(path: str) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = json.dumps(write_key(private.public_key()), indent=2).encode()
    for name, content, mode in ((path, pem, OWNER_ONLY), (f"{path}.pub", public, _READABLE)):
        Path(name).touch(mode, exist_ok=False)
        Path(name).write_bytes(content)


def _show(path: str) -> None:
    token = read(path, MAX_BUNDLE_BYTES, InputError)[0].decode("ascii", "replace")
    read_token(token)
    emit({**read_part(token, 0), **read_part(token, 1)}, list_fields)
    click.echo("Its signature was not verified.", err=True)
