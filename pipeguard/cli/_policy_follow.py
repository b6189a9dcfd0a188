"""`pipeguard policy follow`: enrols this machine, fetches, watches, describes and leaves."""

import json
import random
import signal
import sys
import time
from collections.abc import Iterator

import click

from pipeguard.cli._emit import Fields, emit, flag, json_option, value_option
from pipeguard.config.bundle import read_key_file
from pipeguard.config.enrolment import Enrolment, find_enrolment
from pipeguard.config.following import describe_following, enrol, leave, refresh
from pipeguard.errors import InputError, PipeGuardError
from pipeguard.launch.person import Person
from pipeguard.log import say
from pipeguard.state.timestamps import second_text
from pipeguard.unicode.display import visible, visible_lines

_PAUSE_SECONDS = (45.0, 75.0)  # at random, so that an organisation's machines do not ask together
_TIMES = ("iat", "exp", "expires", "fetched")
_NEXT = "\n" + " " * 13
_NONE = "this machine follows no organisation's policy."


@click.command("follow", short_help="Follow an organisation's policy, or leave it.")
@click.argument("url", required=False)
@value_option("--key", "PUB", "The organisation's public key, a JWK.", default="")
@flag("--once", "Fetch the bundle now.")
@flag("--watch", "Fetch it each minute, until SIGTERM or SIGINT.")
@flag("--status", "Verify what is in force, and describe it.")
@flag("--stop", "Leave; a person decides, as to enrol.")
@json_option
def follow(url: str | None, *, key: str, **modes: bool) -> None:
    """Follow the policy that an organisation signs, at URL, or leave it.

    Fetches the bundle, verifies it with PUB, and asks a person on a terminal, or takes a token
    (`pipeguard policy ci-token`). An administrator enrols a machine for all its users by the file
    follow.yaml, with `url` and `key`, in the system's folder; then nobody else can leave or fetch.
    A bundle that is refused changes nothing: the last good one stays in force.

    \b
    Examples:
      pipeguard policy follow https://policy.example.com/laptops.jws --key policy.pub
      pipeguard policy follow --status

    \b
    Exit codes:
      0  done; for --status, a valid bundle is in force
      1  unreachable or refused, with the reason, or declined; for --status, none is in force
      2  wrong usage, no person, or an administrator decides
    """  # noqa: D301  click reads the mark
    chosen = [name for name, is_chosen in modes.items() if is_chosen]
    if len(chosen) + bool(url) != 1 or bool(url) != bool(key):
        raise click.UsageError("give URL with --key, or one of --once, --watch, --status, --stop.")
    if url:
        _enrol(url, key)
    elif "status" in chosen:
        _show_status()
    elif "watch" in chosen:
        _watch()
    elif "stop" in chosen:
        _leave()
    else:
        click.echo(_fetch())


def _find_own() -> Enrolment | None:
    """Find the enrolment here.

    Raises:
        InputError: it is an administrator's.
    """
    enrolment = find_enrolment()
    if enrolment and enrolment.is_managed:
        raise InputError(f"an administrator enrolled this machine: {enrolment.path} decides.")
    return enrolment


def _enrol(url: str, key: str) -> None:
    _find_own()
    person = Person.here()
    text = json.dumps({"url": url, "key": read_key_file(key)}, indent=2)
    enrol(text, lambda version: person.must_confirm(f"follow {visible(url)}, version {version}"))
    click.echo("This machine follows it. Keep it current:  pipeguard policy follow --watch")


def _leave() -> None:
    if enrolment := _find_own():
        Person.here().must_confirm("leave the organisation's policy")
        leave(enrolment)
    click.echo(_NONE)


def _fetch() -> str:
    enrolment = find_enrolment()
    if enrolment is None:
        raise PipeGuardError(_NONE)
    return f"version {refresh(enrolment)} of the organisation's policy is in force."


def _watch() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: sys.exit())  # each file is written at once
    last = ""
    while True:
        try:
            line = _fetch()
        except PipeGuardError as error:
            line = str(error)
        if line != last:
            say(line)
        last = line
        time.sleep(random.uniform(*_PAUSE_SECONDS))  # noqa: S311  no secret


def _show_status() -> None:
    following = describe_following()
    if following is None:
        raise PipeGuardError(_NONE)
    emit(following._asdict(), list_fields, code=int(not following.is_valid))


def list_fields(fields: Fields) -> Iterator[str]:
    """List the fields that have a value, a line for each part, with times for people."""
    for name, value in fields.items():
        shown = second_text(value) if value and name in _TIMES else value
        if shown:
            parts = map(str, shown) if isinstance(shown, list) else str(shown).splitlines()
            yield f"{name.replace('_', ' '):<12} {visible_lines(_NEXT.join(parts))}"
