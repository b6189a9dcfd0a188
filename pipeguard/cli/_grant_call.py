"""Grants one stopped call once, after a person has seen what the grant binds."""

from collections.abc import Callable

import click

from pipeguard.cli._emit import emit, wants_json
from pipeguard.cli.explain import describe_unseen, list_evidence
from pipeguard.errors import PipeGuardError
from pipeguard.launch.person import Person
from pipeguard.state.exceptions import AuditedEvent, call_mark, differences, is_held, stopping
from pipeguard.state.grants import MINUTES, CallGrant, make_grant
from pipeguard.state.store import open_store
from pipeguard.unicode.display import visible


def grant_call(event: AuditedEvent, ask_reason: Callable[[], str], *, dry_run: bool) -> None:
    """Show what the grant binds, ask a person to confirm it, and store it.

    Args:
        event: the event that stopped the call.
        ask_reason: returns the person's reason.
        dry_run: whether to store nothing.

    Raises:
        PipeGuardError: the event stopped no call that can be granted, or no person decides.
    """
    mark = call_mark(event)
    if not mark:
        raise PipeGuardError(
            f"event {event.name} stopped no call that can be allowed once.\n"
            f"  See what can be done:  pipeguard explain {event.name}"
        )
    person = None if dry_run else Person.here()
    grant = CallGrant(mark, event.name, event.server, event.tool, "")
    if not wants_json() or (person is not None and not person.has_token):
        click.echo("\n".join(_page(event)), err=wants_json())
    expires = ""
    if person is not None:
        grant = grant._replace(why=ask_reason())
        person.must_confirm(f"allow this call of {event.name}{describe_unseen(event)}")
        with open_store() as store:
            words = next((item.get("excerpt", "") for item in stopping(event)), "")
            expires = make_grant(store, grant, person.name, words)
    fields = {
        **grant._asdict(),
        "findings": list(event.findings),
        "differs": differences(event),
        "granted": bool(expires),
        "expires": expires,
    }
    repeat = "Ask the agent to repeat the call."
    if is_held(event):
        repeat = "If the call still waits, it is sent now; else ask the agent to repeat it."
    done = f"Allowed once, until {expires}. {repeat}"
    emit(fields, lambda _: done if expires else "")


def _page(event: AuditedEvent) -> list[str]:
    """List the arguments, the passage that ordered the call, and the effect of the grant."""
    return [
        f"{visible(event.server)}: one call of {visible(event.tool)}",
        *list_evidence(event),
        f"What passes with it: this call, once, within {MINUTES} minutes, unless the tool or your",
        "policy changes before that, or something else is found. All of its arguments must be the",
        "same, also those that are not shown in full. Other calls are judged as before.",
        *result_note(event),
    ]


def result_note(event: AuditedEvent) -> list[str]:
    """Warn that a call's result is still judged; nothing for other messages."""
    stopped = stopping(event)
    if not stopped or not all(item.get("place", "").startswith("call.") for item in stopped):
        return []
    return ["Its result is still judged, and anything it repeats of this may be cut."]
