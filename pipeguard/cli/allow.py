"""`pipeguard allow`: a person declares a block a false alarm, as a narrow exception."""

import datetime
import sys
from collections.abc import Sequence
from functools import partial

import click

from pipeguard.cli._emit import choice, emit, flag, offer_json, value_option, wants_json
from pipeguard.cli._give import find_offer, give
from pipeguard.cli._grant_call import grant_call, result_note
from pipeguard.cli.explain import describe_unseen, list_evidence
from pipeguard.config.user_policy import own_policy_path
from pipeguard.launch.person import Person
from pipeguard.state.decisions import exception_entry, save_decision
from pipeguard.state.exceptions import (
    AuditedEvent,
    allow,
    call_mark,
    find_event,
    is_decided_by_call,
    narrowest,
    scopes,
)
from pipeguard.state.exemption import Breadth, Exemption, describe_opening, entries
from pipeguard.state.grants import MINUTES
from pipeguard.state.paths import store_path
from pipeguard.state.timestamps import today

ONE_CALL = "call"  # of `--by`: once, and no exception
_LASTING = {"until": "--until", "forever": "--forever", "path": "--policy"}  # of an exception
HIGHEST_PORT = 65_535
DAYS = 90  # long enough not to be a nuisance, short enough that it is reviewed


def _day(context: click.Context, option: click.Parameter, value: str | None) -> datetime.date:
    if value is None:
        return today() + datetime.timedelta(days=DAYS)
    try:
        day = datetime.date.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is not a day: write 2027-01-31.", context, option
        ) from None
    if day < today():
        raise click.BadParameter(f"{value} is in the past.", context, option)
    return day


_UNSAID = "(your reason)"  # the reason, before the person is asked for it


@click.command("allow", short_help="Allow a false alarm, or one call, as narrowly as possible.")
@click.argument("event")
@click.option(
    "--why", help="Your reason, for the policy file or the audit; asked for if not given."
)
@choice(
    "--by",
    [ONE_CALL, *(scope.value for scope in Breadth)],
    "Limit it to this one call, this content, this file, this host, or all calls of the tool.",
)
@value_option(
    "--port",
    "NUMBER",
    "The port of the host that an isolated server was refused, if not 443 or 80.",
    type=click.IntRange(1, HIGHEST_PORT),
)
@flag("--wide", "Give a folder although it contains paths that stay covered; or your home.")
@value_option("--until", "DAY", f"Last day (default: in {DAYS} days).", callback=_day)
@flag("--forever", "Until you remove it.")
@value_option("--policy", "FILE", "Write to FILE, not to your own policy.", "path")
@flag("--dry-run", "Show what would be written; write nothing.")
@offer_json("As JSON, for programs; needs --why.")
def command(  # noqa: PLR0913  one for each option
    event: str,
    *,
    why: str | None,
    by: str | None,
    port: int | None,
    wide: bool,
    until: datetime.date,
    forever: bool,
    path: str | None,
    dry_run: bool,
) -> None:
    """Let what EVENT stopped pass from now on, and as little else as possible.

    Adds an exception to your policy file, whose comments and order stay as they are: for this rule,
    server, tool and place, and the content that was found. Where that cannot be recognized again,
    it is for calls that name this file or host, or else for all calls of the tool; --by chooses.
    For what a flow stopped (`flows.…`), a change of a client's servers, and with `--by call`, it
    allows that one call: once, within half an hour, with the same arguments, of the tool as it is
    defined now. Nothing is written to the policy. With `--until`, `--forever` or `--policy`, it
    adds an exception all the same. You see what would be written, and what else would pass, before
    you confirm. Running servers follow within a second. To take it back, remove the lines. A person
    decides: it asks on a terminal, or takes a token (`pipeguard policy ci-token`). For what an
    isolated server was not given, a host, a file or a port of this machine, it gives the server
    exactly that, under `isolate`, and says when that takes effect; for a file that does not exist
    yet, the folder. To take that back, delete the line.

    \b
    Examples:
      pipeguard allow K7Q2M9D4.c12
      pipeguard allow K7Q2M9D4.c12 --why "our docs quote attacks" --until 2027-01-31
      pipeguard allow K7Q2M9D4.c12 --by path
      pipeguard allow K7Q2M9D4.c12 --by call --why "she asked me to"
      pipeguard allow K7Q2M9D4.x3 --port 8443
      pipeguard allow K7Q2M9D4.c12 --dry-run
    """  # noqa: D301  click reads the mark
    as_json = wants_json()
    stopped = find_event(store_path(), event)
    path = path or own_policy_path()
    if (grant := find_offer(stopped, port, is_wide=wide)) is not None:
        give(stopped, grant, path, dry_run=dry_run)
        return
    ask_reason = partial(_reason, why, is_asked=not as_json)
    if _is_for_one_call(stopped, by):
        grant_call(stopped, ask_reason, dry_run=dry_run)
        return
    scope = None if by is None else Breadth(by)
    narrowest(stopped, None, "", scope)  # fails before any question if none helps
    person = None if dry_run else Person.here()
    ends = None if forever else until
    reason = _UNSAID if dry_run and why is None else ask_reason(is_later=True)
    exemptions = narrowest(stopped, ends, reason, scope)
    is_new = allow(path, exemptions, today()) is not None
    if not as_json or (is_new and person is not None and not person.has_token):
        heading = f"{'Would' if dry_run else 'To'} be written to {path}:"
        opened = _what_opens(stopped, exemptions)
        page = [*list_evidence(stopped), "", heading, "", entries(exemptions, "  "), *opened]
        page = page if is_new else [f"{path} allows this already."]
        click.echo("\n".join(page), err=as_json)
    if is_new and person is not None:
        reason = ask_reason()
        exemptions = narrowest(stopped, ends, reason, scope)
        person.must_confirm(f"allow {event}{describe_unseen(stopped)}")
        text = allow(path, exemptions, today())  # of the file as it is by now
        if text is not None:
            decision = exception_entry(stopped, exemptions, f"{path} ({reason})", person.name)
            save_decision(path, text, stopped.server, decision)
    written = is_new and not dry_run
    listed = [each._asdict() | {"until": each.until and str(each.until)} for each in exemptions]
    fields = {"policy": path, "written": written, "exceptions": listed}
    fields["scopes"] = [other.value for other in scopes(stopped)]
    done = f"Written to {path}. It applies within a second, also to running servers."
    emit(fields, lambda _: done if written else "")


def _is_for_one_call(event: AuditedEvent, by: str | None) -> bool:
    """True if the call is granted once, without an exception.

    Raises:
        UsageError: the options are for both.
    """
    context = click.get_current_context()
    given = click.core.ParameterSource.DEFAULT
    lasting = [o for name, o in _LASTING.items() if context.get_parameter_source(name) != given]
    if by == ONE_CALL and lasting:
        raise click.UsageError(f"{lasting[0]} is for an exception, and `--by call` writes none.")
    return by == ONE_CALL or (by is None and not lasting and is_decided_by_call(event))


def _reason(why: str | None, *, is_asked: bool, is_later: bool = False) -> str:
    """Return the person's reason, on one line; ask on a terminal if none was given.

    Args:
        why: the reason, as it was given.
        is_asked: whether a person may be asked.
        is_later: whether to ask only after the person has seen what the reason is for.
    """
    if why is None:
        if not is_asked or not sys.stdin.isatty():
            raise click.UsageError("say why you allow it: --why TEXT.")
        if is_later:
            return _UNSAID
        why = click.prompt(
            "Why do you allow it?", "", show_default=False, value_proc=_require_reason, err=True
        )
    printable = "".join(letter if letter.isprintable() else " " for letter in why or "")
    if not printable.strip():
        raise click.UsageError("--why is empty.")
    return " ".join(printable.split())


def _require_reason(text: str) -> str:
    if not text.strip():
        raise click.UsageError("a reason is required (Ctrl-C to cancel).")
    return text


def _what_opens(event: AuditedEvent, exemptions: Sequence[Exemption]) -> list[str]:
    """List what the exceptions let pass, and how to choose others."""
    lines = ["What passes with it:", *(f"  {each}" for each in describe_opening(exemptions))]
    lines += result_note(event)
    chosen = {each.breadth for each in exemptions}
    others = [scope for scope in scopes(event) if scope not in chosen]
    is_call = bool(call_mark(event))
    if others or is_call:
        lines.append("Or choose what it is for:")
        if is_call:
            lines.append(f"  --by {ONE_CALL:<8} only this call, once, within {MINUTES} minutes")
        for scope in others:
            heading = f"  --by {scope.value:<8} "
            opened = describe_opening(narrowest(event, None, "", scope))
            lines.append(heading + f"\n{' ' * len(heading)}".join(opened))
    return lines
