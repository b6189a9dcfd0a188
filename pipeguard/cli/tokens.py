"""`pipeguard tokens`: manages who may use the gateway, and which parts of it."""

import re
from datetime import UTC, datetime, timedelta
from functools import partial

import click

from pipeguard.auth.identity_key import is_subject
from pipeguard.cli import _groups, _sources
from pipeguard.cli._emit import Fields, choice, emit, flag, json_option, value_option, wants_json
from pipeguard.errors import InputError
from pipeguard.launch.person import Person, find_account
from pipeguard.state.store import open_store
from pipeguard.state.timestamps import now_text
from pipeguard.state.tokens import (
    DECIDE,
    EFFECTS,
    TokenScope,
    check_known,
    check_name,
    create_token,
    reset_tokens,
    revoke_subject,
    revoke_token,
    rotate_token,
    stored_tokens,
)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,49}")
_SPAN = re.compile(r"([0-9]{1,5})([hdw])")
_HOURS = {"h": 1, "d": 24, "w": 168}


@_groups.group("tokens", "Make and revoke tokens for clients of the gateway.")
def command() -> None:
    """Make and revoke bearer tokens for clients of `pipeguard serve`.

    From the first one on, every client over HTTP needs one, also once all are revoked (`reset` ends
    that). A token says which servers and tools its
    client may use, and what they may do; what it may not use, it cannot find. The store has the
    hash of a token, and changes take effect at once.

    \b
    Examples:
      pipeguard tokens create laptop
      pipeguard tokens create ci --server github --effect read --expires 30d
      pipeguard tokens revoke laptop
    """  # noqa: D301  click reads the mark


@command.command("create")
@click.argument("name")
@value_option("--server", "GLOB", "Only these servers.", "servers", multiple=True)
@value_option(
    "--tool",
    "GLOB",
    "Only these tools, as agents call them (github__get_*), or as SERVER/TOOL, and no prompts"
    " or resources.",
    "tools",
    multiple=True,
)
@choice(
    "--effect", EFFECTS, "The most that a tool may do (default: destructive).", default=EFFECTS[-1]
)
@value_option(
    "--expires", "SPAN", "Let it expire after this time: 12h, 30d or 8w (default: never)."
)
@click.option(
    "--per-minute",
    type=click.IntRange(1, 100_000),
    help="Allow at most this many calls per minute.",
)
@flag("--manage", "It may propose servers, if the gateway's file allows that.")
@flag("--decide", "It gets links to the page of the gateway (POST /ui/link), and calls nothing.")
@json_option
def create(  # noqa: PLR0913  one for each option
    name: str,
    servers: tuple[str, ...],
    tools: tuple[str, ...],
    *,
    effect: str,
    expires: str | None,
    per_minute: int | None,
    manage: bool,
    decide: bool,
) -> None:
    """Make a token, and print it: it is stored nowhere.

    A person decides: it asks on a terminal, or takes a token (`pipeguard policy ci-token`). With
    --decide it asks on a terminal only.

    \b
    Examples:
      pipeguard tokens create laptop
      pipeguard tokens create ci --server github --effect read --expires 30d --per-minute 60
      pipeguard tokens create browser --decide --expires 12h
    """  # noqa: D301  click reads the mark
    if decide and (servers or tools or effect != EFFECTS[-1] or per_minute or manage):
        raise click.UsageError("--decide: such a token calls nothing; only --expires limits it.")
    if not NAME.fullmatch(name):
        raise InputError("a token's name has at most 50 letters, digits, `.`, `_` and `-`.")
    ends = None if expires is None else datetime.now(UTC) + parse_span(expires)
    limit = DECIDE if decide else effect
    scope = TokenScope(servers or ("*",), tools or ("*",), limit, per_minute or 0, manage)
    with open_store() as store:
        check_name(store, name)
    person = _find_decider(is_for_page=decide)
    person.must_confirm(f"create the token {name}{', which opens the page' if decide else ''}")
    with open_store() as store:
        token = create_token(store, name, scope, ends, person.name)
    _print_token(name, token, is_for_page=decide)


@command.command("rotate")
@click.argument("name")
@json_option
def rotate(name: str) -> None:
    """Exchange a token for a new one with the same scope; the old one ends at once.

    A person decides, as for `create`.

    \b
    Examples:
      pipeguard tokens rotate laptop
    """  # noqa: D301  click reads the mark
    with open_store() as store:
        check_known(store, name)
        is_for_page = any(each.name == name and each.scope.decides for each in stored_tokens(store))
    person = _find_decider(is_for_page=is_for_page)
    person.must_confirm(f"exchange the token {name}")
    with open_store() as store:
        token = rotate_token(store, name, person.name)
    _print_token(name, token, is_for_page=is_for_page)


@command.command("revoke")
@click.argument("name", required=False)
@value_option("--subject", "SUB", "End the sign-ins of this subject (`sub`) instead.", "sub")
def revoke(name: str | None, sub: str | None) -> None:
    """End a token: its client is refused from the next request on, and its streams end.

    With --subject, each sign-in (`identity` in pipeguard.yaml) that the issuer gave this subject
    until now ends in the same way; a later one is accepted. Remove the subject at the issuer first.

    \b
    Examples:
      pipeguard tokens revoke laptop
      pipeguard tokens revoke --subject 248289761001
    """  # noqa: D301  click reads the mark
    if (name is None) == (sub is None):
        raise click.UsageError("give either NAME or --subject SUB.")
    if sub is not None and not is_subject(sub):
        raise InputError("a subject has 1 to 255 printable ASCII characters.")
    with open_store() as store:
        if sub is not None:
            revoke_subject(store, sub, find_account())
        else:
            revoke_token(store, name or "", find_account())
    click.echo(f"Revoked {name or f'the sign-ins of {sub}'}.")


@command.command("reset")
def reset() -> None:
    """End all tokens, and let every client on this machine in without one again.

    A person decides, as for `create`. A gateway that runs follows when it is started again.

    \b
    Examples:
      pipeguard tokens reset
    """  # noqa: D301  click reads the mark
    person = Person.here()
    person.must_confirm("let clients in without a token")
    with open_store() as store:
        reset_tokens(store, person.name)
    click.echo("All tokens ended. Restart the gateway: clients on this machine then need none.")


@command.command("list")
@json_option
def list_() -> None:
    """List the tokens and their scopes, not the tokens themselves.

    \b
    Examples:
      pipeguard tokens list
    """  # noqa: D301  click reads the mark
    now = now_text()
    with open_store() as store:
        fields: list[Fields] = [
            {
                "name": token.name,
                **token.scope._asdict(),
                "per_minute": token.scope.per_minute or None,
                "created": token.created,
                "expires": token.expires or None,
                "is_expired": token.is_expired(now),
            }
            for token in stored_tokens(store)
        ]
    none = "There is no token. Make one:  pipeguard tokens create NAME"
    emit(fields, partial(map, _line), empty=none)


def _line(token: Fields) -> str:
    scope = TokenScope((), (), token["effect"], token["per_minute"] or 0, token["manages"])
    names = [f"servers {', '.join(token['servers'])}", f"tools {', '.join(token['tools'])}"]
    limits = [*([] if scope.decides else names), *scope.describe_limits()]
    limits.append(f"made {token['created'][:10]}")
    if token["expires"]:
        limits.append(f"{'ended' if token['is_expired'] else 'ends'} {token['expires'][:16]}Z")
    return f"{token['name']}: {'; '.join(limits)}"


def _find_decider(*, is_for_page: bool) -> Person:
    """Return the person; a job with the CI token cannot open the page by making a token."""
    return Person.at_terminal() if is_for_page else Person.here()


def parse_span(text: str) -> timedelta:
    """Read a time in hours, days or weeks, as 12h, 30d or 8w.

    Raises:
        InputError: it is none.
    """
    match = _SPAN.fullmatch(text)
    if match is None or int(match[1]) == 0:
        raise InputError(f"--expires {text}: give hours, days or weeks, as 12h, 30d or 8w.")
    return timedelta(hours=int(match[1]) * _HOURS[match[2]])


def _print_token(name: str, token: str, *, is_for_page: bool) -> None:
    emit({"name": name, "token": token}, lambda fields: str(fields["token"]))
    if wants_json():
        return
    is_tls = any(url.startswith("https:") for url, _ in _sources.running_gateways())
    address = f"{'https' if is_tls else 'http'}://HOST:PORT"
    click.echo("It is shown once.", err=True)
    if is_for_page:
        link = f"curl -X POST -H 'Authorization: Bearer TOKEN' {address}/ui/link"
        click.echo(f"  It gets a link to the page:  {link}", err=True)
        return
    click.echo(f"  A client sends it as:  Authorization: Bearer {token[:6]}…", err=True)
    # The gateway has had each definition approved: it need not wait once more.
    through = f"pipeguard wrap --trust first-use --bearer-env VARIABLE --upstream {address}/mcp"
    click.echo(f"  A client that starts commands:  {through}", err=True)
