"""Finds what is in a message: threats in its texts, oddities, and obstacles to its use."""

from pipeguard.firewall.finding import (
    TO_CLIENT,
    TO_SERVER,
    Finding,
    have_private,
    method_is_secret,
    name_is_secret,
)
from pipeguard.firewall.protocol.json_values import JsonValue
from pipeguard.firewall.protocol.message import Message
from pipeguard.firewall.protocol.pending import NO_CALL, PendingRequest
from pipeguard.firewall.protocol.places import PARTS, Surface, without_definitions
from pipeguard.firewall.session import admission, guard
from pipeguard.firewall.session.case import Case


def find_in_message(case: Case, message: Message, original: JsonValue = None) -> list[Finding]:
    """Find threats in the texts of a message, and oddities.

    Args:
        case: of the message.
        message: as it would be forwarded.
        original: the value as it came, if the message is the rest after a cut or redaction.

    Raises:
        Refusal: it could not be judged.
    """
    findings = list[Finding]()
    if not case.is_plain:
        findings += admission.find_oddities(case.direction, message, case.state.input_requests)
    if case.inspects:
        context = _make_context(case, message, original)
        surface = Surface.TO_SERVER
        value = message.value
        if case.direction is TO_CLIENT:
            surface = Surface.TO_CLIENT
            value = without_definitions(value, context.method)
        findings += case.guard.detector.read(context, surface, value)
    return findings


def find_in_request(case: Case, message: Message, request: PendingRequest) -> list[Finding]:
    """Find also what stops a request from using what it names.

    Raises:
        Refusal: it could not be judged.
    """
    if not case.inspects:
        return find_in_message(case, message)
    is_sent = case.direction is TO_SERVER and not case.is_plain
    findings = list[Finding]()
    if is_sent:
        findings += admission.find_obstacles(case.guard, message)
    findings += find_in_message(case, message)
    if is_sent and request.tool is not None:
        findings += admission.find_asked(_make_context(case, message), request.tool)
    if not have_private(findings):
        return findings
    # Any name or passage may hold the secret, which is written down nowhere.
    if request.call is not None:
        request.call.forget()
    findings = [finding._replace(path="", host="") for finding in findings]
    if any(finding.rule.startswith("secrets.") for finding in findings):
        flows = [f._replace(excerpt="") for f in findings if f.rule.startswith("flows.")]
        findings = [f for f in findings if not f.rule.startswith("flows.")] + flows
    request.is_method_secret = method_is_secret(findings)
    request.is_tool_secret = name_is_secret(findings)
    if request.is_tool_secret:
        return [admission.without_name(case.guard, finding) for finding in findings]
    return findings


def _make_context(case: Case, message: Message, original: JsonValue = None) -> guard.Context:
    method = case.method
    tool = None
    call = NO_CALL
    if case.request is not None:
        method = case.request.method
        tool = case.request.tool
        call = case.request.call or NO_CALL
    return guard.Context(
        case.guard,
        PARTS[case.kind],
        method,
        case.now,
        tool,
        budgets=case.budgets,
        call=call,
        original=original,
        event=case.event,
        message=message,
        is_clean=case.sees_nothing,
    )
