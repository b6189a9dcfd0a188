"""`pipeguard auth`: logs in to remote servers, and out again."""

from __future__ import annotations

import asyncio
import os
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from pipeguard.auth.place import Place
from pipeguard.auth.server import canonical, login_command
from pipeguard.auth.store import LoginStore, StoredLogin
from pipeguard.cli._emit import choice, emit, flag, json_option, value_option
from pipeguard.cli._groups import group
from pipeguard.errors import AuthError, InputError
from pipeguard.installation import require_extra
from pipeguard.state.timestamps import second_text
from pipeguard.unicode.display import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeguard.auth.callback import Callback

TIMEOUT_SECONDS = 300.0
STDIN = 0


@group("auth", "Log in to remote servers (OAuth), and out again.")
def command() -> None:
    """Log in to remote servers (OAuth), and out again.

    `pipeguard wrap --upstream` then sends the token to that server and to no other, and renews it.
    Tokens are stored in the system's keyring. No command shows one.

    \b
    Examples:
      pipeguard auth login https://mcp.example.com/mcp
      pipeguard auth status
    """  # noqa: D301  click reads the mark


@command.command("login")
@click.argument("server", metavar="URL|NAME")
@value_option("--name", "NAME", "A name for the server; by default its host.", default="")
@click.option("--scope", default="", help="Ask for exactly this, as 'read write'.")
@click.option("--client-id", default="", help="A client that you registered by hand.")
@value_option("--client-secret-env", "VAR", "The variable of its secret.", "variable", default="")
@value_option("--client-metadata-url", "URL", "A client id document.", "document", default="")
@value_option("--redirect-uri", "URI", "As http://127.0.0.1:8765/callback.", default="")
@click.option("--browser/--no-browser", default=True, help="Only print the address to open.")
@click.option(
    "--timeout",
    "timeout_seconds",
    type=click.FloatRange(1),
    default=TIMEOUT_SECONDS,
    show_default=True,
    help="Seconds to wait for you.",
)
@choice(
    "--store",
    [place.value for place in Place],
    "Where to store tokens: keyring, or a file of mode 0600.  [default: as the last time]",
)
@value_option("--ca", "FILE", "Authorities to trust instead of the system's.", default="")
@value_option("--token-host", "HOST", "Send the code to a token endpoint at this host.", default="")
@flag("--legacy", "Accept a server of 2025-03-26 without metadata.")
def login(
    server: str, *, store: str | None, ca: str, variable: str, browser: bool, **options: Any
) -> None:
    """Log in to a server, as in `pipeguard auth login https://mcp.example.com/mcp`.

    Your browser opens the authorization server's page, and returns to a port of this machine. If
    there is no browser here, open the address on any machine, and paste the address of the page
    that cannot be shown at the end.

    If a server has asked for more than was granted, this asks for both.

    \b
    Examples:
      pipeguard auth login https://mcp.example.com/mcp
      pipeguard auth login https://mcp.example.com/mcp --no-browser --store file
      pipeguard auth login https://mcp.example.com/mcp --client-id abc --client-secret-env SECRET
    """  # noqa: D301  click reads the mark
    require_extra("oauth", "logins", AuthError)
    logins = LoginStore()
    last = _find_login(logins, server)
    place = Place(store) if store else last.place if last else Place.KEYRING
    secret = _secret(variable, options["client_id"])
    # A second to import, so only once the options are right.
    from pipeguard.auth.login import LoginRequest, run_login

    request = LoginRequest(
        last.server if last else canonical(server),
        place=place,
        client_secret=secret,
        ca=os.path.abspath(ca) if ca else last.ca if last else "",
        **options,
    )
    granted = asyncio.run(run_login(logins, request, partial(_show, opens=browser)))
    where = "the system's keyring" if granted.place is Place.KEYRING else "a file of mode 0600"
    click.echo(f"Logged in to {granted.server} as {visible(granted.name)!r}.")
    click.echo(f"  scope      {visible(granted.scope) or 'none named'}")
    click.echo(f"  token      {_state(granted, time.time())}")
    click.echo(f"  stored in  {where}")


@command.command("status")
@json_option
def status() -> None:
    """List the servers that you are logged in to, as in `pipeguard auth status`.

    Asks neither a server nor the keyring, so a token that was revoked elsewhere still looks good.
    """
    now = time.time()
    logins = LoginStore().logins()
    lines = partial(_lines, logins, now)
    none = "You are not logged in to any server."
    emit([_fields(login, now) for login in logins], lines, empty=none)


def _lines(logins: list[StoredLogin], now: float, _fields: object) -> Iterator[str]:
    for login in logins:
        yield f"{visible(login.name)}  {login.server}  {_state(login, now)}"
        if login.wanted:
            yield f"  asks for more: {visible(login.wanted)}"
            yield f"  Grant it:  {login_command(login.server)}"


@command.command("logout")
@click.argument("server", metavar="URL|NAME")
def logout(server: str) -> None:
    """Revoke and forget a server's tokens, as in `pipeguard auth logout example`.

    They are revoked if the authorization server supports it, and forgotten here in any case.

    \b
    Exit codes:
      0  forgotten, and revoked if the authorization server supports it
      5  forgotten, but the authorization server did not revoke them
    """  # noqa: D301  click reads the mark
    store = LoginStore()
    login = _find_login(store, server)
    if login is None:
        raise InputError(
            f"you are not logged in to {server!r}.\n  List your logins:  pipeguard auth status"
        )
    require_extra("oauth", "logouts", AuthError)
    from pipeguard.auth.tokens import log_out

    revocation = asyncio.run(log_out(store, login.server))
    click.echo(f"Logged out of {login.server}: its tokens are forgotten here.")
    if revocation.why_not:
        if revocation.failed:
            raise AuthError(revocation.why_not)
        click.echo(revocation.why_not, err=True)


def _find_login(store: LoginStore, server: str) -> StoredLogin | None:
    """Find the login with this URL or name; None if the URL has none.

    Raises:
        InputError: neither a URL nor the name of a login, or the name of several.
    """
    logins = store.logins()
    if "://" in server:
        uri = canonical(server)
        return next((login for login in logins if login.server == uri), None)
    matching = [login for login in logins if login.name == server]
    if len(matching) > 1:
        which = "\n".join(f"  {login.server}" for login in matching)
        raise InputError(f"several logins are named {server!r}; give the URL of one:\n{which}")
    if not matching:
        raise InputError(
            f"{server!r} is neither a URL nor the name of a login.\n"
            "  See all logins:  pipeguard auth status"
            "     Log in by URL:  pipeguard auth login https://mcp.example.com/mcp"
        )
    return matching[0]


def _secret(variable: str, client_id: str) -> str:
    if not variable:
        return ""
    if not client_id:
        raise InputError("--client-secret-env needs --client-id.")
    secret = os.environ.get(variable, "")
    if not secret:
        raise InputError(f"--client-secret-env: the variable {variable!r} is not set.")
    return secret


def _show(url: str, callback: Callback, *, opens: bool) -> None:
    from pipeguard.auth.callback import open_browser

    def tell(text: str) -> None:
        click.echo(text, err=True)

    if opens and open_browser(callback.start):  # not `url`: others can read a process's arguments
        tell(f"Your browser opens. If it does not, open this:\n\n  {url}\n")
    else:
        tell(f"Open this in a browser:\n\n  {url}\n")
    tell("If the last page cannot be shown, paste its address here.")
    callback.read_pasted(STDIN, tell)


def _fields(login: StoredLogin, now: float) -> dict[str, object]:
    return {
        "name": login.name,
        "server": login.server,
        "issuer": login.issuer,
        "registration": login.registration.value,
        "store": login.place.value,
        "scope": login.scope.split(),
        "wanted_scope": login.wanted.split(),
        "obtained_at": _format_moment(login.obtained_at),
        "expires_at": _format_moment(login.expires_at),
        "refreshes": login.has_refresh,
        "needs_login": login.has_ended(now) or bool(login.wanted),
    }


def _state(login: StoredLogin, now: float) -> str:
    if login.has_ended(now):
        ended = _format_moment(login.expires_at)
        return f"ended {ended}; log in again:  {login_command(login.server)}"
    renewed = "renewed automatically" if login.has_refresh else "not renewed"
    if login.expires_at is None:
        return "good until it is refused" if not login.has_refresh else f"good, {renewed}"
    if login.expires_at <= now:
        return "renewed when needed"
    return f"good until {_format_moment(login.expires_at)}, {renewed}"


def _format_moment(moment: float | None) -> str | None:
    return None if moment is None else second_text(moment)
