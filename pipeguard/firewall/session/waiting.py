"""Calls that a person decides on: the grant, the wait for it, and the end of the wait."""

from collections.abc import Iterable

from pipeguard.firewall.finding import (
    PARTIAL,
    TO_SERVER,
    Action,
    Finding,
    Verdict,
    greatest,
    make_drop,
    worst_first,
)
from pipeguard.firewall.protocol.message import Message
from pipeguard.firewall.protocol.pending import PendingRequest
from pipeguard.firewall.session.case import Case
from pipeguard.firewall.session.remedies import GRANTED_AS, Way, find_way
from pipeguard.firewall.session.settle import make_verdict

GONE = make_drop(
    "protocol.unknown-request", "the call was cancelled, or answered, as it was judged"
)


def use_grant(
    case: Case, message: Message, tool: str, findings: list[Finding]
) -> tuple[list[Finding], str]:
    """The findings of a stopped call: marked, or allowed by a grant, with the event of that.

    Neither in a batch, nor if the call would be changed.
    """
    guard = case.guard
    stopped = [f for f in worst_first(findings) if f.action >= Action.ASK]
    others = [f for f in findings if f.action < Action.ASK]
    is_changed = any(f.action in PARTIAL for f in findings)
    is_final = any(find_way(f.rule) is not Way.EXCEPTION for f in stopped)
    if not (case.is_member or is_changed or is_final):
        mark = guard.mark_call(tool, message.params, stopped)
        if mark and mark == case.granted_mark:
            note = f"{GRANTED_AS}{case.grant}"
            allowed = [f._replace(action=Action.ALLOW, note=note) for f in stopped]
            return allowed + others, case.grant
        stopped = [f._replace(call=mark) for f in stopped]
    if case.direction is TO_SERVER:
        shown = guard.detector.show(guard, tool, message, findings)
        stopped[0] = stopped[0]._replace(**shown)
    return stopped + others, ""


def hold_call(case: Case, request: PendingRequest, findings: list[Finding]) -> Verdict | None:
    """Let a call wait until a person decides; None if it does not wait."""
    is_call = case.direction is TO_SERVER  # where `decisions` looks
    if not is_call or case.waiting_room is None or greatest(findings) is not Action.ASK:
        return None
    mark, *others = {f.call for f in findings if f.action is Action.ASK}
    if others or not mark:
        return None
    event = request.held_event if mark == request.held_mark else case.event
    held = make_verdict(case, findings, None)  # before it counts as waiting
    held = held._replace(event=event, since=request.since)
    if not case.state.hold(request, event, case.guard.policy):
        return None
    request.held_mark = mark
    if case.waiting_call is not None or case.waiting_room.admit(request):
        return held
    if case.state.release(request):
        return None
    return make_verdict(case, [*findings, *GONE], None)


def end_wait(findings: Iterable[Finding], why: str, wait_event: str) -> list[Finding]:
    """Turn questions to a person into blocks, with a note on why the wait ended.

    Args:
        findings: of the call.
        why: what happened.
        wait_event: the event as which it waited; empty if it did not.
    """
    return [
        _add_note(finding, f"{why} as event {wait_event}" if wait_event else "")._replace(
            action=Action.BLOCK
        )
        if finding.action is Action.ASK
        else finding
        for finding in findings
    ]


def name_wait(verdict: Verdict, wait_event: str) -> Verdict:
    """Name the wait that a verdict ends, if no finding does: else it would seem to wait on.

    Args:
        verdict: on a call.
        wait_event: the event as which it waited; empty if it did not.
    """
    if not verdict.findings or wait_event in {"", verdict.event}:
        return verdict
    if any(finding.note.endswith(f"event {wait_event}") for finding in verdict.findings):
        return verdict
    first, *others = verdict.findings
    return verdict._replace(
        findings=(_add_note(first, f"it waited as event {wait_event}"), *others)
    )


def _add_note(finding: Finding, note: str) -> Finding:
    return finding._replace(note="; ".join(filter(None, (finding.note, note))))
